"""A server that is killed while it makes a backup or stages a restore leaves nothing behind that counts."""

import threading
import time
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Server, server  # noqa: F401 - the fixture
from tests.e2e.test_documentation import Reader


@pytest.fixture
def reader(server: Server) -> Reader:  # noqa: F811 - the fixture
    """A site with 60 MB of files, so that a backup takes a moment."""
    person = Reader(server)
    for number in range(3):
        content = bytes(range(256)) * 80_000
        person.post("/files", files={"file": (f"{number}.bin", content)})
    return person


def kill_during(reader: Reader, path: str, sign: str) -> None:
    """Send a request, and kill the server as soon as a file of this pattern is there."""

    def send() -> None:
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{reader.server.url}/api/v1/backups{path}", headers=reader.headers)

    thread = threading.Thread(target=send)
    thread.start()
    deadline = time.monotonic() + 30
    while not list(backups_dir(reader).glob(sign)):
        assert time.monotonic() < deadline
    reader.server.kill()
    thread.join()


def backups_dir(reader: Reader) -> Path:
    return reader.server.folder / "data/backups"


@pytest.mark.parametrize("sign", ["*.db.partial", "*.zip.partial"])
def test_a_killed_backup_is_not_listed_and_the_next_start_removes_it(reader: Reader, sign: str) -> None:
    kill_during(reader, "", sign)
    assert list(backups_dir(reader).glob(sign))
    assert list(backups_dir(reader).glob("backup_*.zip")) == []
    reader.server.start()
    assert list(backups_dir(reader).glob("backup_*")) == []
    assert reader.get("/api/v1/backups").json()["total"] == 0
    assert reader.post("/backups")["problems"] == []


def test_a_killed_staging_changes_nothing_and_the_next_start_removes_it(reader: Reader) -> None:
    filename = reader.post("/backups")["filename"]
    kill_during(reader, f"/{filename}/restore", "restore_staging/files/*")
    assert not (backups_dir(reader) / ".restore_pending").exists()
    reader.server.start()
    assert not (backups_dir(reader) / "restore_staging").exists()
    assert reader.get("/api/v1/backups/restore").json()["state"] == "none"
    assert reader.get("/api/v1/files").json()["total"] == 3
