"""More at once than anybody asks of a small site: many writes, and backups in the middle of them."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
import requests

from fastcms.backups import restoring
from fastcms.config import Settings
from fastcms.site import new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import restore_without_server
from tests.e2e.conftest import Server

MANY = 80  # twice the threads of a worker
BACKUPS = 6  # `make bench` makes twenty
UPLOADERS = 4
WRITERS = 2
KEPT = 3  # of each uploader's files; then the oldest goes
FILE_BYTES = 20_000


@pytest.fixture
def headers(server: Server) -> dict[str, str]:
    """The rights of an admin, on a site with a collection `posts` whose records have a `title`."""
    headers = {"Authorization": f"Bearer {server.create_token()}"}
    posts = {"name": "posts", "schema": [{"name": "title", "type": "text"}]}
    made = requests.post(f"{server.url}/api/v1/collections", json=posts, headers=headers)
    assert made.status_code == 201, made.text
    return headers


def test_many_writes_at_once_all_succeed_and_the_server_stays_healthy(
    server: Server, headers: dict[str, str]
) -> None:
    records = f"{server.url}/api/v1/collections/posts/records"

    def write(number: int) -> int:
        record = {"data": {"title": f"Post {number}"}}
        return requests.post(records, json=record, headers=headers).status_code

    with ThreadPoolExecutor(MANY) as pool:
        writes = [pool.submit(write, number) for number in range(MANY * 3)]
        health = [requests.get(f"{server.url}/health").status_code for _ in range(5)]
    assert Counter(done.result() for done in writes) == {201: MANY * 3}
    assert health == [200] * 5
    assert requests.get(records, headers=headers).json()["total"] == MANY * 3


@dataclass(frozen=True)
class Known:
    """What the clients know of the site. They note after an answer what is there, before it what goes."""

    numbers: list[int] = field(default_factory=lambda: [0] * WRITERS)  # the latest of each writer
    uploaded: set[str] = field(default_factory=set)
    doomed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def copy(self) -> "Known":
        return Known(list(self.numbers), set(self.uploaded), set(self.doomed), set(self.deleted))


class Client:
    """One of those who work on the site, with a connection of their own; what is refused is an error."""

    def __init__(self, server: Server, headers: dict[str, str], known: Known) -> None:
        self._url = f"{server.url}/api/v1"
        self._session = requests.Session()
        self._session.headers.update(headers)
        self._known = known

    def call(self, method: str, path: str, **options: object) -> dict[str, str]:
        answer = self._session.request(method, self._url + path, **options)  # type: ignore[arg-type] # as given
        answer.raise_for_status()
        content: dict[str, str] = answer.json() if answer.content else {}
        return content

    def write(self, writer: int, number: int) -> None:
        self._add_record(f"{writer} {number}")
        self._known.numbers[writer] = number

    def upload(self, content: bytes) -> tuple[str, str]:
        """Upload a file, and only then say in a record that it is there; the ids of both."""
        file_id = self.call("POST", "/files", files={"file": ("a.bin", content)})["id"]
        record_id = self._add_record(f"file {file_id}")
        self._known.uploaded.add(file_id)
        return file_id, record_id

    def delete(self, file_id: str, record_id: str) -> None:
        self._known.doomed.add(file_id)
        self.call("DELETE", f"/collections/posts/records/{record_id}")
        self.call("DELETE", f"/files/{file_id}")
        self._known.deleted.add(file_id)

    def _add_record(self, title: str) -> str:
        return self.call("POST", "/collections/posts/records", json={"data": {"title": title}})["id"]


@contextmanager
def busy(server: Server, headers: dict[str, str]) -> Iterator[Known]:
    """Let clients write, upload and delete as fast as they are answered; a refusal fails the test."""
    known, ended = Known(), threading.Event()

    def write(writer: int) -> None:
        client, number = Client(server, headers, known), 0
        while not ended.is_set():
            client.write(writer, number := number + 1)

    def upload_and_delete(uploader: int) -> None:
        client, chance, kept = Client(server, headers, known), Random(uploader), []
        while not ended.is_set():
            kept.append(client.upload(chance.randbytes(FILE_BYTES)))
            if len(kept) > KEPT:
                client.delete(*kept.pop(0))

    with ThreadPoolExecutor(WRITERS + UPLOADERS) as pool:
        clients = [pool.submit(write, writer) for writer in range(WRITERS)]
        clients += [pool.submit(upload_and_delete, uploader) for uploader in range(UPLOADERS)]
        try:
            yield known
        finally:
            ended.set()
        for client in clients:
            client.result()


def restore(archive: Path, data_dir: Path) -> None:
    """Restore an archive on another machine, as far as FastCMS can tell."""
    (data_dir / "backups").mkdir(parents=True)
    shutil.copy(archive, data_dir / "backups")
    site = new_site(Settings(_env_file=None, data_dir=data_dir))
    receipt = restore_without_server(site, lambda: restoring.stage_restore(site, archive.name, "me"))
    assert receipt is not None
    assert receipt.outcome == "restored", receipt.reason


def check_one_point_in_time(data_dir: Path, before: Known, after: Known) -> None:
    """Compare a restored site with itself, and with what the clients knew before and after its backup."""
    with closing(sqlite3.connect(data_dir / "app.db")) as database:
        rows = database.execute("SELECT path, sha256 FROM files").fetchall()
        file_ids = {file_id for (file_id,) in database.execute("SELECT id FROM files")}
        [(collection_id,)] = database.execute("SELECT id FROM collections")
        # Fields come after what every record has.
        titles = [record[-1] for record in database.execute(f"SELECT * FROM records_{collection_id}")]
    on_disk = {
        str(path.relative_to(data_dir / "files")): sha256(path.read_bytes()).hexdigest()
        for path in (data_dir / "files").rglob("*")
        if path.is_file()
    }
    assert on_disk == dict(rows)
    said_to_be_there = {title.removeprefix("file ") for title in titles if title.startswith("file ")}
    assert said_to_be_there <= file_ids
    assert before.uploaded - after.doomed <= said_to_be_there
    assert not before.deleted & file_ids
    for writer in range(WRITERS):
        numbers = sorted(int(title.split()[1]) for title in titles if title.startswith(f"{writer} "))
        assert numbers == list(range(1, len(numbers) + 1))
        assert before.numbers[writer] <= len(numbers) <= after.numbers[writer] + 1


def test_every_backup_made_under_load_is_restored_as_one_point_in_time(
    server: Server, headers: dict[str, str], tmp_path: Path
) -> None:
    made: list[tuple[Path, Known, Known]] = []
    with busy(server, headers) as known:
        for _ in range(BACKUPS):
            before = known.copy()
            answer = requests.post(f"{server.url}/api/v1/backups", headers=headers)
            assert answer.status_code == 200, answer.text
            assert answer.json()["problems"] == []
            made.append((server.folder / answer.json()["path"], before, known.copy()))
    assert len(known.deleted) > UPLOADERS
    for archive, before, after in made:
        data_dir = tmp_path / archive.stem / "data"
        restore(archive, data_dir)
        check_one_point_in_time(data_dir, before, after)
        shutil.rmtree(data_dir)
