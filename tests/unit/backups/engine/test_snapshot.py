"""Snapshots of a live database."""

import errno
import os
import random
import subprocess
import sys
import time
from contextlib import closing
from io import FileIO
from pathlib import Path

import pytest

from fastcms.backups.engine import snapshot
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.snapshot import check_snapshot, write_snapshot
from fastcms.errors import NotEnoughSpaceError, SnapshotError
from fastcms.sqlite import sqlite3
from tests.unit.backups.engine.conftest import execute, posts

# More by `SNAPSHOT_ROUNDS=5000 pytest ...`
_ROUNDS = int(os.environ.get("SNAPSHOT_ROUNDS", "100"))


def test_a_snapshot_holds_rows_that_are_still_in_the_wal(paths: DataPaths, tmp_path: Path) -> None:
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO posts VALUES ('in the WAL')")
        assert paths.database.with_name("app.db-wal").stat().st_size > 0
        write_snapshot(paths.database, tmp_path / "copy.db")
    assert posts(tmp_path / "copy.db") == ["in the WAL", "old"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, None])
def test_where_the_kernel_does_not_copy_the_bytes_are_read_and_written(
    paths: DataPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*_arguments: int) -> int:
        assert number is not None
        raise OSError(number, os.strerror(number))

    if number is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    done: list[int] = []
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO posts VALUES (hex(zeroblob(1000000)))")
        files = (paths.database, paths.database.with_name("app.db-wal"))
        size_bytes = sum(path.stat().st_size for path in files)
        write_snapshot(paths.database, tmp_path / "copy.db", on_bytes=done.append)
    assert sum(done) == size_bytes
    assert posts(tmp_path / "copy.db") == ["00" * 1000000, "old"]


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


def test_damage_is_found_in_the_copy(paths: DataPaths, tmp_path: Path) -> None:
    execute(paths.database, *(f"INSERT INTO posts VALUES ('{number:0900}')" for number in range(100)))
    content = bytearray(paths.database.read_bytes())
    content[-8192:-4096] = b"\xa5" * 4096
    paths.database.write_bytes(content)
    write_snapshot(paths.database, tmp_path / "copy.db")
    with pytest.raises(SnapshotError, match=r"app\.db could not be copied: .*malformed"):
        check_snapshot(tmp_path / "copy.db", paths.database)


def test_a_check_ends_when_it_is_not_to_go_on(
    paths: DataPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CancelledError(Exception):
        pass

    def refuse() -> None:
        raise CancelledError

    write_snapshot(paths.database, tmp_path / "copy.db")
    monkeypatch.setattr(snapshot, "_STEPS_BETWEEN_QUESTIONS", 1)
    with pytest.raises(CancelledError):
        check_snapshot(tmp_path / "copy.db", paths.database, keep_going=refuse)


def test_a_database_without_a_sound_schema_leaves_no_partial_snapshot(
    paths: DataPaths, tmp_path: Path
) -> None:
    paths.database.write_bytes(b"\xa5" * 8192)
    with pytest.raises(SnapshotError):
        write_snapshot(paths.database, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("page_bytes", [4096, 65536])
def test_what_was_deleted_is_not_in_a_snapshot(paths: DataPaths, tmp_path: Path, page_bytes: int) -> None:
    database_path = tmp_path / "large.db"
    execute(
        database_path,
        f"PRAGMA page_size={page_bytes}",
        "PRAGMA journal_mode=WAL",
        "CREATE TABLE posts (title TEXT)",
        "INSERT INTO posts VALUES ('kept')",
        *(f"INSERT INTO posts VALUES ('a secret ' || hex(zeroblob({page_bytes})))" for _ in range(40)),
        "DELETE FROM posts WHERE title LIKE 'a secret%'",
    )
    target = tmp_path / "copy.db"
    write_snapshot(database_path, target)
    check_snapshot(target, database_path)
    content = target.read_bytes()
    assert sum(1 for at in range(0, len(content), page_bytes) if any(content[at : at + page_bytes])) < 10
    assert execute(target, "PRAGMA integrity_check") == [("ok",)]
    assert posts(target) == ["kept"]


def test_a_full_disk_is_said_with_the_folder_and_leaves_nothing(paths: DataPaths, small_disk: Path) -> None:
    execute(paths.database, "INSERT INTO posts SELECT hex(randomblob(4000000))")
    with pytest.raises(NotEnoughSpaceError, match="filled up"):
        write_snapshot(paths.database, small_disk / "copy.db")
    assert list(small_disk.iterdir()) == []


_TRANSFER = """
import random, sys
from fastcms.sqlite import sqlite3
path, log_path, pages = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = sqlite3.connect(path, isolation_level=None, timeout=60)
connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
connection.execute("PRAGMA synchronous=OFF")
log = open(log_path, "w", buffering=1)
while True:
    one, other = random.randrange(500), random.randrange(500)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE accounts SET balance = balance - 1, note = hex(randomblob(900))"
                       " WHERE id = ?", (one,))
    connection.execute("UPDATE accounts SET balance = balance + 1 WHERE id = ?", (other,))
    connection.execute("INSERT INTO transfers VALUES (NULL)")
    if random.random() < 0.1:
        connection.execute("ROLLBACK")
        continue
    number = connection.execute("SELECT max(id) FROM transfers").fetchone()[0]
    connection.execute("COMMIT")
    log.write(f"{number}\\n")
    if random.random() < 0.02:
        mode = random.choice(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))
        connection.execute(f"PRAGMA wal_checkpoint({mode})")
"""


def _last_logged(log_paths: list[Path]) -> int:
    numbers = [int(line) for path in log_paths for line in path.read_text().split("\n")[-3:-1]]
    return max(numbers, default=0)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_snapshot_amid_writers_and_checkpoints_is_one_state_with_every_commit_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    """Processes move money to and fro, roll back, and checkpoint as they like; the sum never changes."""
    if is_slow:
        copy = snapshot._copy_range

        def copy_slowly(source: FileIO, target: FileIO, offset: int, size_bytes: int) -> int:
            time.sleep(random.choice((0, 0.0005, 0.002)))
            return copy(source, target, offset, min(size_bytes, 50_000))

        monkeypatch.setattr(snapshot, "_copy_range", copy_slowly)
    database_path = tmp_path / "app.db"
    execute(
        database_path,
        "PRAGMA journal_mode=WAL",
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER, note TEXT)",
        "CREATE TABLE transfers (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 499) "
        "INSERT INTO accounts SELECT i, 100, hex(randomblob(900)) FROM n",
    )
    log_paths = [tmp_path / f"log{number}" for number in range(3)]
    writers = [
        subprocess.Popen([sys.executable, "-c", _TRANSFER, database_path, log_path, str(pages)])
        for log_path, pages in zip(log_paths, (5, 200, 0), strict=True)
    ]
    seen: list[int] = []
    try:
        while not all(path.exists() and path.stat().st_size for path in log_paths):
            assert all(writer.poll() is None for writer in writers)
        for _ in range(_ROUNDS):
            before = _last_logged(log_paths)
            target = tmp_path / "copy.db"
            write_snapshot(database_path, target)
            assert execute(target, "PRAGMA integrity_check") == [("ok",)]
            assert execute(target, "SELECT sum(balance) FROM accounts") == [(50_000,)]
            last, count = map(int, map(str, execute(target, "SELECT max(id), count(*) FROM transfers")[0]))
            assert last == count, "a transfer is missing"
            assert last >= before
            seen.append(last)
        assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
