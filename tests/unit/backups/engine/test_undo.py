"""The safety copy: the way back, as often as wanted."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from fastcms.backups.engine.paths import DataPaths, State
from fastcms.backups.engine.pending import Kind, RestoreReceipt, read_marker, read_receipts
from fastcms.backups.engine.staging import cancel_restore
from fastcms.backups.engine.swap import apply_pending_restore
from fastcms.backups.engine.undo import discard_safety_copy, find_safety_copy, stage_undo
from fastcms.errors import (
    CorruptArchiveError,
    NoSafetyCopyError,
    RestorePendingError,
    UnusableSafetyCopyError,
)
from fastcms.sqlite import sqlite3
from tests.unit.backups.engine.conftest import execute, posts
from tests.unit.backups.engine.layouts import laid_out
from tests.unit.backups.engine.test_staging import stage
from tests.unit.backups.engine.test_swap import do_nothing, fail, safety, state_of


def accept(_safety: State) -> None:
    pass


def restore(paths: DataPaths, archive_path: Path) -> None:
    stage(paths, archive_path)
    apply_pending_restore(paths, do_nothing)
    assert state_of(paths) == "new"


def undo(paths: DataPaths) -> RestoreReceipt:
    stage_undo(paths, requested_by="me", check=accept)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    return receipt


def test_an_undo_brings_back_the_state_before_and_can_itself_be_undone(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    for expected in ("old", "new", "old", "new"):
        receipt = undo(paths)
        assert (receipt.outcome, receipt.kind) == ("restored", Kind.UNDO)
        assert state_of(paths) == expected
        assert state_of_safety(paths) == {"old": "new", "new": "old"}[expected]
    assert len(list(read_receipts(paths.receipts))) == 5


def state_of_safety(paths: DataPaths) -> object:
    """Old or new, when database and files of the safety copy agree, and the database stands alone."""
    copy = safety(paths)
    assert copy.database.read_bytes()[18:20] == b"\x01\x01"
    assert not copy.wal.exists()
    [title] = posts(copy.database)
    assert (copy.files / "picture.txt").exists() == (title == "old")
    return title


def test_what_was_written_after_a_restore_is_in_the_undo_of_its_undo(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    execute(paths.database, "UPDATE posts SET title = 'written since'")
    undo(paths)
    assert state_of(paths) == "old"
    undo(paths)
    assert posts(paths.database) == ["written since"]


def test_an_undo_that_fails_leaves_the_site_and_the_safety_copy(paths: DataPaths, archive_path: Path) -> None:
    restore(paths, archive_path)
    stage_undo(paths, requested_by="me", check=accept)
    receipt = apply_pending_restore(paths, fail)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"
    assert state_of(paths) == "new"
    assert state_of_safety(paths) == "old"


def test_a_cancelled_undo_leaves_the_safety_copy(paths: DataPaths, archive_path: Path) -> None:
    restore(paths, archive_path)
    stage_undo(paths, requested_by="me", check=accept)
    with pytest.raises(RestorePendingError):
        stage(paths, archive_path)
    assert cancel_restore(paths).kind is Kind.UNDO
    assert read_marker(paths) is None
    assert state_of_safety(paths) == "old"


def test_without_a_restore_there_is_nothing_to_undo_or_discard(paths: DataPaths) -> None:
    assert find_safety_copy(paths) is None
    with pytest.raises(NoSafetyCopyError):
        stage_undo(paths, requested_by="me", check=accept)
    with pytest.raises(NoSafetyCopyError):
        discard_safety_copy(paths)


def test_the_safety_copy_says_how_large_it_is_and_what_it_preceded(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    found = find_safety_copy(paths)
    assert found is not None
    assert found.size_bytes == safety(paths).database.stat().st_size + len("old picture")
    assert found.restore is not None
    assert found.restore.backup_filename == archive_path.name


def test_a_discarded_safety_copy_is_gone_and_so_is_the_undo(paths: DataPaths, archive_path: Path) -> None:
    restore(paths, archive_path)
    discard_safety_copy(paths)
    assert sorted(path.name for path in paths.data_dir.iterdir()) == ["app.db", "backups", "files"]
    with pytest.raises(NoSafetyCopyError):
        stage_undo(paths, requested_by="me", check=accept)


def test_a_safety_copy_that_is_about_to_come_back_cannot_be_discarded(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    stage_undo(paths, requested_by="me", check=accept)
    with pytest.raises(RestorePendingError, match="about to be put back"):
        discard_safety_copy(paths)


def test_a_safety_copy_that_fails_its_check_stays_and_nothing_is_staged(
    paths: DataPaths, archive_path: Path
) -> None:
    def refuse(_safety: State) -> None:
        raise CorruptArchiveError("damaged")

    restore(paths, archive_path)
    with pytest.raises(CorruptArchiveError):
        stage_undo(paths, requested_by="me", check=refuse)
    assert read_marker(paths) is None
    assert state_of_safety(paths) == "old"


def test_a_damaged_safety_copy_with_a_wal_of_its_own_is_only_for_experts(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    safety(paths).database.write_bytes(b"no database")
    safety(paths).wal.write_bytes(b"could not be written back")
    with pytest.raises(UnusableSafetyCopyError, match="cannot be made one file"):
        stage_undo(paths, requested_by="me", check=accept)


def test_a_wal_that_could_not_be_written_back_then_is_written_back_before_the_undo(
    paths: DataPaths, archive_path: Path
) -> None:
    """Another program had the old database open, with commits in its WAL, while the restore took place."""
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as other:
        other.execute("UPDATE posts SET title = 'in the WAL'")
        other.execute("BEGIN")
        other.execute("SELECT * FROM posts").fetchall()
        stage(paths, archive_path)
        apply_pending_restore(paths, do_nothing)
        assert safety(paths).wal.exists()
    assert undo(paths).outcome == "restored"
    assert posts(paths.database) == ["in the WAL"]


def test_a_safety_copy_that_was_made_when_files_were_a_mount_is_not_moved_where_they_are_none(
    paths: DataPaths, archive_path: Path, tmp_path: Path
) -> None:
    with laid_out(paths, "files on another disk", tmp_path / "elsewhere"):
        restore_anywhere(paths, archive_path)
        kept = Path(shutil.copytree(paths.files_dir, tmp_path / "copy of the disk"))
    shutil.rmtree(paths.files_dir)
    shutil.copytree(kept, paths.files_dir)
    with pytest.raises(UnusableSafetyCopyError, match="is not the mount that it was"):
        stage_undo(paths, requested_by="me", check=accept)


def restore_anywhere(paths: DataPaths, archive_path: Path) -> None:
    stage(paths, archive_path)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "restored"


def test_the_files_of_an_earlier_safety_copy_do_not_become_those_of_a_state_without_files(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    shutil.rmtree(paths.files_dir)
    restore(paths, archive_path)
    assert list(safety(paths).files.iterdir()) == []


def test_a_safety_copy_that_was_removed_after_staging_rolls_back(
    paths: DataPaths, archive_path: Path
) -> None:
    restore(paths, archive_path)
    stage_undo(paths, requested_by="me", check=accept)
    safety(paths).database.unlink()
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"
    assert state_of(paths) == "new"


def test_what_an_interrupted_restore_left_is_not_written_over(paths: DataPaths, archive_path: Path) -> None:
    """Somebody removed the marker of an interrupted restore: what it had moved out is kept beside."""
    stray = paths.replaced(files_apart=False)
    shutil.copy(paths.database, stray.database)
    stage(paths, archive_path)
    apply_pending_restore(paths, do_nothing)
    [kept] = paths.data_dir.glob("app.db.replaced.found-*")
    assert posts(kept) == ["old"]
