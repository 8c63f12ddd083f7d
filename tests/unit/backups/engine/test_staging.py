"""Staging: whole and durable, or not at all."""

import hashlib
import shutil
from pathlib import Path

import pytest

from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import PendingRestore, read_marker
from fastcms.backups.engine.staging import cancel_restore, is_staged, remove_stale_staging, stage_restore
from fastcms.errors import (
    ArchiveError,
    CorruptArchiveError,
    NoPendingRestoreError,
    RestorePendingError,
    UnsafeArchiveError,
    UnsupportedVersionError,
)
from tests.unit.backups.engine.conftest import REVISIONS, execute, make_archive, posts


def stage(paths: DataPaths, archive_path: Path) -> PendingRestore:
    return stage_restore(
        paths,
        archive_path,
        requested_by="me",
        known_revisions=REVISIONS,
        check_contents=lambda _path: None,
        omit_rows_of=["sessions"],
    )


def test_staging_leaves_a_checked_tree_and_a_marker_and_the_site_alone(
    paths: DataPaths, archive_path: Path
) -> None:
    pending = stage(paths, archive_path)
    staged = pending.incoming(paths)
    assert staged.database == paths.backups_dir / "restore_staging/database.db"
    assert posts(staged.database) == ["new"]
    assert execute(staged.database, "SELECT * FROM sessions") == []
    assert (staged.files / "deep/日本語.txt").read_text() == "名前"
    assert pending.archive_sha256 == hashlib.sha256(archive_path.read_bytes()).hexdigest()
    assert pending.seconds.keys() == {"extract", "check", "sync"}
    assert read_marker(paths) == pending
    assert {path.stat().st_mode & 0o077 for path in paths.backups_dir.rglob("*")} == {0}
    assert posts(paths.database) == ["old"]
    assert (paths.files_dir / "picture.txt").exists()


def test_a_second_staging_is_refused_and_a_cancelled_one_leaves_nothing(
    paths: DataPaths, archive_path: Path
) -> None:
    stage(paths, archive_path)
    with pytest.raises(RestorePendingError, match="already staged"):
        stage(paths, archive_path)
    cancel_restore(paths)
    assert not paths.staging_dir.exists()
    assert not paths.marker.exists()
    with pytest.raises(NoPendingRestoreError):
        cancel_restore(paths)


def archive_with_database(paths: DataPaths, *statements: str) -> Path:
    execute(paths.database, *statements)
    return make_archive(paths.backups_dir / "backup_20250115_100009.zip", paths)


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", UnsupportedVersionError, "schema 9999"),
        ("DELETE FROM alembic_version", UnsupportedVersionError, "none"),
        ("DROP TABLE alembic_version", CorruptArchiveError, "no schema version"),
        (
            "CREATE TRIGGER t AFTER INSERT ON posts BEGIN SELECT 1; END",
            UnsafeArchiveError,
            "a trigger that FastCMS does not make",
        ),
        ("CREATE VIEW v AS SELECT 1", UnsafeArchiveError, "a view"),
        ("CREATE VIRTUAL TABLE v USING fts5(a)", UnsafeArchiveError, "does not make: 'v'"),
        (
            "CREATE TABLE child (post INTEGER REFERENCES posts (rowid_))",
            CorruptArchiveError,
            "damaged",
        ),
    ],
)
def test_a_database_that_cannot_be_served_is_refused_and_nothing_stays(
    paths: DataPaths, statement: str, kind: type[ArchiveError], message: str
) -> None:
    extra = ["INSERT INTO child VALUES (7)"] if "child" in statement else []
    path = archive_with_database(paths, statement, *extra)
    with pytest.raises(kind, match=message):
        stage(paths, path)
    assert not paths.staging_dir.exists()
    assert not paths.marker.exists()


def test_rows_that_refer_to_missing_rows_are_refused(paths: DataPaths) -> None:
    path = archive_with_database(
        paths,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (parent INTEGER REFERENCES parent (id))",
        "INSERT INTO child VALUES (7)",
    )
    with pytest.raises(CorruptArchiveError, match="child refers to a missing row of parent"):
        stage(paths, path)


def test_what_somebody_unzipped_by_hand_stays_and_a_killed_staging_goes(
    paths: DataPaths, archive_path: Path
) -> None:
    paths.staging_dir.mkdir()
    (paths.staging_dir / "database.db").write_text("by hand")
    remove_stale_staging(paths)
    assert paths.staging_dir.exists()
    shutil.rmtree(paths.staging_dir)
    stage(paths, archive_path)
    paths.marker.unlink()  # as if killed just before the marker
    remove_stale_staging(paths)
    assert not paths.staging_dir.exists()


def test_a_database_that_the_caller_refuses_leaves_nothing_staged(
    paths: DataPaths, archive_path: Path
) -> None:
    def refuse(_database_path: Path) -> None:
        raise UnsafeArchiveError("a strange row")

    with pytest.raises(UnsafeArchiveError, match="a strange row"):
        stage_restore(
            paths, archive_path, requested_by="me", known_revisions=REVISIONS, check_contents=refuse
        )
    assert sorted(path.name for path in paths.backups_dir.iterdir()) == [archive_path.name]


def test_text_that_is_no_utf_8_is_a_damaged_backup(paths: DataPaths) -> None:
    path = archive_with_database(paths, "UPDATE alembic_version SET version_num = CAST(X'ff' AS TEXT)")
    with pytest.raises(CorruptArchiveError):
        stage(paths, path)


def test_another_backup_unzipped_over_the_staged_one_is_noticed(paths: DataPaths, archive_path: Path) -> None:
    pending = stage(paths, archive_path)
    assert is_staged(paths, pending)
    staged = pending.incoming(paths).database
    copy = staged.read_bytes()
    staged.unlink()
    staged.write_bytes(copy)
    assert not is_staged(paths, pending)
