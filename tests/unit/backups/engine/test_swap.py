"""The swap: all old or all new, and the safety copy."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcms.backups.engine.live import is_live
from fastcms.backups.engine.paths import DataPaths, State
from fastcms.backups.engine.pending import read_marker, read_receipts
from fastcms.backups.engine.swap import apply_pending_restore
from fastcms.sqlite import sqlite3
from tests.unit.backups.engine.conftest import posts
from tests.unit.backups.engine.test_staging import stage


def fail() -> None:
    raise ValueError("the restored site does not open")


def do_nothing() -> None:
    pass


def safety(paths: DataPaths) -> State:
    return paths.safety(files_apart=False)


def state_of(paths: DataPaths) -> str:
    """Old or new, when the database and the files agree; fails when they do not."""
    [title] = posts(paths.database)
    names = {p.relative_to(paths.files_dir).as_posix() for p in paths.files_dir.rglob("*") if p.is_file()}
    assert names == {"old": {"picture.txt"}, "new": {"one.txt", "deep/日本語.txt"}}[str(title)]
    return str(title)


def test_without_a_pending_restore_nothing_happens(paths: DataPaths) -> None:
    assert apply_pending_restore(paths, fail) is None
    assert state_of(paths) == "old"


def test_a_restore_replaces_database_and_files_and_keeps_the_old_ones(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert (receipt.outcome, receipt.requested_by) == ("restored", "me")
    assert list(read_receipts(paths.receipts)) == [receipt]
    assert state_of(paths) == "new"
    assert posts(safety(paths).database) == ["old"]
    assert (safety(paths).files / "picture.txt").read_text() == "old picture"
    assert not paths.marker.exists()
    assert not paths.staging_dir.exists()


def test_rows_in_the_old_wal_are_in_the_safety_copy_and_not_in_the_restored_database(
    paths: DataPaths, archive_path: Path, tmp_path: Path
) -> None:
    with_wal = tmp_path / "killed"
    connection = sqlite3.connect(paths.database, isolation_level=None)
    connection.execute("INSERT INTO posts VALUES ('only in the WAL')")
    shutil.copytree(paths.data_dir, with_wal)  # what a kill -9 leaves
    connection.close()
    killed = DataPaths(with_wal)
    stage(killed, killed.backups_dir / archive_path.name)
    apply_pending_restore(killed, do_nothing)
    assert state_of(killed) == "new"
    assert posts(safety(killed).database) == ["old", "only in the WAL"]


def test_a_restored_site_that_does_not_open_is_rolled_back_with_the_reason(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    receipt = apply_pending_restore(paths, fail)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"
    assert "the restored site does not open" in receipt.reason
    assert state_of(paths) == "old"
    assert not paths.marker.exists()
    assert not paths.staging_dir.exists()
    assert not safety(paths).database.exists()
    assert not safety(paths).files.exists()


def test_a_failed_restore_leaves_the_safety_copy_of_the_one_before(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    apply_pending_restore(paths, do_nothing)
    stage(paths, archive_path)
    receipt = apply_pending_restore(paths, fail)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"
    assert state_of(paths) == "new"
    assert posts(safety(paths).database) == ["old"]
    assert (safety(paths).files / "picture.txt").exists()


def test_a_restore_on_an_empty_folder_rolls_back_to_an_empty_folder(
    paths: DataPaths, archive_path: Path
) -> None:
    for suffix in ("", "-wal", "-shm"):
        paths.database.with_name(f"app.db{suffix}").unlink(missing_ok=True)
    shutil.rmtree(paths.files_dir)
    stage(paths, archive_path)
    apply_pending_restore(paths, fail)
    assert not paths.database.exists()
    assert list(paths.files_dir.iterdir()) == []
    stage(paths, archive_path)
    apply_pending_restore(paths, do_nothing)
    assert state_of(paths) == "new"


def test_a_staging_folder_that_was_removed_changes_nothing_and_is_reported(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    shutil.rmtree(paths.staging_dir)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"
    assert "no longer holds what was staged" in receipt.reason
    assert state_of(paths) == "old"


def test_a_damaged_old_database_does_not_stop_a_restore_and_is_kept_with_its_wal(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    paths.database.write_bytes(b"not a database at all" * 1000)
    wal_path = paths.database.with_name("app.db-wal")
    wal_path.write_bytes(b"its WAL")
    apply_pending_restore(paths, do_nothing)
    assert state_of(paths) == "new"
    assert safety(paths).database.read_bytes().startswith(b"not a database")
    assert safety(paths).database.with_name("app.db.before_restore-wal").read_bytes() == b"its WAL"


def test_a_damaged_old_database_comes_back_with_its_wal_when_the_restore_fails(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    paths.database.write_bytes(b"not a database at all" * 1000)
    wal_path = paths.database.with_name("app.db-wal")
    wal_path.write_bytes(b"its WAL")
    apply_pending_restore(paths, fail)
    assert paths.database.read_bytes().startswith(b"not a database")
    assert wal_path.read_bytes() == b"its WAL"


def truncate_database(staged: State) -> None:
    os.truncate(staged.database, 8192)


def remove_file(staged: State) -> None:
    (staged.files / "one.txt").unlink()


def add_file(staged: State) -> None:
    (staged.files / "two.txt").touch()


@pytest.mark.parametrize("damage", [truncate_database, remove_file, add_file])
def test_what_has_changed_since_it_was_staged_is_not_put_in_place(
    paths: DataPaths, archive_path: Path, damage: Callable[[State], None]
) -> None:
    damage(stage(paths, archive_path).incoming(paths))
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"
    assert "no longer holds what was staged" in receipt.reason
    assert state_of(paths) == "old"


class Died(BaseException):
    """Stands for the process's death: nothing catches it."""


def test_a_process_that_dies_while_the_restored_site_opens_is_continued_by_the_next(
    paths: DataPaths, archive_path: Path
) -> None:
    def die() -> None:
        raise Died

    stage(paths, archive_path)
    with pytest.raises(Died):
        apply_pending_restore(paths, die)
    assert read_marker(paths) is not None
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "restored"
    assert state_of(paths) == "new"


def test_the_safety_copy_stands_alone_and_cannot_be_mistaken_for_a_live_database(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    apply_pending_restore(paths, do_nothing)
    assert safety(paths).database.read_bytes()[18:20] == b"\x01\x01"
    assert is_live(paths.database)


def test_a_receipt_after_a_line_that_a_power_cut_left_unfinished_is_not_lost(
    paths: DataPaths, archive_path: Path
) -> None:
    paths.receipts.write_text('{"restore_id": "ab')
    stage(paths, archive_path)
    receipt = apply_pending_restore(paths, do_nothing)
    assert list(read_receipts(paths.receipts)) == [receipt]
