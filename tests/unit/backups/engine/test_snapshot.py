"""Snapshots of a live database."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.snapshot import write_snapshot
from fastcms.errors import NotEnoughSpaceError, SnapshotError
from fastcms.sqlite import sqlite3
from tests.unit.backups.engine.conftest import execute, posts


def test_a_snapshot_holds_rows_that_are_still_in_the_wal(paths: DataPaths, tmp_path: Path) -> None:
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO posts VALUES ('in the WAL')")
        assert paths.database.with_name("app.db-wal").stat().st_size > 0
        size_bytes = write_snapshot(paths.database, tmp_path / "copy.db")
    assert posts(tmp_path / "copy.db") == ["in the WAL", "old"]
    assert size_bytes == (tmp_path / "copy.db").stat().st_size


def test_a_snapshot_stands_alone_in_rollback_mode_and_is_private(paths: DataPaths, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    write_snapshot(paths.database, target)
    assert target.read_bytes()[18:20] == b"\x01\x01"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == ["copy.db"]


def test_omitted_rows_leave_no_trace_of_their_bytes(paths: DataPaths, tmp_path: Path) -> None:
    write_snapshot(paths.database, tmp_path / "copy.db", omit_rows_of=["sessions", "no_such_table"])
    assert execute(tmp_path / "copy.db", "SELECT * FROM sessions") == []
    assert b"somebody" not in (tmp_path / "copy.db").read_bytes()


def test_a_missing_database_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"app\.db could not be copied"):
        write_snapshot(tmp_path / "app.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_leaves_no_partial_snapshot(paths: DataPaths, tmp_path: Path) -> None:
    content = bytearray(paths.database.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    paths.database.write_bytes(content)
    with pytest.raises(SnapshotError):
        write_snapshot(paths.database, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_full_disk_is_said_with_the_folder_and_leaves_nothing(paths: DataPaths, small_disk: Path) -> None:
    execute(paths.database, "INSERT INTO posts SELECT hex(randomblob(4000000))")
    with pytest.raises(NotEnoughSpaceError, match="filled up"):
        write_snapshot(paths.database, small_disk / "copy.db")
    assert list(small_disk.iterdir()) == []


def test_every_commit_before_the_snapshot_is_in_it_while_a_writer_goes_on(
    paths: DataPaths, tmp_path: Path
) -> None:
    stop, committed = threading.Event(), [0]

    def write() -> None:
        with closing(sqlite3.connect(paths.database, isolation_level=None, timeout=30)) as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO posts VALUES (?)", (f"{committed[0]:06}",))
                committed[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_number in range(10):
            before = committed[0]
            target = tmp_path / f"{round_number}.db"
            write_snapshot(paths.database, target)
            titles = [title for title in posts(target) if title != "old"]
            assert titles == [f"{number:06}" for number in range(len(titles))]
            assert len(titles) >= before
    finally:
        stop.set()
        writer.join()
    assert committed[0] > 0
