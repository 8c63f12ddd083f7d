"""Start the application on a restored data folder, and read the site through its own code, as its users do.

`backups.verification` calls `try_out` in a process of its own, by way of `backups.engine.process`: at the
lowest priority, and ended with its parent, however that ends. What still runs when `try_out` is left, such as
a server that does not answer, ends with the process.
"""

import hashlib
import http.client
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import chdir
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from sqlalchemy import text

from fastcms.accounts import service as accounts
from fastcms.accounts.schemas import Scope
from fastcms.backups.engine.packing import MOST_PROBLEMS
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.verification_report import SiteReading
from fastcms.config import LogLevel, Settings
from fastcms.cron import OFF
from fastcms.errors import BackupError, FailedTrialError, FastCMSError, NotEnoughSpaceError
from fastcms.main import create_app
from fastcms.media.service import find_file
from fastcms.site import Site

OUTPUT_NAME = "trial.log"

_TIMEOUT_SECONDS = 60 * 60
_SECONDS_BETWEEN_LOOKS = 0.2
_MOST_PER_PAGE = 500
_RECORDS_PER_PAGE = 30  # each may have megabytes
# Every byte was compared when the archive was unpacked: these only show that the application serves them.
_MOST_FILES_READ = 200
_MOST_BYTES_READ = 1024**3
_CHUNK_BYTES = 1024**2


class _TrialSettings(Settings):
    """Settings that take nothing from the environment or from a `.env`: those are the live site's."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - as it is called
        init_settings: PydanticBaseSettingsSource,
        *_others: Any,
        **_more: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def try_out(
    data_dir: Path, *, known_problems: Sequence[str], on_progress: Callable[[str], None]
) -> SiteReading:
    """Complete the restore that is staged in a data folder by starting the application; read the site; stop.

    known_problems are those of the manifest: files that were missing or damaged when the backup was made.
    on_progress is told the phase, some times a second, and ends the trial by raising.
    On disk: what a start leaves in data_dir, and what the application says in OUTPUT_NAME beside it.
    Raises: FailedTrialError; NotEnoughSpaceError; BackupError after an hour; what on_progress raises.
    """
    _send_output_to(data_dir.with_name(OUTPUT_NAME))
    app = create_app(_settings_for(data_dir), keeps_up=False)
    listener, client = _connect()
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_keep_alive=_TIMEOUT_SECONDS))
    reader = _Reader(client, app.state.site, known_problems)
    on_progress(reader.phase)  # a small site has started before the first look
    pool = ThreadPoolExecutor(2)  # never waited for, see above
    serving = pool.submit(server.run, [listener])
    reading = pool.submit(reader.read)
    deadline = time.monotonic() + _TIMEOUT_SECONDS

    def wait_for(*futures: Future[Any]) -> None:
        while not wait(futures, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED).done:
            on_progress(reader.phase)
            if time.monotonic() > deadline:
                # No verdict: it may be the machine that is slow.
                raise BackupError(
                    f"The site that was restored from it was still {reader.phase.split()[0]} after "
                    f"{_TIMEOUT_SECONDS // 60} minutes.",
                    hint="Try again when the machine has less to do.",
                    code="trial_too_slow",
                )

    wait_for(serving, reading)
    if serving.done():
        raise _explain_end(app)
    found = reading.result()
    server.should_exit = True
    wait_for(serving)
    return found


_HINT = "The server's log has what the application said. Keep the backup, and make a new one."


def _settings_for(data_dir: Path) -> Settings:
    """Settings of a site that does nothing by itself, and tells nobody."""
    return _TrialSettings(
        data_dir=data_dir,
        backup_schedule=OFF,
        backup_verify_schedule=OFF,
        log_level=LogLevel.WARNING,
    )


def _send_output_to(path: Path) -> None:
    """Keep what the application says from the parent's terminal: it would be taken for the live site's."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _connect() -> tuple[socket.socket, socket.socket]:
    """A listening Unix socket, and the only connection that it will ever have: its name is gone again.

    By its name alone, from within its folder: an address has room for 107 bytes.
    Source: https://man7.org/linux/man-pages/man7/unix.7.html
    """
    listener, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with tempfile.TemporaryDirectory(prefix="fastcms-") as folder, chdir(folder):
        listener.bind("trial")
        Path("trial").chmod(0o600)
        listener.listen()
        client.connect("trial")  # it waits for the server to accept it
    return listener, client


def _explain_end(app: FastAPI) -> FastCMSError:
    """Why the application has ended by itself."""
    error = getattr(app.state, "startup_error", None)
    if isinstance(error, NotEnoughSpaceError):  # no fault of the backup
        return error
    reason = error.message if isinstance(error, FastCMSError) else "It gave no reason."
    return FailedTrialError(f"The site that was restored from it does not start: {reason}", hint=_HINT)


class _Reader:
    """Reads a site through one connection, in a thread; any answer but a good one fails the trial."""

    def __init__(self, client: socket.socket, site: Site, known_problems: Sequence[str]) -> None:
        self.phase = "starting the restored site"
        self._asked = ""
        self._site = site
        self._known_problems = known_problems
        self._headers: dict[str, str] = {}
        self._files_read = self._files_read_bytes = 0
        self._connection = http.client.HTTPConnection("localhost")
        self._connection.sock = client
        self._connection.auto_open = 0  # there is no other one

    def read(self) -> SiteReading:
        try:
            return self._read()
        except (http.client.HTTPException, ConnectionError) as error:
            raise FailedTrialError(
                f"The site that was restored from it stopped answering, asked for {self._asked}: {error!r}.",
                hint=_HINT,
            ) from error

    def _read(self) -> SiteReading:
        started = time.monotonic()
        self._get("/health")
        self.phase = "reading the restored site"
        began_to_read = time.monotonic()
        self._headers = {"Authorization": f"Bearer {self._make_token()}"}
        restore = self._get("/api/v1/backups/restore")
        if restore["state"] != RestoreState.RESTORED:
            raise FailedTrialError(
                f"Its restore, as a test, failed and was rolled back: {restore['reason']}", hint=_HINT
            )
        counts = {"accounts": self._count_accounts(), **self._count_records(), "files": self._read_files()}
        seconds = {"start": began_to_read - started, "read": time.monotonic() - began_to_read}
        return SiteReading(
            RestoreState(restore["state"]),
            self._schema_revision(),
            counts,
            self._files_read,
            self._files_read_bytes,
            {name: round(value, 3) for name, value in seconds.items()},
        )

    def _make_token(self) -> str:
        with self._site.database.write() as session:
            scopes = [Scope.CONTENT_READ, Scope.BACKUPS_READ]
            return accounts.create_token(session, f"trial {secrets.token_hex(8)}", scopes, None)[0]

    def _count_accounts(self) -> int:
        with self._site.database.read() as session:
            return len(accounts.list_accounts(session))

    def _schema_revision(self) -> str:
        with self._site.database.read() as session:
            return str(session.execute(text("SELECT version_num FROM alembic_version")).scalar_one())

    def _count_records(self) -> dict[str, int]:
        """Read the first and the last page of each collection."""
        names = [item["name"] for page in self._pages("/api/v1/collections") for item in page["items"]]
        counts = {}
        for name in names:
            path = f"/api/v1/collections/{quote(name)}/records"
            total = self._get(_page(path, 1, _RECORDS_PER_PAGE))["total"]
            whole_pages = max(total - 1, 0) // _RECORDS_PER_PAGE
            last = self._get(_page(path, whole_pages + 1, _RECORDS_PER_PAGE))
            _require_total(path, whole_pages * _RECORDS_PER_PAGE + len(last["items"]), total)
            counts[f"records:{name}"] = total
        return {"collections": len(names), "records": sum(counts.values()), **counts}

    def _read_files(self) -> int:
        """List all files, and read the bytes of some, spread over the list."""
        number = 0
        for page in self._pages("/api/v1/files"):
            for file in page["items"]:
                number += 1
                # Of so many, evenly spread: every one if there are no more.
                if number * _MOST_FILES_READ % page["total"] < _MOST_FILES_READ:
                    self._read_file(file)
        return number

    def _read_file(self, file: dict[str, Any]) -> None:
        if self._files_read and self._files_read_bytes + file["size"] > _MOST_BYTES_READ:
            return
        answer = self._ask(file["url"])
        digest, size_bytes = hashlib.sha256(), 0
        while chunk := answer.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
        is_good = answer.status == HTTPStatus.OK and digest.hexdigest() == file["sha256"]
        if is_good:
            self._files_read += 1
            self._files_read_bytes += size_bytes
        elif not self._is_known_problem(file["id"]):
            raise FailedTrialError(
                f"The site that was restored from it does not serve the file {file['filename']!r} as it was "
                f"uploaded: {size_bytes:,} bytes came, with status {answer.status}.",
                hint=_HINT,
            )

    def _is_known_problem(self, file_id: str) -> bool:
        """Whether the live site had lost or damaged a file when the backup was made, or may have."""
        if len(self._known_problems) >= MOST_PROBLEMS:  # not all are named
            return True
        with self._site.database.read() as session:
            path = find_file(session, file_id).path
        return any(problem.startswith(f"files/{path} ") for problem in self._known_problems)

    def _pages(self, path: str) -> Iterator[Any]:
        """All pages of a list."""
        number = seen = 0
        total = 1
        while seen < total:
            number += 1
            page = self._get(_page(path, number, _MOST_PER_PAGE))
            yield page
            seen, total = seen + len(page["items"]), page["total"]
            if not page["items"]:
                break
        _require_total(path, seen, total)

    def _get(self, path: str) -> Any:
        answer = self._ask(path)
        content = answer.read()
        if answer.status != HTTPStatus.OK:
            raise FailedTrialError(
                f"The site that was restored from it answered {path} with status {answer.status}: "
                f"{content[:500].decode(errors='replace')}",
                hint=_HINT,
            )
        return json.loads(content)

    def _ask(self, path: str) -> http.client.HTTPResponse:
        self._asked = path
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse()


def _page(path: str, number: int, per_page: int) -> str:
    return f"{path}?page={number}&per_page={per_page}"


def _require_total(path: str, listed: int, total: int) -> None:
    if listed != total:
        raise FailedTrialError(
            f"The site that was restored from it says that {path} has {total:,} items, but lists {listed:,}.",
            hint=_HINT,
        )
