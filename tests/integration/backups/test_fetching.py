"""Backups that are kept elsewhere: what is listed, what is fetched, and what is left when that fails."""

import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import time_machine
from pyrage.x25519 import Identity
from typer.testing import CliRunner

from fastcms.backups import encryption, fetching, receiving, restoring, service, stored, tasks
from fastcms.backups.copies import Copy
from fastcms.backups.engine.progress import Progress, ignore_progress
from fastcms.backups.fetching import Source
from fastcms.backups.origin import read_origin
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.stored_terminal import warn_of
from fastcms.backups.stores.base import StoredObject
from fastcms.backups.stores.folder import FolderStore
from fastcms.cli import app
from fastcms.errors import (
    ArchiveError,
    BackupNotFoundError,
    CorruptArchiveError,
    FastCMSError,
    JobCancelledError,
    KeyRequiredError,
    NotEnoughSpaceError,
    StoredObjectChangedError,
    StoreUnreachableError,
    WrongKeyError,
)
from fastcms.site import Site

KEY = Identity.generate()
OTHER_KEY = Identity.generate()


class BreakingStore(FolderStore):
    """A folder at the end of a bad line: each read breaks off after so many bytes."""

    def __init__(self, place: str, folder: Path, bytes_a_read: int) -> None:
        super().__init__(place, folder)
        self.bytes_a_read = bytes_a_read
        self.reads: list[int] = []

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Generator[bytes]:
        self.reads.append(offset)
        if length is not None:  # only a look at the first bytes
            yield from super().read(name, offset, length)
            return
        yield b"".join(super().read(name, offset, self.bytes_a_read))
        raise StoreUnreachableError("The line is dead.")


@pytest.fixture
def archive(stopped: Site, tmp_path: Path) -> Path:
    """A backup of the site that is not on its machine any more."""
    (backup,) = service.list_backups(stopped)
    path = tmp_path / backup.filename
    shutil.move(backup.path, path)
    return path


@pytest.fixture
def far(tmp_path: Path) -> Path:
    folder = tmp_path / "far away"
    folder.mkdir()
    return folder


@pytest.fixture
def encrypted(archive: Path, far: Path) -> Path:
    return encrypt(archive, far / f"{archive.name}.age", KEY)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_WAITS_SECONDS", (0.01, 0.01, 0.01))
    stored._known_heads.clear()


def encrypt(archive: Path, path: Path, key: Identity) -> Path:
    content = archive.read_bytes()
    with encryption.encrypted([content], len(content), [key.to_public()]) as stream:
        path.write_bytes(b"".join(stream.chunks))
    return path


def source_of(far: Path, *keys: Identity) -> Source:
    return Source(FolderStore(f"file://{far}", far), keys)


def noted(path: Path) -> dict[str, Copy]:
    """What the site has noted of a copy."""
    copy = Copy(
        stored.filename_of(path.name),
        "12345678",
        "file:///far",
        "copied",
        "",
        path.name,
        sha256=sha256(path.read_bytes()).hexdigest(),
    )
    return {path.name: copy}


def receive(site: Site, source: Source, path: Path) -> Backup:
    details = fetching.receive(site, source, path.name, "me", ignore_progress)
    return service.find_backup(site, details.filename)


def names_in(site: Site) -> Sequence[str]:
    return sorted(path.name for path in site.settings.backups_dir.glob("backup_*"))


def hidden_in(site: Site) -> Sequence[str]:
    return [path.name for path in site.settings.backups_dir.glob(".upload-*")]


def test_backups_are_listed_newest_first_by_what_they_are_and_others_objects_left_out(
    archive: Path, encrypted: Path, far: Path
) -> None:
    shutil.copy(archive, far / "backup_20200101_000000.zip")
    shutil.copy(archive, far / "backup_20200102_000000.zip.age")
    shutil.copy(encrypted, far / "backup_20200103_000000.zip")
    (far / "backup_20200104_000000.zip").write_bytes(b"hello")
    (far / "backup_20200105_000000.zip.age").write_bytes(b"")
    for name in ("holiday.zip", "backup_20201301_000000.zip", "backup_20200101_000000.zip.partial"):
        (far / name).write_bytes(b"PK\x03\x04")
    listed = stored.list_stored(source_of(far).store)
    assert [(item.object_name, item.is_encrypted, item.problem is None) for item in listed.items] == [
        (encrypted.name, True, True),
        ("backup_20200105_000000.zip.age", False, False),
        ("backup_20200104_000000.zip", False, False),
        ("backup_20200103_000000.zip", True, False),
        ("backup_20200102_000000.zip.age", False, False),
        ("backup_20200101_000000.zip", False, True),
    ]
    assert listed.total == 6
    assert listed.items[0].filename == archive.name
    assert listed.items[0].size_bytes == encrypted.stat().st_size
    assert stored.suggest(listed.items) == listed.items[0]


def test_the_newest_is_one_that_is_what_it_is_called(archive: Path, far: Path) -> None:
    store = source_of(far).store
    with pytest.raises(BackupNotFoundError, match="no backup in"):
        stored.find_newest(store)
    shutil.copy(archive, far / "backup_20990101_000000.zip.age")
    with pytest.raises(BackupNotFoundError, match="no usable backup in"):
        stored.find_newest(store)
    shutil.copy(archive, far)
    assert stored.find_newest(store).object_name == archive.name


def test_one_from_the_future_is_the_newest_only_if_there_is_no_other(
    far: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = source_of(far).store
    (far / "backup_99981231_235959.zip").write_bytes(b"PK\x03\x04")
    future = stored.find_newest(store)
    assert (future.filename, stored.suggest([future])) == ("backup_99981231_235959.zip", future)
    warn_of(future)
    assert "in the future" in "".join(capsys.readouterr())
    (far / "backup_20200101_000000.zip").write_bytes(b"PK\x03\x04")
    newest = stored.find_newest(store)
    assert newest.filename == "backup_20200101_000000.zip"
    assert stored.suggest([future, newest]) == newest


def test_who_has_a_key_is_given_no_plain_one_that_anybody_could_have_put_there(
    encrypted: Path, far: Path
) -> None:
    store, names = source_of(far).store, [encrypted.name]
    older, planted = "backup_20200101_000000.zip", "backup_20981231_235959.zip"
    for name in (older, planted):
        (far / name).write_bytes(b"PK\x03\x04")
        names.append(name)
    shutil.copy(far / older, far / "backup_20991231_235959.zip.age")  # called encrypted, and it is not
    with time_machine.travel("2098-12-31 23:59:59Z"):
        assert stored.find_newest(store).object_name == planted
        chosen = stored.find_newest(store, has_key=True)
        assert stored.suggest(stored.list_stored(store).items, has_key=True) == chosen
    assert chosen.object_name == encrypted.name
    assert stored.find_passed_over(chosen, names) == planted
    assert stored.find_passed_over(chosen, [encrypted.name, older]) is None
    encrypted.unlink()
    plain = stored.find_newest(store, has_key=True)
    assert plain.object_name == older
    assert stored.find_passed_over(plain, names) is None


def test_only_what_is_shown_is_looked_into(far: Path) -> None:
    names = [f"backup_20200101_{number:06}.zip" for number in range(10, 60)]
    for name in names:
        (far / name).write_bytes(b"PK\x03\x04")
    store = BreakingStore("file:///far", far, 0)
    page = stored.list_stored(store, page=2, per_page=5)
    assert [item.filename for item in page.items] == names[-6:-11:-1]
    assert (page.total, page.size_bytes, len(store.reads)) == (50, 200, 5)
    assert stored.list_stored(store, page=11, per_page=5).items == []
    assert stored.find_newest(store).filename == names[-1]
    assert len(store.reads) == 6


def test_what_an_object_is_is_asked_for_once_until_it_changes(encrypted: Path, far: Path) -> None:
    store = BreakingStore("file:///far", far, 0)
    for _ in range(3):
        assert stored.list_stored(store).items[0].is_encrypted
    assert len(store.reads) == 1
    encrypted.write_bytes(b"PK\x03\x04 now something else")
    assert not stored.list_stored(store).items[0].is_encrypted
    assert len(store.reads) == 2


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("s3://b/p", "s3://b/p", None),
        (
            "s3://b/p/backup_20250115_100000.zip.age",
            "s3://b/p",
            "backup_20250115_100000.zip.age",
        ),
        (
            "s3://b/backup_20250115_100000.zip?endpoint=http://h:1",
            "s3://b?endpoint=http://h:1",
            "backup_20250115_100000.zip",
        ),
        ("0123abcd/backup_20250115_100000.zip", "0123abcd", "backup_20250115_100000.zip"),
        ("0123abcd", "0123abcd", None),
    ],
)
def test_an_address_names_a_place_and_maybe_a_backup_in_it(text: str, place: str, name: str | None) -> None:
    assert stored.split_address(text) == (place, name)
    if name is not None:
        assert stored.locate(place, name) == text


def test_a_fetched_backup_is_decrypted_and_marked_as_brought_from_there(
    stopped: Site, archive: Path, encrypted: Path, far: Path
) -> None:
    backup = receive(stopped, source_of(far, OTHER_KEY, KEY), encrypted)
    assert (backup.filename, backup.kind) == (archive.name, BackupKind.UPLOADED)
    assert Path(backup.path).read_bytes() == archive.read_bytes()
    assert Path(backup.path).stat().st_mode & 0o777 == 0o600
    origin = read_origin(Path(backup.path))
    assert origin is not None
    assert (origin.uploaded_by, origin.fetched_from) == ("me", f"file://{far}")
    again = receive(stopped, source_of(far, KEY), encrypted)
    assert again.filename == backup.filename
    assert names_in(stopped) == [archive.name]
    assert hidden_in(stopped) == []


def test_a_backup_that_is_known_byte_for_byte_as_made_here_needs_no_question(
    stopped: Site, encrypted: Path, far: Path
) -> None:
    backup = receive(stopped, replace(source_of(far, KEY), sent=noted(encrypted)), encrypted)
    assert backup.kind is BackupKind.MANUAL
    restoring.stage_restore(stopped, backup.filename, "me", approved=None)


def test_it_is_noted_which_of_the_keys_at_hand_has_opened_it(
    stopped: Site, encrypted: Path, archive: Path, far: Path
) -> None:
    backup = receive(stopped, source_of(far, Identity.generate(), KEY), encrypted)
    origin = receiving.find_origin(stopped, backup.filename)
    assert origin is not None
    assert origin.encrypted_to == [str(KEY.to_public())]
    Path(backup.path).unlink()
    shutil.copy(archive, far)
    plain = receive(stopped, source_of(far, KEY), far / archive.name)
    origin = receiving.find_origin(stopped, plain.filename)
    assert origin is not None
    assert origin.encrypted_to == []


def test_a_backup_that_is_still_here_is_not_fetched(stopped: Site, encrypted: Path, archive: Path) -> None:
    shutil.copy(archive, stopped.settings.backups_dir)
    sent = noted(encrypted)
    sent[encrypted.name] = sent[encrypted.name]._replace(
        archive_sha256=sha256(archive.read_bytes()).hexdigest()
    )
    encrypted.unlink()
    source = replace(source_of(encrypted.parent), sent=sent)
    assert receive(stopped, source, encrypted).filename == archive.name
    (stopped.settings.backups_dir / archive.name).write_bytes(b"changed since")
    with pytest.raises(BackupNotFoundError):
        receive(stopped, source, encrypted)


def test_a_transfer_that_breaks_goes_on_where_it_broke(
    stopped: Site, archive: Path, encrypted: Path, far: Path
) -> None:
    store = BreakingStore("file:///far", far, 1000)
    backup = receive(stopped, Source(store, [KEY]), encrypted)
    assert Path(backup.path).read_bytes() == archive.read_bytes()
    assert store.reads[1:] == list(range(0, encrypted.stat().st_size, 1000))


def test_a_transfer_that_gets_nowhere_gives_up_with_the_reason(
    stopped: Site, encrypted: Path, far: Path
) -> None:
    store = BreakingStore("file:///far", far, 0)
    with pytest.raises(StoreUnreachableError, match="The line is dead"):
        receive(stopped, Source(store, [KEY]), encrypted)
    assert len(store.reads) == 1 + 1 + 3
    assert (names_in(stopped), hidden_in(stopped)) == ([], [])


def test_an_object_that_becomes_another_one_while_it_is_read_is_given_up(
    stopped: Site, archive: Path, far: Path
) -> None:
    shutil.copy(archive, far)

    class Changing(BreakingStore):
        def find(self, name: str) -> StoredObject | None:
            found = super().find(name)
            assert found is not None
            return replace(found, version=f"{found.version} {len(self.reads) // 2}")

    with pytest.raises(StoredObjectChangedError, match="was changed or removed while it was read"):
        receive(stopped, Source(Changing("file:///far", far, 500)), far / archive.name)
    assert (names_in(stopped), hidden_in(stopped)) == ([], [])


def test_a_store_that_sends_more_than_it_said_is_given_up_at_once(
    stopped: Site, archive: Path, far: Path
) -> None:
    shutil.copy(archive, far)
    size_bytes, seen = archive.stat().st_size, []

    class Endless(FolderStore):
        def read(self, name: str, offset: int = 0, length: int | None = None) -> Generator[bytes]:
            yield from super().read(name, offset, length)
            while length is None:
                yield bytes(1000)

    def look(progress: Progress) -> None:
        seen.append(progress.done_bytes)

    with pytest.raises(StoredObjectChangedError):
        fetching.receive(stopped, Source(Endless("file:///far", far)), archive.name, "me", look)
    assert max(seen) == size_bytes
    assert (names_in(stopped), hidden_in(stopped)) == ([], [])


def test_somebody_can_cancel_while_it_waits_for_the_connection(
    stopped: Site, encrypted: Path, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_WAITS_SECONDS", (600,))

    def cancel(progress: Progress) -> None:
        if progress.phase == "waiting to go on":
            raise JobCancelledError("It was cancelled by me.")

    with pytest.raises(JobCancelledError):
        fetching.receive(stopped, Source(BreakingStore("x", far, 100), [KEY]), encrypted.name, "me", cancel)
    assert hidden_in(stopped) == []


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-500] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, alter])
@pytest.mark.parametrize("is_encrypted", [True, False])
@pytest.mark.parametrize("is_noted", [True, False])
def test_what_is_damaged_there_leaves_nothing_here(  # noqa: PLR0917 - pytest calls it by name
    stopped: Site, archive: Path, far: Path, damage: object, is_encrypted: bool, is_noted: bool
) -> None:
    path = encrypt(archive, far / f"{archive.name}.age", KEY) if is_encrypted else far / archive.name
    if not is_encrypted:
        shutil.copy(archive, path)
    sent = noted(path) if is_noted else {}
    damage(path)  # type: ignore[operator] # one of the two above
    with pytest.raises(FastCMSError) as caught:
        receive(stopped, replace(source_of(far, KEY), sent=sent), path)
    assert isinstance(caught.value, ArchiveError)  # which one, depends on what the altered byte was
    assert caught.value.hint
    assert (names_in(stopped), hidden_in(stopped)) == ([], [])


def test_an_encrypted_backup_needs_its_key(stopped: Site, encrypted: Path, far: Path) -> None:
    with pytest.raises(KeyRequiredError, match="there is no key") as caught:
        receive(stopped, source_of(far), encrypted)
    assert "--identity" in caught.value.hint
    with pytest.raises(WrongKeyError):
        receive(stopped, source_of(far, OTHER_KEY), encrypted)
    assert (names_in(stopped), hidden_in(stopped)) == ([], [])


def test_what_does_not_fit_is_refused_before_it_is_fetched(
    stopped: Site, archive: Path, far: Path, small_disk: Path
) -> None:
    large = far / archive.name
    large.write_bytes(b"PK\x03\x04" + bytes(4_000_000))
    store = BreakingStore("file:///far", far, 1_000_000)
    with pytest.raises(NotEnoughSpaceError, match="Fetching the backup needs"):
        fetching.fetch(Source(store), large.name, small_disk, ignore_progress)
    assert len(store.reads) == 1
    assert list(small_disk.iterdir()) == []


def test_a_backup_is_verified_where_it_is_and_nothing_of_it_stays(
    stopped: Site, encrypted: Path, far: Path
) -> None:
    phases = []
    task = tasks.verifying_stored(stopped, source_of(far, KEY), encrypted.name, "me")
    verified = task.work(lambda progress: phases.append(progress.phase))
    assert verified.trial is not None
    assert {count.name: count.backup for count in verified.trial.contents}["accounts"] == 0
    assert phases[0] == "fetching"
    assert "extracting" in phases
    assert (names_in(stopped), hidden_in(stopped)) == ([], [])
    assert not (stopped.settings.backups_dir / ".verifying").exists()
    alter(encrypted)
    with pytest.raises(CorruptArchiveError):
        task.work(ignore_progress)
    assert not (stopped.settings.backups_dir / ".verifying").exists()


def test_the_command_says_which_plain_one_it_has_passed_over(
    encrypted: Path, archive: Path, far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.txt").write_text(str(KEY))
    shutil.copy(archive, far / "backup_20990101_000000.zip")
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(tmp_path / "new"))
    command = ["backup", "restore", far.as_uri(), "--latest", "--identity", str(tmp_path / "key.txt")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "Warning: backup_20990101_000000.zip is newer, and passed over" in done.stderr
    assert f"{encrypted.name} (" in done.stderr


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_place_of_the_data_folder_is_told(
    name: str, archive: Path, far: Path, tmp_path: Path
) -> None:
    shutil.copy(archive, far)
    (tmp_path / "file").touch()
    command = ["backup", "restore", far.as_uri(), "--latest", "--data-dir", str(tmp_path / name)]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, f"{tmp_path / 'file'} is no folder" in done.stderr) == (2, True), done.output
