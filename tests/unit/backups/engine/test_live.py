"""The live database, its copies, and journals that belong to another one."""

import shutil
from pathlib import Path

import pytest

from fastcms.backups.engine.live import adopt_database, create_database, is_live, mark_as_copy, mark_as_live
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.snapshot import write_snapshot
from fastcms.sqlite import sqlite3
from tests.unit.backups.engine.conftest import execute, posts


@pytest.fixture
def killed(paths: DataPaths, tmp_path: Path) -> DataPaths:
    """What a kill -9 leaves: a database with the post 'old', and its WAL with one more."""
    connection = sqlite3.connect(paths.database, isolation_level=None)
    connection.execute("INSERT INTO posts VALUES ('only in the WAL')")
    copied = DataPaths(Path(shutil.copytree(paths.data_dir, tmp_path / "killed")))
    connection.close()
    return copied


def names(paths: DataPaths) -> list[str]:
    return sorted(path.name for path in paths.data_dir.glob("app.db*"))


def test_the_wal_of_a_killed_server_is_left_for_sqlite_to_recover(killed: DataPaths) -> None:
    assert adopt_database(killed.database) == []
    assert posts(killed.database) == ["old", "only in the WAL"]


def test_a_wal_beside_a_copy_is_moved_aside_and_the_copy_becomes_live(
    killed: DataPaths, tmp_path: Path
) -> None:
    write_snapshot(killed.database, tmp_path / "database.db")
    execute(tmp_path / "database.db", "DELETE FROM posts", "INSERT INTO posts VALUES ('by hand')")
    killed_again = DataPaths(Path(shutil.copytree(killed.data_dir, tmp_path / "again")))
    shutil.copy(tmp_path / "database.db", killed_again.database)  # the documented by-hand recovery
    wal_path = killed_again.data_dir / "app.db-wal"
    wal_path.write_bytes(b"frames of the old database")
    [kept_path] = adopt_database(killed_again.database)
    assert kept_path.read_bytes() == b"frames of the old database"
    assert is_live(killed_again.database)
    assert posts(killed_again.database) == ["by hand"]
    assert adopt_database(killed_again.database) == []


def test_a_rollback_journal_of_another_database_is_moved_aside(paths: DataPaths) -> None:
    journal_path = paths.data_dir / "app.db-journal"
    journal_path.write_bytes(b"pages of another database")
    [kept_path] = adopt_database(paths.database)
    assert kept_path.read_bytes() == b"pages of another database"
    assert not journal_path.exists()
    assert posts(paths.database) == ["old"]


def test_a_wal_without_its_database_is_kept(killed: DataPaths) -> None:
    """Opening a missing app.db would delete the WAL, with the commits in it."""
    killed.database.unlink()
    [kept_path] = adopt_database(killed.database)
    assert kept_path.stat().st_size > 0
    assert not killed.database.exists()


def test_marking_changes_two_bytes_and_no_row(paths: DataPaths) -> None:
    live = paths.database.read_bytes()
    mark_as_copy(paths.database)
    copy = paths.database.read_bytes()
    assert [i for i, (a, b) in enumerate(zip(live, copy, strict=True)) if a != b] == [18, 19]
    mark_as_live(paths.database)
    assert paths.database.read_bytes() == live
    assert execute(paths.database, "PRAGMA integrity_check") == [("ok",)]


def test_a_database_whose_wal_is_still_there_is_no_copy(killed: DataPaths) -> None:
    mark_as_copy(killed.database)
    assert is_live(killed.database)


def test_what_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"something else entirely")
    assert adopt_database(path) == []
    assert path.read_bytes() == b"something else entirely"


def test_a_new_database_is_private_live_and_alone(tmp_path: Path) -> None:
    (tmp_path / "app.db.new").write_text("left by a start that was killed")
    create_database(tmp_path / "app.db")
    assert names(DataPaths(tmp_path)) == ["app.db"]
    assert is_live(tmp_path / "app.db")
    assert (tmp_path / "app.db").stat().st_mode & 0o777 == 0o600
    assert execute(tmp_path / "app.db", "PRAGMA integrity_check") == [("ok",)]
