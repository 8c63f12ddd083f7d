"""Backups of a real site, made while it is written to."""

import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from fastcms.backups import restoring, service
from fastcms.backups.engine.progress import Progress
from fastcms.errors import BackupBusyError, BackupError, NotEnoughSpaceError
from fastcms.locks import FileLock
from fastcms.media import service as media
from fastcms.site import Site
from fastcms.sqlite import sqlite3


def names_in(path: str) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def check_promise_2(path: str, tmp_path: Path) -> int:
    """Every file row of the archive has its bytes, with its SHA-256, and there is no other; count them."""
    with zipfile.ZipFile(path) as archive:
        database_path = Path(archive.extract("database.db", tmp_path / Path(path).stem))
        connection = sqlite3.connect(database_path)
        rows = dict(connection.execute("SELECT path, sha256 FROM files").fetchall())
        connection.close()
        in_archive = {
            name.removeprefix("files/"): sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if name.startswith("files/") and not name.endswith("/")
        }
    assert in_archive == rows
    return len(rows)


def test_two_backups_in_one_second_have_two_names(site: Site) -> None:
    first, second = service.create_backup(site), service.create_backup(site)
    assert first.filename != second.filename
    assert [backup.filename for backup in service.list_backups(site)] == [second.filename, first.filename]
    for backup in (first, second):
        assert backup.filename == f"backup_{backup.created:%Y%m%d_%H%M%S}.zip"
        assert Path(backup.path).stat().st_mode & 0o777 == 0o600


def test_a_backup_says_how_far_it_is(site: Site) -> None:
    media.add_file(site, io.BytesIO(b"x" * 3_000_000), "big.bin")
    seen: list[Progress] = []
    service.create_backup(site, seen.append)
    assert next(p.phase for p in seen if p.done_bytes == 0) == "copying the database"
    assert seen[-1].phase == "making the archive durable"
    assert seen[-1].done_bytes == seen[-1].total_bytes > 3_000_000


def test_while_one_backup_runs_a_second_one_is_refused_and_says_why(site: Site) -> None:
    refused: list[str] = []

    def try_another(_progress: Progress) -> None:
        if not refused:
            with pytest.raises(BackupBusyError) as caught:
                service.create_backup(site)
            refused.append(caught.value.message)

    service.create_backup(site, try_another)
    assert f"process {os.getpid()} (creating a backup)" in refused[0]
    assert len(service.list_backups(site)) == 1


def test_a_backup_that_fails_half_way_leaves_nothing(site: Site) -> None:
    def break_off(progress: Progress) -> None:
        if progress.phase == "writing the archive":
            raise OSError(5, "Input/output error", "some file")

    with pytest.raises(BackupError, match="Input/output error"):
        service.create_backup(site, break_off)
    assert list(site.settings.backups_dir.glob("*backup*")) == []


def test_a_full_disk_is_refused_beforehand_with_the_numbers(site: Site, small_disk: Path) -> None:
    backups_dir = site.settings.backups_dir
    for path in backups_dir.iterdir():
        path.unlink()
    backups_dir.rmdir()
    backups_dir.symlink_to(small_disk)
    with pytest.raises(NotEnoughSpaceError, match=r"needs .* MB in .*only .* MB are free"):
        service.create_backup(site)
    assert [path.name for path in small_disk.iterdir() if "backup" in path.name] == []


def test_what_a_killed_backup_left_is_never_listed_and_removed_by_the_next(site: Site) -> None:
    left_over = site.settings.backups_dir / ".backup_20250115_100000.zip.partial"
    left_over.write_bytes(b"half of an archive")
    assert service.list_backups(site) == []
    service.create_backup(site)
    assert not left_over.exists()


def test_only_backups_are_listed(site: Site) -> None:
    folder = site.settings.backups_dir
    (folder / "backup_20251399_100000.zip").write_bytes(b"no such day")
    (folder / "notes.zip").write_bytes(b"not ours")
    (folder / "backup_20250115_100000.zip").symlink_to("/etc/passwd")
    (folder / "backup_20250115_100001.zip").mkdir()
    assert service.list_backups(site) == []


def test_files_put_there_by_hand_are_backed_up_and_links_are_not_followed(site: Site) -> None:
    files_dir = site.settings.files_dir
    (files_dir / "deep").mkdir()
    (files_dir / "deep/日本語.txt").write_text("by hand")
    (files_dir / ".upload-half").write_text("half-uploaded")
    (files_dir / "link").symlink_to("/etc/passwd")
    names = names_in(service.create_backup(site).path)
    assert "files/deep/日本語.txt" in names
    assert not any("half" in name or "link" in name for name in names)


def test_a_name_that_no_other_machine_takes_is_left_out_and_reported(site: Site) -> None:
    (site.settings.files_dir / "back\\slash.txt").write_text("by hand")
    backup = service.create_backup(site)
    assert "left out: its name holds a backslash" in backup.problems[0]
    restoring.stage_restore(site, backup.filename, "me")


# With a large one, several threads read.
@pytest.mark.parametrize("largest_bytes", [1_000, 3_000_000])
def test_missing_and_damaged_uploads_are_reported_and_the_rest_is_saved(
    site: Site, largest_bytes: int
) -> None:
    media.add_file(site, io.BytesIO(bytes(largest_bytes)), "largest.bin")
    lost, damaged, good = (
        media.add_file(site, io.BytesIO(name.encode()), f"{name}.txt") for name in ("lost", "damaged", "good")
    )
    (site.settings.files_dir / lost.path).unlink()
    (site.settings.files_dir / damaged.path).write_bytes(b"something else")
    backup = service.create_backup(site)
    assert backup.problems == (
        f"files/{damaged.path} differs from what was uploaded",
        f"files/{lost.path} is missing on disk",
    )
    assert f"files/{good.path}" in names_in(backup.path)


def test_no_archive_holds_a_login(site: Site, tmp_path: Path) -> None:
    _token, login = _log_in(site)
    backup = service.create_backup(site)
    with zipfile.ZipFile(backup.path) as archive:
        assert login.encode() not in archive.read("database.db")


def _log_in(site: Site) -> tuple[str, str]:
    from fastcms.accounts.service import log_in
    from tests.conftest import ADMIN, PASSWORD

    token, login = log_in(site, ADMIN, PASSWORD, "127.0.0.1")
    return token, login.token_hash


@contextmanager
def uploading_and_deleting(site: Site, file_bytes: int) -> Iterator[list[int]]:
    """Four clients that upload and delete files until the end; yields their counts."""
    stop, counts = threading.Event(), [0] * 4
    failures: list[BaseException] = []

    def work(client: int) -> None:
        try:
            while not stop.is_set():
                file = media.add_file(site, io.BytesIO(os.urandom(file_bytes)), f"{client}.bin")
                counts[client] += 1
                if counts[client] % 3:
                    media.delete_file(site, file.id)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


# Smaller ones are read by one thread, larger ones by several.
@pytest.mark.parametrize("file_bytes", [20_000, 60_000])
def test_every_backup_made_during_uploads_and_deletes_has_exactly_its_files(
    site: Site, tmp_path: Path, file_bytes: int
) -> None:
    with uploading_and_deleting(site, file_bytes) as counts:
        backups = [service.create_backup(site) for _ in range(5)]
    assert min(counts) > 0
    assert [backup.problems for backup in backups] == [()] * 5
    assert sum(check_promise_2(backup.path, tmp_path) for backup in backups) > 0
    assert list((site.settings.files_dir / ".trash").glob("*")) == []


def test_a_deletion_during_a_backup_is_at_once_for_readers_and_later_for_the_disk(site: Site) -> None:
    file = media.add_file(site, io.BytesIO(b"needed by the backup"), "a.txt")
    trash = site.settings.files_dir / ".trash" / file.path
    in_trash: list[bool] = []

    def delete(progress: Progress) -> None:
        if progress.phase == "writing the archive" and not in_trash:
            media.delete_file(site, file.id)
            in_trash.append(trash.exists())

    backup = service.create_backup(site, delete)
    assert in_trash == [True]
    assert f"files/{file.path}" in names_in(backup.path)
    assert not trash.exists()


def test_a_deletion_never_makes_a_backup_look_busy(site: Site) -> None:
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            media.delete_file(site, media.add_file(site, io.BytesIO(b"x"), "x.txt").id)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        assert service.create_backup(site).problems == ()
    finally:
        stop.set()
        thread.join()


def test_staging_waits_for_nobody_and_says_who_is_busy(site: Site) -> None:
    backup = service.create_backup(site)
    with (
        FileLock(site.settings.backups_dir / ".lock").hold(purpose="creating a backup"),
        pytest.raises(BackupBusyError, match="creating a backup"),
    ):
        restoring.stage_restore(site, backup.filename, "me")


def test_files_that_another_system_takes_for_one_are_not_both_backed_up(site: Site) -> None:
    files_dir = site.settings.files_dir
    (files_dir / "Note.txt").write_text("one")
    (files_dir / "note.txt").write_text("two")
    (files_dir / "NOTE.TXT").mkdir()
    (files_dir / "NOTE.TXT/deep.txt").write_text("three")
    backup = service.create_backup(site)
    assert len(backup.problems) == 2
    assert "is the same as" in backup.problems[0]
    restoring.stage_restore(site, backup.filename, "me")


def test_a_name_that_is_no_utf_8_is_reported_and_stops_nothing(site: Site) -> None:
    Path(os.fsdecode(os.fsencode(site.settings.files_dir) + b"/bad\xff.txt")).write_text("x")
    [problem] = service.create_backup(site).problems
    assert problem == r"files/'bad\udcff.txt' was left out: its name is not valid Unicode"


def test_the_bytes_of_files_put_there_by_hand_are_part_of_the_space_check(site: Site) -> None:
    with (site.settings.files_dir / "sparse.bin").open("wb") as file:
        file.truncate(2**42)  # 4 TB on no disk
    with pytest.raises(NotEnoughSpaceError, match=r"needs 4,398,\d\d\d\.\d MB"):
        service.create_backup(site)


def test_a_removed_folder_of_backups_stops_neither_deletions_nor_the_next_backup(site: Site) -> None:
    file = media.add_file(site, io.BytesIO(b"x"), "x.txt")
    shutil.rmtree(site.settings.backups_dir)
    media.delete_file(site, file.id)
    assert service.create_backup(site).problems == ()


def test_a_backup_that_could_not_be_restored_says_so_on_the_day_it_is_made(site: Site) -> None:
    with closing(sqlite3.connect(site.settings.database_path, isolation_level=None)) as by_hand:
        by_hand.execute("CREATE TABLE notes (of, somebody)")
    (problem,) = service.create_backup(site).problems
    assert "A restore of this backup will be refused" in problem
    assert "'notes'" in problem
