"""The machine is gone: from an address and a key, one command brings everything back, or nothing half."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyrage.x25519 import Identity

from fastcms.backups import encryption
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.restoring import restore_status, stage_restore
from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.backups.stores.base import BackupStore
from fastcms.config import Settings
from fastcms.site import new_site
from tests.e2e.conftest import Server, clean_environment
from tests.e2e.test_documentation import Reader
from tests.object_servers import ObjectServer

MEGABYTE = 1024**2
MOST_MORE_MEMORY_BYTES = 128 * MEGABYTE
KEY = Identity.generate()


class Far:
    """A place far away: its address, its credentials as the environment has them, and itself."""

    def __init__(self, address: str, environment: Mapping[str, str]) -> None:
        self.address = address
        self.environment = dict(environment)
        self.store: BackupStore = open_store(parse_address(address), environment)

    def of(self, name: str) -> str:
        where, mark, options = self.address.partition("?")
        return f"{where}/{name}{mark}{options}"

    def put(self, archive: Path, *, encrypted: bool = True) -> str:
        """Keep an archive there, and return the object's name."""
        content = archive.read_bytes()
        if not encrypted:
            self.store.put(archive.name, [content], len(content))
            return archive.name
        name = f"{archive.name}.age"
        with encryption.encrypted([content], len(content), [KEY.to_public()]) as stream:
            self.store.put(name, stream.chunks, stream.size_bytes)
        return name

    def replace(self, name: str, content: bytes) -> None:
        self.store.put(name, [content], len(content))

    def read(self, name: str) -> bytes:
        return b"".join(self.store.read(name))


@pytest.fixture
def s3(s3_server: ObjectServer, tmp_path: Path) -> Far:
    return Far(s3_server.address(f"nothing-{tmp_path.name}"), s3_server.credentials)


@pytest.fixture
def nas(tmp_path: Path) -> Far:
    folder = tmp_path / "nas"
    folder.mkdir()
    return Far(folder.as_uri(), {})


@pytest.fixture(params=["s3", "nas"])
def far(request: pytest.FixtureRequest) -> Far:
    found: Far = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def new_machine(tmp_path: Path) -> Path:
    """A folder with a key in it, and nothing else."""
    folder = tmp_path / "new machine"
    folder.mkdir()
    (folder / "key.txt").write_text(f"# created: today\n# public key: {KEY.to_public()}\n{KEY}\n")
    (folder / "key.txt").chmod(0o600)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "old machine"
    folder.mkdir()
    server = Server(folder)
    server.start()
    yield server
    server.stop()


def fill(server: Server) -> Reader:
    """A site with records of two collections, and files."""
    reader = Reader(server)
    rng = random.Random(7)
    reader.post("/collections", json={"name": "posts", "schema": [{"name": "title", "type": "text"}]})
    reader.post("/collections", json={"name": "tags", "schema": [{"name": "tag", "type": "text"}]})
    for number in range(20):
        reader.post("/collections/posts/records", json={"data": {"title": f"Post {number} ✓"}})
        reader.post("/collections/tags/records", json={"data": {"tag": f"tag{number}"}})
    for number in range(8):
        content = rng.randbytes(rng.randrange(1, 200_000))
        reader.post("/files", files={"file": (f"picture {number}.bin", content)})
    return reader


def everything(reader: Reader) -> dict[str, Any]:
    """Every record and every file's bytes, as the API gives them."""
    found: dict[str, Any] = {}
    for collection in reader.get("/api/v1/collections").json()["items"]:
        page = reader.get(f"/api/v1/collections/{collection['name']}/records?per_page=500&sort=id").json()
        found[collection["name"]] = (collection, page["items"])
    files = reader.get("/api/v1/files?per_page=500").json()["items"]
    found["files"] = [(file, reader.get(file["url"]).content) for file in files]
    return found


def typed(folder: Path, far: Far, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fastcms", "backup", *arguments],
        cwd=folder,
        env=clean_environment() | far.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def restore(folder: Path, far: Far, *options: str) -> subprocess.CompletedProcess[str]:
    return typed(folder, far, "restore", far.address, "--latest", "--identity", "key.txt", *options)


def assert_nothing_half(folder: Path) -> None:
    """No site and no backup has come into being, and nothing hidden is left of one."""
    data = folder / "data"
    assert not (data / "app.db").exists()
    if (data / "backups").exists():
        left = {path.name for path in (data / "backups").iterdir()}
        assert {name for name in left if name.startswith((".upload", "backup_"))} == set()


def test_a_site_comes_back_whole_from_an_address_and_a_key(
    far: Far, machine: Server, new_machine: Path
) -> None:
    reader = fill(machine)
    before = everything(reader)
    filename = reader.post("/backups")["filename"]
    name = far.put(machine.folder / "data/backups" / filename)
    machine.stop()
    shutil.rmtree(machine.folder / "data")

    listed = typed(new_machine, far, "list", far.address, "--json")
    (item,) = json.loads(listed.stdout)["items"]
    assert (item["object_name"], item["is_encrypted"], item["problem"]) == (name, True, None)
    asked = typed(new_machine, far, "restore", far.address)
    assert (asked.returncode, name in asked.stdout) == (2, True)
    assert "fastcms backup restore" in asked.stderr
    verified = typed(new_machine, far, "verify", far.of(name), "--identity", "key.txt", "--json")
    assert json.loads(verified.stdout)["trial"]["restore"] == "restored"
    assert_nothing_half(new_machine)

    done = restore(new_machine, far, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["backup_filename"]) == ("restored", filename)
    assert (answer["counts"]["records"], answer["counts"]["files"]) == (40, 8)
    assert [thing["matter"] for thing in answer["set_again"]] == [
        "encryption",
        "destinations",
        "notifications",
    ]
    reader.server = revived = Server(new_machine)
    revived.start()
    try:
        assert everything(reader) == before  # by the token of the old machine
        again = restore(new_machine, far, "--json")
        assert json.loads(again.stdout)["code"] == "confirmation_required"
        staged = restore(new_machine, far, "--yes", "--json")
        assert json.loads(staged.stdout)["status"] == "pending_restart"
        revived.restart()
        assert everything(reader) == before
    finally:
        revived.stop()


def test_a_download_is_what_age_and_unzip_read(nas: Far, machine: Server, new_machine: Path) -> None:
    archive = machine.folder / "data/backups" / Reader(machine).post("/backups")["filename"]
    name = nas.put(archive)
    assert typed(new_machine, nas, "download", nas.of(name)).returncode == 0
    opened = subprocess.run(
        ["age", "-d", "-i", "key.txt", name], cwd=new_machine, capture_output=True, check=True
    )
    assert opened.stdout == archive.read_bytes()
    decrypted = typed(new_machine, nas, "download", nas.of(name), "--identity", "key.txt", "--to", "b.zip")
    assert decrypted.returncode == 0
    assert (new_machine / "b.zip").read_bytes() == archive.read_bytes()
    assert typed(new_machine, nas, "download", nas.of(name)).returncode == 4
    assert {path.name for path in new_machine.iterdir()} == {"key.txt", name, "b.zip"}


def test_what_cannot_be_restored_leaves_nothing_half_and_says_what_to_do(
    s3: Far, machine: Server, new_machine: Path
) -> None:
    name = s3.put(machine.folder / "data/backups" / Reader(machine).post("/backups")["filename"])
    whole = s3.read(name)
    (new_machine / "other.txt").write_text(str(Identity.generate()))

    def refused(far: Far, *options: str) -> tuple[int, str]:
        done = typed(new_machine, far, "restore", far.address, "--latest", "--json", *options)
        assert_nothing_half(new_machine)
        problem = json.loads(done.stdout)
        assert problem["hint"], problem
        assert far.environment.get("AWS_SECRET_ACCESS_KEY", "no secret") not in done.stdout + done.stderr
        return done.returncode, problem["code"]

    key = ("--identity", "key.txt")
    assert refused(s3) == (7, "key_required")
    assert refused(s3, "--identity", "other.txt") == (7, "key_wrong")
    assert refused(s3, "--identity", "missing.txt") == (2, "key_file_unreadable")
    (new_machine / "mistyped.txt").write_text(str(KEY)[:-1])
    assert refused(s3, "--identity", "mistyped.txt") == (2, "key_file_invalid")
    assert not (new_machine / "data").exists()
    s3.replace(name, whole[:-1000])
    assert refused(s3, *key) == (7, "archive_corrupt")
    s3.replace(name, whole[:-700] + bytes([whole[-700] ^ 1]) + whole[-699:])
    assert refused(s3, *key) == (7, "archive_corrupt")
    s3.replace(name, b"PK\x03\x04" + whole)
    assert refused(s3, *key) == (3, "backup_not_found")
    no_bucket = Far(s3.address.replace("s3://backups/", "s3://missing/"), s3.environment)
    assert refused(no_bucket, *key) == (8, "store_missing")
    wrong = Far(s3.address, s3.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert refused(wrong, *key) == (8, "store_denied")
    s3.replace(name, whole)
    assert restore(new_machine, s3).returncode == 0


def test_one_that_was_killed_in_the_middle_is_done_by_typing_it_again(
    nas: Far, machine: Server, new_machine: Path
) -> None:
    reader = fill(machine)
    for number in range(6):
        reader.post("/files", files={"file": (f"large {number}.bin", os.urandom(10 * MEGABYTE))})
    before = everything(reader)
    nas.put(machine.folder / "data/backups" / reader.post("/backups")["filename"])
    command = ["fastcms", "backup", "restore", nas.address, "--latest", "--identity", "key.txt"]
    for seconds in (0.0, 0.1, 0.3, 0.6):
        earlier = left_in(new_machine)
        process = subprocess.Popen(
            command,
            cwd=new_machine,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(lambda known=earlier: left_in(new_machine) - known, process)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listed = typed(new_machine, nas, "list", "--json")
        if listed.returncode == 0:
            assert len(json.loads(listed.stdout)["items"]) == 1
    done = restore(new_machine, nas, "--now", "--yes")
    assert done.returncode == 0, done.stderr
    assert left_in(new_machine) == set()
    reader.server = revived = Server(new_machine)
    revived.start()
    try:
        assert everything(reader) == before
    finally:
        revived.stop()


def test_one_that_was_killed_once_it_was_staged_is_done_by_typing_it_again(
    nas: Far, machine: Server, new_machine: Path
) -> None:
    archive = machine.folder / "data/backups" / Reader(machine).post("/backups")["filename"]
    nas.put(archive)
    backups = new_machine / "data/backups"
    backups.mkdir(parents=True)
    shutil.copy(archive, backups)
    site = new_site(Settings(_env_file=None, data_dir=new_machine / "data"))
    stage_restore(site, archive.name, "a command that was killed then")
    assert not (new_machine / "data/app.db").exists()
    done = restore(new_machine, nas, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["status"] == "restored"
    status = restore_status(site)
    assert (status.state, status.safety_copy) == (RestoreState.RESTORED, None)


def test_a_large_backup_comes_back_with_little_memory(s3: Far, machine: Server, new_machine: Path) -> None:
    reader = Reader(machine)
    for number in range(3):
        content = os.urandom(100 * MEGABYTE)
        reader.post("/files", files={"file": (f"{number}.bin", content)})
    filename = reader.post("/backups")["filename"]
    s3.put(machine.folder / "data/backups" / filename)
    idle = peak_bytes(["fastcms", "backup", "list", s3.address], new_machine, s3)
    command = ["fastcms", "backup", "restore", s3.address, "--latest", "--identity", "key.txt"]
    assert peak_bytes(command, new_machine, s3) - idle < MOST_MORE_MEMORY_BYTES
    assert (new_machine / "data/app.db").exists()


def left_in(folder: Path) -> set[str]:
    """The hidden files of transfers."""
    return {path.name for path in (folder / "data/backups").glob(".upload-*")}


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def peak_bytes(command: list[str], folder: Path, far: Far) -> int:
    """The most memory that a command, or a process that it started, had at any time."""
    measured = subprocess.run(
        ["/usr/bin/env", "python3", "-c", PEAK, *command],
        cwd=folder,
        env=clean_environment() | far.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(measured.stdout.splitlines()[-1]) * 1024


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
