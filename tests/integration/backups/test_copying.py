"""Copies of backups: made by themselves, proven, tried again, never half there, and removed by a policy."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import time_machine
from pyrage.x25519 import Identity

from fastcms.backups import (
    backup_notes,
    copy_retention,
    copy_workers,
    copying,
    deletion,
    elsewhere,
    history,
    jobs,
    pinning,
    pruning,
    receiving,
    service,
    streams,
)
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.copies import Checked, Copy, CopyState, list_copies
from fastcms.backups.copying import copy_missing, copy_to
from fastcms.backups.destinations import (
    Destination,
    add_destination,
    change_destination,
    list_destinations,
    open_destination,
    remove_destination,
)
from fastcms.backups.elsewhere import find_problems, show_destination, try_destination
from fastcms.backups.encryption import decrypted
from fastcms.backups.engine.progress import OnProgress
from fastcms.backups.far_side import read_far_side
from fastcms.backups.folder import data_paths
from fastcms.backups.history import RunKind
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobState, cancel_job, list_jobs
from fastcms.backups.schemas import Backup
from fastcms.backups.sending import Sending, send
from fastcms.backups.status import describe_status
from fastcms.backups.stores.base import PutResult
from fastcms.backups.stores.folder import FolderStore
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import (
    BackupError,
    ConflictError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    StoreMissingError,
    StoreUnreachableError,
)
from fastcms.site import Site, new_site
from fastcms.startup import serve_site

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as coordinates:
        yield coordinates


@pytest.fixture
def make_site(settings: Settings, far: Path) -> Iterator[Callable[..., Site]]:
    """Make the site of a server that does nothing by itself, with a destination."""
    opened = []

    def make(options: str = "", **changed: object) -> Site:
        update = {"backup_destinations": f"file://{far}{options}", **changed}
        given = settings.model_dump() | {"backup_destinations": update.pop("backup_destinations")} | update
        site = new_site(Settings(_env_file=None, **given))
        server = serve_site(site)
        server.__enter__()
        opened.append(server)
        return site

    yield make
    for server in opened:
        server.__exit__(None, None, None)


def make_backup(site: Site, when: datetime, size_bytes: int | None = None) -> Backup:
    """Make one at that time; with a size, one that is only good for being copied."""
    if size_bytes is None:
        with time_machine.travel(when, tick=False):
            return service.create_backup(site)
    path = service.path_of(data_paths(site), when)
    path.write_bytes(b"x" * size_bytes)
    return service.find_backup(site, path.name)


def the_destination(site: Site) -> Destination:
    (destination,) = list_destinations(site)
    return destination


def the_copy(site: Site) -> Copy:
    (copy,) = list_copies(site)
    return copy


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sha256_of(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Fault:
    """Lets a folder's store fail as others do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.puts = 0

    def of_list(self, error: StoreError | None) -> None:
        original = FolderStore.list

        def fail(store: FolderStore) -> object:
            if error is not None:
                raise error
            return original(store)

        self._monkeypatch.setattr(FolderStore, "list", fail)

    def of_put(self, error: BaseException, after: Callable[[str], bool] = lambda _name: True) -> None:
        original = FolderStore.put

        def fail(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
            self.puts += 1
            if after(name):
                next(iter(chunks))
                raise error
            return original(store, name, chunks, size_bytes)

        self._monkeypatch.setattr(FolderStore, "put", fail)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    with monkeypatch.context() as patch:
        yield Fault(patch)


def test_a_backup_is_copied_and_read_back(make_site: Callable[..., Site], far: Path) -> None:
    site = make_site()
    backup = service.create_backup(site)
    (run,) = copy_missing(site)
    assert (run.kind, run.state, run.backup_filename) == (RunKind.COPY, JobState.SUCCEEDED, backup.filename)
    assert run.details == {"destination": f"file://{far}"}
    copy = the_copy(site)
    assert (copy.state, copy.checked) == (CopyState.COPIED, Checked.READ_BACK)
    assert copy.sha256 == copy.archive_sha256 == sha256_of(backup.path) == sha256_of(far / backup.filename)
    assert not copy.is_encrypted
    # Nothing is left to do.
    assert copy_missing(site) == []
    assert names_in(far) == [backup.filename]
    state = show_destination(site, copy.destination)
    assert (state.reachable, state.copied, state.waiting, state.failed) == (True, 1, 0, 0)
    assert state.copied_bytes == backup.size_bytes
    assert state.newest_copy is not None
    assert state.newest_copy.filename == backup.filename


def test_without_a_destination_nothing_is_copied(make_site: Callable[..., Site]) -> None:
    site = make_site(backup_destinations="")
    service.create_backup(site)
    assert copy_missing(site) == []
    assert list_copies(site) == []


def test_the_newest_is_copied_first_and_only_what_the_policy_keeps(
    make_site: Callable[..., Site], far: Path
) -> None:
    site = make_site("?keep_last=2")
    for days in (3, 2, 1):
        make_backup(site, NOON - days * DAY)
    runs = copy_missing(site)
    assert [run.backup_filename for run in runs] == [
        "backup_20261122_120000.zip",
        "backup_20261121_120000.zip",
    ]
    assert names_in(far) == ["backup_20261121_120000.zip", "backup_20261122_120000.zip"]


def test_what_came_from_elsewhere_or_is_damaged_is_not_copied(
    make_site: Callable[..., Site], far: Path
) -> None:
    site = make_site()
    damaged = make_backup(site, NOON - DAY)
    backup_notes.note(site, damaged.filename, verified_outcome="failed")
    uploaded = make_backup(site, NOON - 2 * DAY)
    shutil.copy(uploaded.path, far.parent / "brought.zip")
    Path(uploaded.path).unlink()
    receiving.import_archive(site, far.parent / "brought.zip", "somebody", lambda _progress: None)
    assert copy_missing(site) == []
    assert names_in(far) == []


def test_a_damaged_backup_is_found_out_while_it_is_copied(make_site: Callable[..., Site], far: Path) -> None:
    site = make_site()
    backup = service.create_backup(site)
    backup_notes.note(site, backup.filename, crc32=backup.crc32)
    with Path(backup.path).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    (run,) = copy_missing(site)
    assert run.state is JobState.FAILED
    copy = the_copy(site)
    assert (copy.state, copy.code) == (CopyState.FAILED, "archive_corrupt")
    assert names_in(far) == []


def test_encrypted_copies_are_decrypted_as_a_test_where_the_key_is(
    make_site: Callable[..., Site], far: Path, tmp_path: Path
) -> None:
    identity = Identity.generate()
    key_file = tmp_path / "key.txt"
    key_file.write_text(f"{identity}\n")
    key_file.chmod(0o600)
    site = make_site(backup_encrypt_to=str(identity.to_public()), backup_identity=key_file)
    backup = service.create_backup(site)
    copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.checked, copy.is_encrypted) == (CopyState.COPIED, Checked.DECRYPTED, True)
    assert copy.object_name == f"{backup.filename}.age"
    stored = (far / copy.object_name).read_bytes()
    assert b"".join(decrypted([stored], [identity])) == Path(backup.path).read_bytes()
    assert copy.archive_sha256 == sha256_of(backup.path)
    assert copy.sha256 == hashlib.sha256(stored).hexdigest()


def test_a_key_that_does_not_open_the_copies_is_told(make_site: Callable[..., Site], tmp_path: Path) -> None:
    key_file = tmp_path / "key.txt"
    key_file.write_text(f"{Identity.generate()}\n")
    site = make_site(backup_encrypt_to=str(Identity.generate().to_public()), backup_identity=key_file)
    service.create_backup(site)
    copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.code) == (CopyState.FAILED, "key_wrong")
    assert copy.checked is None
    assert [reason.code for reason in describe_status(site).reasons] == ["copy_refused"]


def test_a_key_that_cannot_be_read_is_told_before_anything_is_sent(
    make_site: Callable[..., Site], far: Path, tmp_path: Path
) -> None:
    key, path = str(Identity.generate().to_public()), tmp_path / "key.txt"
    site = make_site(backup_encrypt_to=key, backup_identity=path)
    service.create_backup(site)
    copy_missing(site)
    assert (the_copy(site).state, the_copy(site).code) == (CopyState.FAILED, "key_file_unreadable")
    assert names_in(far) == []


def test_what_waits_is_encrypted_as_soon_as_there_is_a_key(make_site: Callable[..., Site], far: Path) -> None:
    site = make_site()
    service.create_backup(site)
    far.rename(far.parent / "away")
    copy_missing(site)
    assert not the_copy(site).is_encrypted
    change_settings(site, {"encrypt_to": [str(Identity.generate().to_public())]})
    (far.parent / "away").rename(far)
    try_destination(site, the_destination(site).id)
    copy_missing(site)
    assert names_in(far) == [f"{the_copy(site).filename}.age"]


def test_nothing_leaves_while_the_keys_are_not_known(make_site: Callable[..., Site], far: Path) -> None:
    site = make_site()
    change_settings(site, {"encrypt_to": [str(Identity.generate().to_public())]})
    (site.settings.backups_dir / "settings.json").write_text("{")
    service.create_backup(site)
    assert copy_missing(site) == []
    assert names_in(far) == []
    assert "Nothing is copied" in (the_copy(site).reason or "")


def test_no_copy_leaves_as_it_is_when_the_keys_are_lost_during_a_round(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    keys = [str(Identity.generate().to_public())]
    change_settings(site, {"encrypt_to": keys})
    for hours in (2, 1):
        make_backup(site, NOON - hours * HOUR)
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        result = original(store, name, chunks, size_bytes)
        (site.settings.backups_dir / "settings.json").write_text("{")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", put)
        copy_missing(site)
    assert names_in(far) == ["backup_20261123_110000.zip.age"]
    assert copy_missing(site) == []
    # What is mended goes on at once, whatever was to be waited for.
    change_settings(site, {"encrypt_to": keys})
    copy_missing(site)
    assert names_in(far) == ["backup_20261123_100000.zip.age", "backup_20261123_110000.zip.age"]


@pytest.mark.parametrize("is_deleted", [False, True])
def test_settings_that_are_begun_anew_do_not_end_encryption(
    make_site: Callable[..., Site], far: Path, is_deleted: bool
) -> None:
    site = make_site()
    change_settings(site, {"encrypt_to": [str(Identity.generate().to_public())]})
    make_backup(site, NOON - 2 * HOUR)
    copy_missing(site)
    path = site.settings.backups_dir / "settings.json"
    if is_deleted:
        path.unlink()
    else:
        path.write_text("{")
        change_settings(site, {"keep_last": 10})
    make_backup(site, NOON - HOUR)
    assert copy_missing(site) == []
    assert names_in(far) == ["backup_20261123_100000.zip.age"]
    assert show_destination(site, the_destination(site).id).code == "encryption_lost"
    assert "copy_refused" in [reason.code for reason in describe_status(site).reasons]
    change_settings(site, {"encrypt_to": []})  # somebody wants it so
    copy_missing(site)
    assert names_in(far) == ["backup_20261123_100000.zip.age", "backup_20261123_110000.zip"]


def test_a_site_that_came_back_without_its_keys_copies_nothing_in_plain_beside_what_is_encrypted(
    make_site: Callable[..., Site], far: Path
) -> None:
    (far / "backup_20261101_020000.zip.age").write_bytes(b"age-encryption.org/v1\n")
    site = make_site()
    make_backup(site, NOON - HOUR)
    assert copy_missing(site) == []
    refused = show_destination(site, the_destination(site).id)
    assert refused.code == "encryption_lost"
    copy_missing(site)
    assert show_destination(site, the_destination(site).id) == refused  # it is not asked again and again
    change_settings(site, {"encrypt_to": [str(Identity.generate().to_public())]})
    copy_missing(site)
    assert names_in(far) == ["backup_20261101_020000.zip.age", "backup_20261123_110000.zip.age"]


def test_what_cannot_be_reached_is_tried_ever_more_seldom(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site()
    make_backup(site, NOON)
    away = far.parent / "away"
    far.rename(away)
    # A folder that is missing needs somebody; what a network does passes.
    with pytest.MonkeyPatch.context() as patch:
        Fault(patch).of_list(StoreUnreachableError("No connection."))
        tries = []
        for minute in range(13 * 60):
            clock.move_to(NOON + minute * MINUTE)
            before = read_far_side(site, the_destination(site), utc_now()).attempts
            copy_missing(site)
            if read_far_side(site, the_destination(site), utc_now()).attempts > before:
                tries.append(minute)
    assert tries == [0, 1, 6, 21, 81, 261, 621]
    copy = the_copy(site)
    assert (copy.state, copy.reason, copy.since) == (
        CopyState.FAILED,
        "No connection.",
        "2026-11-23T12:00:00.000000Z",
    )
    away.rename(far)
    clock.move_to(NOON + 17 * HOUR)
    copy_missing(site)
    assert the_copy(site).state == CopyState.COPIED
    assert read_far_side(site, the_destination(site), utc_now()).attempts == 0


def test_an_error_that_nobody_expected_is_told_and_tried_ever_more_seldom(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    service.create_backup(site)

    def fail(_store: FolderStore) -> object:
        raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(FolderStore, "list", fail)
    for _ in range(2):
        copy_missing(site)
    state = show_destination(site, the_destination(site).id)
    assert "could not be looked at" in (state.reason or "")
    assert read_far_side(site, the_destination(site), utc_now()).attempts == 1
    assert the_copy(site).state == CopyState.FAILED


def test_what_every_round_finds_is_logged_once_for_each_destination(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    logger = SimpleNamespace(error=lambda message, **_others: logged.append(message))
    monkeypatch.setattr(copying, "get_logger", lambda: logger)
    site = make_site(backup_destinations=f"file://{far} file://{far.parent}/other")
    history_path(site).unlink(missing_ok=True)
    history_path(site).mkdir(parents=True)
    for _ in range(3):
        copy_missing(site)
    assert sum("Reading the history of backups" in message for message in logged) == 2


def test_one_process_at_a_time_looks_what_is_missing(make_site: Callable[..., Site]) -> None:
    """In each round of all workers, for with thousands of backups it takes a while."""
    site = make_site()
    service.create_backup(site)
    workers: dict[str, threading.Thread] = {}
    copy_workers._start_workers(site, workers)
    for worker in workers.values():
        worker.join()
    assert len(workers) == 1
    others: dict[str, threading.Thread] = {}
    copy_workers._start_workers(site, others)
    assert others == {}
    before = time.time() - copy_workers._TICK_SECONDS
    os.utime(copying.lock_of(site, the_destination(site)).path, (before, before))
    copy_workers._start_workers(site, others)
    assert len(others) == 1
    others.popitem()[1].join()


def test_what_needs_somebody_is_tried_seldom_or_when_somebody_says_so(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller, fault: Fault
) -> None:
    site = make_site()
    make_backup(site, NOON)
    fault.of_put(StoreDeniedError("Access denied.", hint="Allow it."), lambda _name: fault.puts == 1)
    copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.reason, copy.hint, copy.code) == (
        CopyState.FAILED,
        "Access denied.",
        "Allow it.",
        "store_denied",
    )
    clock.move_to(NOON + 5 * HOUR)
    copy_missing(site)
    assert fault.puts == 1
    try_destination(site, the_destination(site).id)
    copy_missing(site)
    assert the_copy(site).state == CopyState.COPIED


def test_one_that_fails_again_and_again_keeps_no_other_waiting(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller, fault: Fault
) -> None:
    site = make_site()
    make_backup(site, NOON - HOUR)
    make_backup(site, NOON)
    fault.of_put(StoreFullError("Too large."), lambda name: name == "backup_20261123_120000.zip")
    for hours in range(24 * 3):
        clock.move_to(NOON + hours * HOUR)
        copy_missing(site)
    assert [copy.state for copy in list_copies(site)] == [CopyState.FAILED, CopyState.COPIED]


def test_half_a_copy_is_never_seen(make_site: Callable[..., Site], far: Path, fault: Fault) -> None:
    site = make_site()
    service.create_backup(site)
    fault.of_put(StoreUnreachableError("The connection broke."))
    (run,) = copy_missing(site)
    assert (run.state, run.error and run.error.code) == (JobState.FAILED, "store_unreachable")
    assert names_in(far) == []


def test_the_same_bytes_are_not_sent_again(make_site: Callable[..., Site], far: Path, fault: Fault) -> None:
    site = make_site()
    backup = service.create_backup(site)
    shutil.copy(backup.path, far)
    fault.of_put(StoreError("Nothing is to be sent."))
    copy_missing(site)
    assert (the_copy(site).state, the_copy(site).checked) == (CopyState.COPIED, Checked.READ_BACK)
    assert fault.puts == 0


@pytest.mark.parametrize("is_longer", [False, True])
def test_other_bytes_of_the_same_name_are_told_and_not_touched(
    make_site: Callable[..., Site], far: Path, is_longer: bool
) -> None:
    site = make_site()
    backup = service.create_backup(site)
    other = b"y" * (backup.size_bytes + is_longer)
    (far / backup.filename).write_bytes(other)
    copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.code) == (CopyState.FAILED, "copy_differs")
    assert (far / backup.filename).read_bytes() == other


def test_an_encrypted_copy_of_which_nothing_is_noted_is_recognized_as_far_as_can_be(
    make_site: Callable[..., Site], far: Path, fault: Fault, tmp_path: Path
) -> None:
    identity = Identity.generate()
    key_file = tmp_path / "key.txt"
    key_file.write_text(f"{identity}\n")
    site = make_site(backup_encrypt_to=str(identity.to_public()))
    backup = service.create_backup(site)
    copy_missing(site)
    lose_history(site)
    fault.of_put(StoreError("Nothing is to be sent."))
    copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.checked, copy.sha256) == (CopyState.COPIED, None, None)
    lose_history(site)
    with_key = new_site(site.settings.model_copy(update={"backup_identity": key_file}))
    copy_missing(with_key)
    copy = the_copy(with_key)
    assert (copy.checked, copy.archive_sha256) == (Checked.DECRYPTED, sha256_of(backup.path))


def test_what_is_perhaps_no_copy_is_relied_on_for_nothing_and_never_removed(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller, tmp_path: Path
) -> None:
    """Two sites share a folder and a key, and have made a backup in the same second."""
    key = str(Identity.generate().to_public())
    one = make_site(backup_encrypt_to=key)
    other = make_site("?keep_last=1", backup_encrypt_to=key, data_dir=tmp_path / "other")
    make_backup(one, NOON)
    copy_missing(one)
    shutil.copy(service.find_backup(one, "backup_20261123_120000.zip").path, other.settings.backups_dir)
    copy_missing(other)
    copy = the_copy(other)
    assert (copy.state, copy.checked, copy.sha256) == (CopyState.COPIED, None, None)
    assert show_destination(other, copy.destination).newest_copy is None
    clock.move_to(NOON + 2 * DAY)
    assert "copy_missing" in [reason.code for reason in describe_status(other).reasons]
    make_backup(other, NOON + 2 * DAY)
    copy_missing(other)
    assert names_in(far) == ["backup_20261123_120000.zip.age", "backup_20261125_120000.zip.age"]


def test_an_encrypted_object_of_another_size_is_no_copy(make_site: Callable[..., Site], far: Path) -> None:
    site = make_site(backup_encrypt_to=str(Identity.generate().to_public()))
    service.create_backup(site)
    copy_missing(site)
    lose_history(site)
    (stored,) = far.iterdir()
    with stored.open("ab") as file:
        file.write(b"x")
    copy_missing(site)
    assert (the_copy(site).state, the_copy(site).code) == (CopyState.FAILED, "copy_differs")


def lose_history(site: Site) -> None:
    for path in site.settings.backups_dir.glob("history.db*"):
        path.unlink()


@pytest.mark.parametrize("is_complete", [False, True])
def test_what_a_killed_process_left_is_understood(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch, is_complete: bool
) -> None:
    """As the table is left: the attempt is noted, and what was sent is, if all of it was."""
    site = make_site(backup_encrypt_to=str(Identity.generate().to_public()))
    service.create_backup(site)

    class KilledError(BaseException):
        pass

    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        if is_complete:
            original(store, name, chunks, size_bytes)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", put)
        with pytest.raises(KilledError):
            copying.copy_to(site, the_destination(site))
    assert the_copy(site).state == CopyState.COPYING
    before = names_in(far)
    copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.checked) == (CopyState.COPIED, Checked.READ_BACK)
    assert copy.sha256 == sha256_of(far / copy.object_name)
    assert not is_complete or names_in(far) == before


def test_a_copy_that_is_gone_is_made_again_and_an_altered_one_is_told(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site()
    other, backup = make_backup(site, NOON - DAY), make_backup(site, NOON)
    copy_missing(site)
    (far / backup.filename).unlink()
    clock.move_to(NOON + HOUR)
    copy_missing(site)
    assert [copy.state for copy in list_copies(site)] == [CopyState.COPIED] * 2
    assert names_in(far) == [other.filename, backup.filename]
    content = bytearray((far / backup.filename).read_bytes())
    content[50] ^= 1
    (far / backup.filename).write_bytes(content)
    clock.move_to(NOON + 2 * HOUR)
    copy_missing(site)
    (copy,) = list_copies(site, backup.filename)
    assert (copy.state, copy.code) == (CopyState.FAILED, "copy_differs")
    assert (far / backup.filename).read_bytes() == content


def test_a_folder_whose_drive_is_away_is_not_taken_for_the_destination(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site()
    first = make_backup(site, NOON - DAY)
    copy_missing(site)
    drive = far.rename(far.with_name("drive"))
    far.mkdir()
    second = make_backup(site, NOON)
    clock.move_to(NOON + HOUR)
    copy_missing(site)
    state = show_destination(site, the_destination(site).id)
    assert (state.code, state.needs_somebody, state.copied) == ("store_emptied", True, 1)
    assert state.reason == f"The only copy that was in file://{far} is not there now."
    assert "copy_refused" in [reason.code for reason in describe_status(site).reasons]
    assert names_in(far) == []

    far.rmdir()
    drive.rename(far)  # mounted again
    try_destination(site, state.id)
    copy_missing(site)
    assert names_in(far) == [first.filename, second.filename]
    assert describe_status(site).is_safe


def test_nothing_is_copied_after_a_drive_went_away_during_a_round(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    for days in (2, 1, 0):
        make_backup(site, NOON - days * DAY)
    original = copying._copy_one

    def copy_then_unmount(*arguments: object) -> Copy:
        copied = original(*arguments)  # type: ignore[arg-type]
        far.rename(far.with_name("drive"))
        far.mkdir()
        return copied

    monkeypatch.setattr(copying, "_copy_one", copy_then_unmount)
    copy_missing(site)
    assert names_in(far) == []
    copy_missing(site)
    assert show_destination(site, the_destination(site).id).code == "store_emptied"
    assert names_in(far) == []


def test_a_place_that_was_emptied_on_purpose_is_filled_again_after_two_tests(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    """The first one tells that it is empty; whoever tests again knows."""
    site = make_site()
    backups = [make_backup(site, NOON - DAY), make_backup(site, NOON)]
    copy_missing(site)
    for backup in backups:
        (far / backup.filename).unlink()
    destination = the_destination(site)
    with pytest.raises(StoreMissingError, match=r"None of the 2 copies that were in file://.* is there now."):
        try_destination(site, destination.id)
    copy_missing(site)
    assert names_in(far) == []
    try_destination(site, destination.id)
    copy_missing(site)
    assert names_in(far) == [backup.filename for backup in backups]
    assert not read_far_side(site, destination, NOON).may_be_empty


def test_copies_that_are_gone_with_their_backups_are_told_until_somebody_knows(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site()
    backups = [make_backup(site, NOON - days * DAY) for days in (2, 1, 0)]
    copy_missing(site)
    for backup in backups[:2]:
        deletion.delete_backup(site, backup.filename, "somebody")
        (far / backup.filename).unlink()
    for hours in (1, 2):
        clock.move_to(NOON + hours * HOUR)
        copy_missing(site)
        state = show_destination(site, the_destination(site).id)
        assert (state.lost, state.newest_lost, state.copied) == (2, backups[1].filename, 1)
    (reason,) = [reason for reason in describe_status(site).reasons if reason.code == "copies_lost"]
    assert f"2 copies that were in {state.place}" in reason.message
    try_destination(site, state.id)
    assert "copies_lost" not in [reason.code for reason in describe_status(site).reasons]


def test_an_altered_copy_is_told_when_the_backup_is_gone_here(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site()
    backup = make_backup(site, NOON)
    copy_missing(site)
    deletion.delete_backup(site, backup.filename, "somebody")
    (far / backup.filename).write_bytes(b"short")
    clock.move_to(NOON + HOUR)
    copy_missing(site)
    assert (the_copy(site).state, the_copy(site).code) == (CopyState.FAILED, "copy_differs")


def test_deleting_a_backup_here_leaves_its_copies(make_site: Callable[..., Site], far: Path) -> None:
    site = make_site()
    backup = service.create_backup(site)
    copy_missing(site)
    deletion.delete_backup(site, backup.filename, "somebody")
    assert copy_missing(site) == []
    assert the_copy(site).state == CopyState.COPIED
    assert names_in(far) == [backup.filename]


def test_a_backup_that_is_being_copied_cannot_be_deleted_and_is_not_pruned(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    backup = service.create_backup(site)
    refusals: list[str] = []
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        with pytest.raises(ConflictError) as refused:
            deletion.remove_backup(site, backup.filename)
        refusals.append(str(refused.value))
        return original(store, name, chunks, size_bytes)

    monkeypatch.setattr(FolderStore, "put", put)
    copy_missing(site)
    assert len(refusals) == 1
    assert "is in use" in refusals[0]


def test_somebody_cancels_and_it_is_tried_again_later(
    make_site: Callable[..., Site], clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    make_backup(site, NOON)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN", 0)
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        (job,) = [job for job in list_jobs(site) if job.is_running]
        assert job.place == store.place
        cancel_job(site, job.id, "Ada", timeout_seconds=0)
        return original(store, name, chunks, size_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", put)
        (run,) = copy_missing(site)
    assert run.state is JobState.CANCELLED
    copy = the_copy(site)
    assert (copy.state, copy.reason) == (CopyState.WAITING, "It was cancelled by Ada.")
    assert copy_missing(site) == []
    clock.move_to(NOON + 7 * HOUR)
    copy_missing(site)
    assert the_copy(site).state == CopyState.COPIED


def test_an_upload_ends_when_its_destination_is_removed(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(backup_destinations="")
    destination = add_destination(site, far.as_uri(), {})
    backup = make_backup(site, NOON)
    monkeypatch.setattr(streams, "_SECONDS_BETWEEN", 0)
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        remove_destination(site, destination.id)
        return original(store, name, chunks, size_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", put)
        (run,) = copy_missing(site)
    assert run.state is JobState.CANCELLED
    assert run.error is not None
    assert "was removed from the destinations" in run.error.detail
    assert names_in(far) == []
    elsewhere.add_destination(site, far.as_uri(), {}, "somebody")
    copy_missing(site)
    assert names_in(far) == [backup.filename]


def test_the_end_of_the_server_is_no_failure(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    service.create_backup(site)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN", 0)
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        site.stopping.set()
        return original(store, name, chunks, size_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", put)
        copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.attempts, copy.reason) == (CopyState.WAITING, 0, None)
    site.stopping.clear()
    copy_missing(site)
    assert the_copy(site).state == CopyState.COPIED


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_was_sent_is_known_although_the_comparison_was_broken_off(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    site = make_site(backup_encrypt_to=str(Identity.generate().to_public()))
    service.create_backup(site)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN", 0)
    original = FolderStore.read

    def read(store: FolderStore, name: str, *where: int) -> Iterable[bytes]:
        if is_stopped:
            site.stopping.set()
        else:
            (job,) = [job for job in list_jobs(site) if job.is_running]
            cancel_job(site, job.id, "Ada", timeout_seconds=0)
        return original(store, name, *where)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "read", read)
        copy_missing(site)
    sent = the_copy(site)
    assert (sent.state, sent.sha256) == (CopyState.WAITING, sha256_of(far / sent.object_name))
    site.stopping.clear()
    try_destination(site, the_destination(site).id)
    copy_missing(site)
    assert (the_copy(site).checked, the_copy(site).sha256) == (Checked.READ_BACK, sent.sha256)


def test_the_bandwidth_is_limited(make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site("?limit=20kB")
    limits = []

    def watch(sending: Sending, copy: Copy, on_progress: OnProgress) -> Copy:
        limits.append(sending.limit)
        return send(sending, copy, on_progress)

    monkeypatch.setattr(copying, "send", watch)
    change_settings(site, {"copy_limit": "1MB"})
    make_backup(site, NOON, 30_000)
    began = time.monotonic()
    copy_missing(site)
    assert time.monotonic() - began > 1.4
    assert limits == [20_000]


def test_a_policy_there_removes_only_what_this_site_has_copied(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site("?keep_last=2")
    others = ["backup_20200101_000000.zip", "notes.txt"]
    for name in others:
        (far / name).write_text("of somebody else")
    for day in range(4):
        clock.move_to(NOON + day * DAY)
        make_backup(site, NOON + day * DAY)
        runs = copy_missing(site)
    kept = ["backup_20261125_120000.zip", "backup_20261126_120000.zip"]
    assert names_in(far) == [*others[:1], *kept, *others[1:]]
    (pruned,) = [run for run in runs if run.kind is RunKind.PRUNE]
    assert pruned.details["removed"] == ["backup_20261124_120000.zip"]
    assert pruned.details["destination"] == f"file://{far}"
    assert [copy.state for copy in list_copies(site)] == ["copied", "copied", "gone", "gone"]
    assert show_destination(site, the_destination(site).id).others == 2
    # Those of this machine are another thing.
    assert len(service.list_backups(site)) == 4
    assert history.latest_pruning(site) is None


@pytest.mark.parametrize("is_changed", [False, True])
def test_nothing_is_removed_by_the_rules_of_a_destination_that_is_none_any_more(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch, is_changed: bool
) -> None:
    site = make_site(backup_destinations="")
    for hours in (3, 2):
        make_backup(site, NOON - hours * HOUR)
    destination = add_destination(site, f"file://{far}", {})
    copy_missing(site)
    remove_destination(site, destination.id)
    destination = add_destination(site, f"file://{far}?keep_last=1", {})
    make_backup(site, NOON - HOUR)
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        result = original(store, name, chunks, size_bytes)
        if is_changed and name.startswith("backup_"):
            change_destination(site, destination.id, f"file://{far}?keep_last=3", {})
        elif not is_changed:
            remove_destination(site, destination.id)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", put)
        copy_to(site, destination)
    assert len(names_in(far)) == 3


def test_a_pinned_backup_stays_there_too(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site("?keep_last=1")
    make_backup(site, NOON)
    pinning.pin(site, "backup_20261123_120000.zip", "Ada")
    for day in range(3):
        clock.move_to(NOON + day * DAY)
        if day:
            make_backup(site, NOON + day * DAY)
        copy_missing(site)
    assert names_in(far) == ["backup_20261123_120000.zip", "backup_20261125_120000.zip"]


@pytest.mark.parametrize("ending", ["", ".age"])
def test_a_copy_that_somebody_fetches_or_verifies_just_now_stays(
    make_site: Callable[..., Site],
    far: Path,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    site = make_site("?keep_last=1", backup_encrypt_to=str(Identity.generate().to_public()))
    make_backup(site, NOON)
    copy_missing(site)
    clock.move_to(NOON + DAY)
    make_backup(site, NOON + DAY)
    uses = {f"backup_20261123_120000.zip{ending}": "it is needed by a job that runs"}
    with monkeypatch.context() as patch:
        patch.setattr(copy_retention, "find_uses", lambda _site: uses)
        copy_missing(site)
    assert len(names_in(far)) == 2
    clock.move_to(NOON + 2 * DAY)
    copy_missing(site)
    assert names_in(far) == ["backup_20261124_120000.zip.age"]


def test_nothing_is_removed_there_while_it_cannot_be_told_what_is_pinned(
    make_site: Callable[..., Site], clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site("?keep_last=1")
    make_backup(site, NOON)
    pinning.pin(site, "backup_20261123_120000.zip", "Ada")
    copy_missing(site)
    make_backup(site, NOON + HOUR)
    copy_missing(site)
    destination = the_destination(site)
    store = open_destination(site, destination)

    def fail(_site: Site) -> object:
        raise BackupError("The history cannot be read.")

    # The list of backups goes on without the pins.
    monkeypatch.setattr(
        copy_retention,
        "list_own",
        lambda site: [
            backup._replace(notes=backup_notes.Notes(backup.filename))
            for backup in service.list_backups(site)
        ],
    )
    assert all(decision.keep for decision, _copy in copy_retention.plan_there(site, destination, store))
    monkeypatch.setattr(copy_retention, "read_notes", fail)
    with pytest.raises(BackupError):
        copy_retention.plan_there(site, destination, store)


def test_what_was_copied_is_told_also_when_the_removal_after_it_breaks_off(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    make_backup(site, NOON)
    for error, reason in ((StoreUnreachableError("Away."), "Away."), (RuntimeError(), "broke off")):

        def fail(*_arguments: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(copying, "prune_there", fail)
        runs = copy_missing(site)
        assert [run.kind for run in runs] == ([RunKind.COPY] if reason == "Away." else [])
        (problem,) = find_problems(site)
        assert reason in problem
        try_destination(site, the_destination(site).id)
    assert find_problems(site) == []


def test_nothing_is_removed_there_while_backups_fail(
    make_site: Callable[..., Site],
    far: Path,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = make_site("?keep_last=1")
    make_backup(site, NOON)
    copy_missing(site)
    clock.move_to(NOON + DAY)
    make_backup(site, NOON + DAY)
    monkeypatch.setattr(pruning, "_has_latest_backup_failed", lambda _site: True)
    copy_missing(site)
    assert len(names_in(far)) == 2


def test_a_destination_that_removes_nothing_is_asked_once_a_day(
    make_site: Callable[..., Site], clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site("?keep_last=1")
    for day in range(3):
        make_backup(site, NOON - day * DAY)
    asked = []

    def refuse(_store: FolderStore, name: str) -> None:
        asked.append(name)
        raise StoreDeniedError("It may not be removed.")

    copy_missing(make_site_keep_all(site))
    monkeypatch.setattr(FolderStore, "remove", refuse)
    for hour in range(30):
        clock.move_to(NOON + hour * HOUR)
        copy_missing(site)
    assert len(asked) == 2
    failed = history.list_runs(site, kind=RunKind.PRUNE, state=JobState.FAILED)
    assert len(failed) == 2
    assert failed[0].error is not None
    assert "It may not be removed." in failed[0].error.detail


def make_site_keep_all(site: Site) -> Site:
    """The same site with a destination that keeps everything."""
    address = site.settings.backup_destinations.get_secret_value().partition("?")[0]
    update = {
        "backup_destinations": Settings(_env_file=None, backup_destinations=address).backup_destinations
    }
    return new_site(site.settings.model_copy(update=update))


def test_a_total_size_is_kept_without_copying_in_circles(
    make_site: Callable[..., Site], far: Path, clock: time_machine.Traveller
) -> None:
    site = make_site("?max_total_size=250kB", backup_encrypt_to=str(Identity.generate().to_public()))
    for hours in range(5):
        make_backup(site, NOON - hours * HOUR, 100_000)
    for hour in range(3):
        clock.move_to(NOON + hour * HOUR)
        runs = copy_missing(site)
    assert runs == []
    assert names_in(far) == ["backup_20261123_110000.zip.age", "backup_20261123_120000.zip.age"]


def test_one_process_at_a_time_copies_to_a_destination(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    service.create_backup(site)
    other_runs: list[object] = []
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        other_runs.append(copy_missing(new_site(site.settings)))
        return original(store, name, chunks, size_bytes)

    monkeypatch.setattr(FolderStore, "put", put)
    assert len(copy_missing(site)) == 1
    assert other_runs == [[]]


def test_a_copy_keeps_no_backup_waiting(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    service.create_backup(site)
    made: list[str] = []
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        if not made:
            made.append(service.create_backup(site).filename)
        return original(store, name, chunks, size_bytes)

    monkeypatch.setattr(FolderStore, "put", put)
    assert len(copy_missing(site)) == 2
    assert {copy.state for copy in list_copies(site)} == {CopyState.COPIED}


def test_other_bytes_that_cannot_be_removed_are_told_first_of_all(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    service.create_backup(site)

    def refuse(_store: FolderStore, _name: str) -> None:
        raise StoreDeniedError("It may not be removed.")

    monkeypatch.setattr(FolderStore, "read", lambda _store, _name, *_where: iter([b"other bytes"]))
    monkeypatch.setattr(FolderStore, "remove", refuse)
    copy_missing(site)
    assert the_copy(site).code == "copy_damaged"
    assert "it could not be removed" in (the_copy(site).reason or "")


def test_what_came_in_the_place_of_a_new_copy_is_not_removed(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    backup = service.create_backup(site)

    def read(_store: FolderStore, name: str, *_where: int) -> Iterable[bytes]:
        (far / name).write_bytes(b"of somebody else")
        return iter([b"of somebody else"])

    monkeypatch.setattr(FolderStore, "read", read)
    copy_missing(site)
    assert the_copy(site).code == "copy_damaged"
    assert (far / backup.filename).read_bytes() == b"of somebody else"


def test_bytes_that_come_back_otherwise_are_removed_and_tried_again(
    make_site: Callable[..., Site], far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    service.create_backup(site)
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "read", lambda _store, _name, *_where: iter([b"other bytes"]))
        copy_missing(site)
    copy = the_copy(site)
    assert (copy.state, copy.code) == (CopyState.FAILED, "copy_damaged")
    assert names_in(far) == []
    try_destination(site, the_destination(site).id)
    copy_missing(site)
    assert the_copy(site).state == CopyState.COPIED
