"""Restores as somebody lives through them: undone, on several disks, on full disks, beside a server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import lasting_paths
from tests.e2e.conftest import Server, clean_environment
from tests.e2e.test_documentation import Reader
from tests.unit.backups.engine.layouts import mounted

MEGABYTE = 1024**2
MOST_TRIES = 20
NewReader = Callable[..., Reader]


@pytest.fixture
def new_reader(tmp_path: Path) -> Iterator[NewReader]:
    """Start a server on a folder, which may have mounts in it, with a collection of posts."""
    servers = []

    def start(folder: Path = tmp_path) -> Reader:
        server = Server(folder)
        server.start()
        servers.append(server)
        reader = Reader(server)
        schema = [{"name": "title", "type": "text"}]
        reader.post("/collections", json={"name": "posts", "schema": schema})
        return reader

    yield start
    for server in servers:
        server.stop()


def write(reader: Reader, title: str, size_bytes: int = 1000) -> None:
    reader.post("/collections/posts/records", json={"data": {"title": title}})
    reader.post("/files", files={"file": (f"{title}.bin", os.urandom(size_bytes))})


def state(reader: Reader) -> list[str]:
    """The titles of posts; the files' names are the same, and their bytes can be read."""
    titles = reader.titles()
    files = reader.get("/api/v1/files?per_page=500").json()["items"]
    assert sorted(file["filename"].removesuffix(".bin") for file in files) == titles
    for file in files:
        assert len(reader.get(file["url"]).content) == file["size"]
    return titles


def stage_and_restart(reader: Reader, path: str) -> dict[str, Any]:
    reader.post(f"/backups/{path}")
    reader.server.restart()
    status: dict[str, Any] = reader.get("/api/v1/backups/restore").json()
    return status


def test_a_restore_is_undone_and_the_undo_is_undone(new_reader: NewReader) -> None:
    reader = new_reader()
    write(reader, "first")
    filename = reader.post("/backups")["filename"]
    write(reader, "second")
    status = stage_and_restart(reader, f"{filename}/restore")
    assert (status["state"], status["kind"], state(reader)) == ("restored", "backup", ["first"])
    assert status["safety_copy"]["before_restore_of"] == filename
    assert status["safety_copy"]["size_bytes"] > 2000
    write(reader, "after the restore")
    assert stage_and_restart(reader, "restore/undo")["kind"] == "undo"
    assert state(reader) == ["first", "second"]
    reader.type("fastcms backup undo --yes")
    reader.server.restart()
    assert state(reader) == ["after the restore", "first"]
    receipts = reader.get("/api/v1/backups/restores").json()
    assert (receipts["total"], [item["kind"] for item in receipts["items"]]) == (
        3,
        ["undo", "undo", "backup"],
    )
    oldest = receipts["items"][-1]
    archive = reader.server.folder / "data/backups" / filename
    assert oldest["archive_sha256"] == reader.type(f"sha256sum {archive}").split()[0]
    assert oldest["seconds"].keys() == {"extract", "check", "sync", "swap", "open"}
    assert "undo of the restore of" in reader.type("fastcms backup restores")
    discarded = requests.delete(f"{reader.server.url}/api/v1/backups/restore/undo", headers=reader.headers)
    assert discarded.json()["status"] == "discarded"
    assert reader.get("/api/v1/backups/restore").json()["safety_copy"] is None
    refused = requests.post(f"{reader.server.url}/api/v1/backups/restore/undo", headers=reader.headers)
    assert (refused.status_code, refused.json()["code"]) == (404, "safety_copy_not_found")


def test_files_and_backups_on_disks_of_their_own_are_restored_rolled_back_and_undone(
    new_reader: NewReader, tmp_path: Path
) -> None:
    for name in ("files", "backups"):
        (tmp_path / "data" / name).mkdir(parents=True)
    disk = ("-t", "tmpfs", "-o", f"size=64m,uid={os.getuid()}", "tmpfs")
    with mounted(tmp_path / "data/files", *disk), mounted(tmp_path / "data/backups", *disk):
        reader = new_reader()
        write(reader, "first")
        filename = reader.post("/backups")["filename"]
        write(reader, "second")
        stage_and_restart(reader, f"{filename}/restore")
        assert state(reader) == ["first"]
        stage_and_restart(reader, "restore/undo")
        assert state(reader) == ["first", "second"]
        assert reader.post("/backups")["problems"] == []
        reader.post(f"/backups/{filename}/restore")
        shutil.rmtree(tmp_path / "data/.restore_staging")
        reader.server.restart()
        assert reader.get("/api/v1/backups/restore").json()["state"] == "rolled_back"
        assert state(reader) == ["first", "second"]
        reader.server.stop()


@pytest.fixture
def disk_of_60_mb(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", f"size=60m,nr_inodes=400,uid={os.getuid()}", "tmpfs"):
        yield folder


def fill(folder: Path, leave_bytes: int) -> Path:
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - leave_bytes))
    return filler


def test_on_a_disk_that_is_full_everything_is_refused_with_numbers_and_nothing_is_half_done(
    disk_of_60_mb: Path, new_reader: NewReader
) -> None:
    reader = new_reader(disk_of_60_mb)
    write(reader, "first", 5 * MEGABYTE)
    filename = reader.post("/backups")["filename"]
    write(reader, "second", 5 * MEGABYTE)
    before = lasting_paths(disk_of_60_mb / "data")
    filler = fill(disk_of_60_mb, leave_bytes=18 * MEGABYTE)
    for path in ("", f"/{filename}/restore"):
        answer = requests.post(f"{reader.server.url}/api/v1/backups{path}", headers=reader.headers)
        assert (answer.status_code, answer.json()["code"]) == (507, "not_enough_space")
        assert "MB are free" in answer.json()["detail"]
        assert lasting_paths(disk_of_60_mb / "data") == before
    with (disk_of_60_mb / f"data/backups/{filename}").open("rb") as archive:
        upload = requests.post(
            f"{reader.server.url}/api/v1/backups/upload", headers=reader.headers, files={"file": archive}
        )
    assert (upload.status_code, upload.json()["code"]) == (507, "not_enough_space")
    assert lasting_paths(disk_of_60_mb / "data") == before
    filler.unlink()
    for number in range(400 - 20):  # no file, no folder more
        try:
            (disk_of_60_mb / f"small-{number}").touch()
        except OSError:
            break
    answer = requests.post(f"{reader.server.url}/api/v1/backups/{filename}/restore", headers=reader.headers)
    assert (answer.status_code, "inodes" in answer.json()["detail"]) == (507, True)
    assert lasting_paths(disk_of_60_mb / "data") == before
    for small in disk_of_60_mb.glob("small-*"):
        small.unlink()
    assert state(reader) == ["first", "second"]
    stage_and_restart(reader, f"{filename}/restore")
    assert state(reader) == ["first"]


def test_on_a_disk_without_a_free_byte_one_is_told_why_and_may_still_delete_a_backup(
    disk_of_60_mb: Path, new_reader: NewReader
) -> None:
    """Noting when the token was used must not stand in the way: it has not been, so far."""
    reader = new_reader(disk_of_60_mb)
    write(reader, "first", 5 * MEGABYTE)
    filename = reader.post("/backups")["filename"]
    fresh = [reader.type(f"fastcms token create fresh-{number}").strip() for number in range(4)]
    fill(disk_of_60_mb, leave_bytes=0)
    headers = [{"Authorization": f"Bearer {token}"} for token in fresh]
    backups = f"{reader.server.url}/api/v1/backups"
    made = requests.post(backups, headers=headers[0])
    assert (made.status_code, made.json()["code"]) == (507, "not_enough_space")
    assert "MB are free" in made.json()["detail"]
    assert requests.get(f"{backups}/{filename}", headers=headers[1]).json()["filename"] == filename
    titles = requests.get(f"{reader.server.url}/api/v1/collections/posts/records", headers=headers[2])
    assert titles.json()["items"][0]["data"] == {"title": "first"}
    deleted = requests.delete(f"{backups}/{filename}", headers=headers[3])
    assert (deleted.status_code, deleted.json()["status"]) == (200, "deleted")
    reader.post("/collections/posts/records", json={"data": {"title": "second"}})
    assert reader.titles() == ["first", "second"]


TAKE_ALL_SPACE = """
import os, pathlib, shutil, sys
folder = pathlib.Path("data/backups")
print("waiting", flush=True)
while not [*folder.glob(".backup_*.zip.partial"), *folder.glob("restore_staging/files/*")]:
    pass
with open("filler", "wb") as filler:
    while free := shutil.disk_usage(".").free:
        os.posix_fallocate(filler.fileno(), filler.seek(0, 2), free)
"""


@contextmanager
def stolen_space(folder: Path) -> Iterator[None]:
    """Somebody takes all space as soon as a backup is begun or staged, and gives it back at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", TAKE_ALL_SPACE],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as thief:
        assert thief.stdout is not None
        thief.stdout.readline()
        try:
            yield
        finally:
            thief.kill()
            thief.wait()
            (folder / "filler").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("path", "undo"),
    [("", "/{made}"), ("/{filename}/restore", "/restore")],
    ids=["backup", "staging"],
)
def test_a_disk_that_fills_up_half_way_leaves_nothing_half_done_and_the_site_serves(
    disk_of_60_mb: Path, new_reader: NewReader, path: str, undo: str
) -> None:
    """The check beforehand sees enough space; then somebody else takes it all, at times too late."""
    reader = new_reader(disk_of_60_mb)
    for number in range(4):
        write(reader, f"{number}", 3 * MEGABYTE)
    filename = reader.post("/backups")["filename"]
    before = lasting_paths(disk_of_60_mb / "data")
    backups_url = f"{reader.server.url}/api/v1/backups"
    for _try in range(MOST_TRIES):
        with stolen_space(disk_of_60_mb):
            answer = requests.post(f"{backups_url}{path.format(filename=filename)}", headers=reader.headers)
            assert state(reader) == ["0", "1", "2", "3"]
        if not answer.ok:
            break
        made = answer.json().get("filename")
        undone = requests.delete(f"{backups_url}{undo.format(made=made)}", headers=reader.headers)
        assert undone.ok, undone.text
        assert lasting_paths(disk_of_60_mb / "data") == before
    assert (answer.status_code, answer.json().get("code")) == (507, "not_enough_space")
    assert lasting_paths(disk_of_60_mb / "data") == before
    reader.server.restart()
    assert state(reader) == ["0", "1", "2", "3"]
    assert lasting_paths(disk_of_60_mb / "data") == before


def test_a_command_completes_a_restore_without_a_server_and_is_refused_beside_one(
    new_reader: NewReader,
) -> None:
    reader = new_reader()
    write(reader, "first")
    filename = reader.post("/backups")["filename"]
    write(reader, "second")
    command = ["fastcms", "backup", "restore", filename, "--now", "--yes"]
    refused = run(reader, command)
    assert refused.returncode == 2
    assert f"process {reader.server.pid}" in refused.stderr
    assert reader.get("/api/v1/backups/restore").json()["state"] == "none"
    reader.server.stop()
    other = reader.type("fastcms backup create --json")
    reader.type(f"fastcms backup restore {json.loads(other)['filename']} --yes")
    assert run(reader, command).returncode == 4  # another one is staged
    reader.type("fastcms backup cancel")
    done = run(reader, command)
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout
    reader.server.start()
    assert state(reader) == ["first"]
    reader.server.stop()
    assert run(reader, ["fastcms", "backup", "undo", "--now", "--yes", "--json"]).returncode == 0
    reader.server.start()
    assert state(reader) == ["first", "second"]


def run(reader: Reader, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=reader.server.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
