"""What goes wrong at the far side, or on the way there: a clear error each, no half object, no secret."""

import dataclasses
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.backups.stores.base import BackupStore
from fastcms.backups.stores.clouds import Patience, Spot
from fastcms.backups.stores.folder import FolderStore
from fastcms.backups.stores.objects import ObjectStore
from fastcms.errors import (
    StoreClockError,
    StoreDeniedError,
    StoredObjectMissingError,
    StoreError,
    StoreFullError,
    StoreMissingError,
    StoreUnreachableError,
)
from tests.conftest import AS_ROOT
from tests.object_servers import BUCKET, ObjectServer, seaweedfs
from tests.stores.conftest import open_at, open_folder
from tests.stores.lines import line_to

NAME = "backup_20250115_100000.zip"
MIB = 1024**2
HASTE = Patience(silence=timedelta(seconds=1), send=timedelta(seconds=2), retries=1)

ACTS: dict[str, Callable[[BackupStore], object]] = {
    "list": lambda store: store.list(),
    "find": lambda store: store.find(NAME),
    "put": lambda store: store.put(NAME, [b"x"], 1),
    "put in parts": lambda store: store.put(NAME, [bytes(9 * MIB)], 9 * MIB),
    "read": lambda store: list(store.read(NAME)),
    "check": lambda store: store.check(),
}
each_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())


def told(store: BackupStore, act: Callable[[BackupStore], object], *secrets: str) -> StoreError:
    """The error that an act ends with, which must have all that a person needs, and nothing secret."""
    with pytest.raises(StoreError) as caught:
        act(store)
    error = caught.value
    assert store.place in error.message
    assert error.hint
    everything = "".join(traceback.format_exception(error)) + error.hint + repr(error)
    for unwanted in ("Debug source", "RetryError", "<Error>", "<Message>", "StringToSign", *secrets):
        assert unwanted not in everything
    return error


def with_haste(server: ObjectServer, folder: str, host: str, patience: Patience = HASTE) -> ObjectStore:
    """A store behind a line, that waits no longer than a test can."""
    assert server.scheme == "s3"
    options = {"endpoint": f"http://{host}"}
    return ObjectStore(
        f"s3://{BUCKET}/{folder}", Spot("s3", BUCKET, folder, options, server.credentials), patience
    )


def _read_into(received: list[bytes], store: BackupStore) -> None:
    received.extend(store.read(NAME))


@each_act
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys_of_s3_are_denied(
    s3_server: ObjectServer, folder: str, name: str, act: Callable[[BackupStore], object]
) -> None:
    credentials = {**s3_server.credentials, name: "NotTheRightOne"}
    store = open_store(parse_address(s3_server.address(folder)), credentials)
    error = told(store, act, *credentials.values())
    assert isinstance(error, StoreDeniedError)
    assert error.is_permanent
    assert "does not accept the credentials" in error.message


@each_act
def test_a_wrong_key_of_azure_is_denied(
    azure_server: ObjectServer, folder: str, act: Callable[[BackupStore], object]
) -> None:
    credentials = {**azure_server.credentials, "AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}
    store = open_store(parse_address(azure_server.address(folder)), credentials)
    assert isinstance(told(store, act, "d3Jvbmc="), StoreDeniedError)


@each_act
@pytest.mark.parametrize("kind", ["s3", "azure", "folder"])
def test_a_place_that_does_not_exist_is_missing_and_not_made(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, act: Callable[[BackupStore], object]
) -> None:
    if kind == "folder":
        store = open_folder(tmp_path / "nowhere")
    else:
        server: ObjectServer = request.getfixturevalue(f"{kind}_server")
        store = open_store(parse_address(server.address("x", bucket="no-such-bucket")), server.credentials)
    error = told(store, act)
    assert isinstance(error, StoreMissingError)
    assert error.is_permanent
    assert not (tmp_path / "nowhere").exists()


@each_act
def test_a_store_at_which_nothing_listens_is_unreachable_within_seconds(
    s3_server: ObjectServer, folder: str, act: Callable[[BackupStore], object]
) -> None:
    with line_to(s3_server.endpoint) as line:
        host = line.host
    store = with_haste(s3_server, folder, host)
    began = time.monotonic()
    error = told(store, act, *s3_server.credentials.values())
    assert isinstance(error, StoreUnreachableError)
    assert not error.is_permanent
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_is_told_as_one(s3_server: ObjectServer, folder: str, hours: int) -> None:
    program = """if True:
        import json, os, sys
        from fastcms.backups.stores.addresses import open_store, parse_address
        from fastcms.errors import StoreError, describe
        store = open_store(parse_address(sys.argv[1]), json.loads(os.environ["CREDENTIALS"]))
        acts = [store.list, lambda: store.find("x"), lambda: store.put("x", [b"1"], 1), store.check]
        for act in acts:
            try:
                print(act())
            except StoreError as error:
                print(describe(error)["code"])
    """
    done = subprocess.run(
        ["faketime", "-f", f"{hours:+}h", sys.executable, "-c", program, s3_server.address(folder)],
        env={
            "PATH": os.environ["PATH"],
            "CREDENTIALS": json.dumps(dict(s3_server.credentials)),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [StoreClockError.code] * 4, done.stderr


def test_a_folder_on_a_full_disk_keeps_what_it_had(small_disk: Path) -> None:
    store = open_folder(small_disk)
    before = store.put(NAME, [b"before"], 6).stored
    error = told(store, lambda store: store.put(NAME, iter([bytes(MIB)] * 3), 3 * MIB))
    assert isinstance(error, StoreFullError)
    assert store.list() == [before]
    assert [path.name for path in small_disk.iterdir()] == [NAME]


def test_a_folder_that_nobody_may_write_to_is_denied(tmp_path: Path) -> None:
    """Root may write anywhere, except where nobody can."""
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], check=True)
    try:
        store = open_folder(tmp_path)
        assert store.list() == []
        assert isinstance(told(store, ACTS["put"]), StoreDeniedError)
        assert isinstance(told(store, ACTS["check"]), StoreDeniedError)
    finally:
        subprocess.run([*AS_ROOT, "umount", tmp_path], check=True)


def test_a_check_tells_when_nothing_may_be_removed(tmp_path: Path) -> None:
    class Keeping(FolderStore):
        def remove(self, name: str) -> None:
            raise StoreDeniedError(f"{self.place} keeps {name}.", hint="Objects are locked there.")

    error = told(Keeping(tmp_path.as_uri(), tmp_path), ACTS["check"])
    assert isinstance(error, StoreDeniedError)
    assert "can be written and read, but nothing may be removed" in error.message


def test_what_a_crash_has_left_in_a_folder_is_not_listed_and_goes_in_time(tmp_path: Path) -> None:
    store = open_folder(tmp_path)
    old, new = tmp_path / ".backup_20240101_000000.zip.0000.partial", tmp_path / f".{NAME}.1111.partial"
    others = tmp_path / ".holiday.zip.partial"
    two_days_ago = time.time() - 2 * 86_400
    for path in (old, new, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (two_days_ago, two_days_ago))
    assert store.list() == []
    store.put(NAME, [b"x"], 1)
    assert [stored.name for stored in store.list()] == [NAME]
    assert not old.exists()
    assert new.exists()  # another server may be writing it
    assert others.exists()  # it is none of ours
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_links_and_folders_in_a_folder_are_no_objects(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / NAME).symlink_to(secret)
    (folder / "sub").mkdir()
    store = open_folder(folder)
    assert store.list() == []
    assert store.find(NAME) is None
    assert isinstance(told(store, ACTS["read"]), StoreError)


@pytest.fixture
def doomed_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which SeaweedFS has room for its own files, and little else."""
    folder = tmp_path / "doomed"
    folder.mkdir()
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*AS_ROOT, "umount", "--lazy", folder], check=True)


def test_a_server_that_is_full_says_so_and_keeps_what_it_had(doomed_disk: Path) -> None:
    with seaweedfs(doomed_disk) as server:
        store = open_at(server, "doomed")
        kept = store.put("kept.zip", [b"kept"], 4).stored
        error = told(store, lambda store: store.put(NAME, iter([os.urandom(MIB)] * 160), 160 * MIB))
        assert not error.is_permanent
        assert store.list() == [kept]
        assert b"".join(store.read("kept.zip")) == b"kept"


def test_a_server_that_is_killed_during_an_upload_has_no_half_object(tmp_path: Path) -> None:
    with seaweedfs(tmp_path) as server:
        store = open_at(server, "doomed")
        kept = store.put("kept.zip", [b"kept"], 4).stored

        def killing() -> Iterator[bytes]:
            yield bytes(9 * MIB)
            server.process.kill()
            yield bytes(MIB)

        error = told(store, lambda store: store.put(NAME, killing(), 10 * MIB))
        assert isinstance(error, StoreUnreachableError)

    with seaweedfs(tmp_path) as server:
        store = open_at(server, "doomed")
        assert store.list() == [kept]
        content = bytes(10 * MIB)
        assert store.put(NAME, [content], len(content)).is_checked
        assert b"".join(store.read(NAME)) == content


def test_a_slow_line_is_not_cut(s3_server: ObjectServer, folder: str) -> None:
    with line_to(s3_server.endpoint) as line:
        patience = dataclasses.replace(HASTE, send=timedelta(seconds=30))
        store = with_haste(s3_server, folder, line.host, patience)
        content = os.urandom(MIB)
        line.bytes_per_second = MIB / 2
        store.put(NAME, [content], MIB)
        began = time.monotonic()
        assert b"".join(store.read(NAME)) == content  # two seconds, without one of silence
        assert time.monotonic() - began > HASTE.silence.total_seconds()


def test_a_line_that_goes_dead_ends_an_upload(s3_server: ObjectServer, folder: str) -> None:
    with line_to(s3_server.endpoint) as line:
        store = with_haste(s3_server, folder, line.host)
        assert store.list() == []
        line.goes_dead_after_bytes = 2 * MIB
        began = time.monotonic()
        error = told(store, lambda store: store.put(NAME, [bytes(9 * MIB)], 9 * MIB))
        assert isinstance(error, StoreUnreachableError)
        assert "did not answer in time" in error.message
        assert time.monotonic() - began < 20
    assert open_at(s3_server, folder).list() == []


def test_a_line_that_goes_dead_or_breaks_ends_reading(s3_server: ObjectServer, folder: str) -> None:
    content = os.urandom(4 * MIB)
    open_at(s3_server, folder).put(NAME, [content], len(content))
    for fault in ("goes_dead_after_bytes", "breaks_after_bytes"):
        with line_to(s3_server.endpoint) as line:
            store = with_haste(s3_server, folder, line.host)
            setattr(line, fault, MIB)
            received: list[bytes] = []
            began = time.monotonic()
            error = told(store, partial(_read_into, received))
            assert isinstance(error, StoreUnreachableError)
            assert time.monotonic() - began < 20
            whole = b"".join(received)
            assert content.startswith(whole)
        # Who wants the rest asks for it.
        rest = open_at(s3_server, folder).read(NAME, len(whole))
        assert whole + b"".join(rest) == content


def test_an_object_that_somebody_alters_has_another_version(
    s3_server: ObjectServer, folder: str, tmp_path: Path
) -> None:
    store = open_at(s3_server, folder)
    before = store.put(NAME, [b"before"], 6).stored
    (tmp_path / NAME).write_bytes(b"aftera")
    s3_server.rclone("copyto", tmp_path / NAME, f"far:{BUCKET}/{folder}/{NAME}")
    after = store.find(NAME)
    assert after is not None
    assert dataclasses.replace(after, version=before.version, modified=before.modified) == before
    assert after.version != before.version


def test_an_object_that_goes_while_it_is_read_is_missing(s3_server: ObjectServer, folder: str) -> None:
    store = open_at(s3_server, folder)
    store.put(NAME, [b"x"], 1)
    chunks = store.read(NAME)
    store.remove(NAME)
    with pytest.raises(StoredObjectMissingError):
        next(chunks)
