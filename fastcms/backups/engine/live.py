"""Tell the live database from a copy, by the two bytes of its header that name the journal mode.

FastCMS's live database is always in WAL mode (2/2); a database in an archive, and the safety copy, are in
rollback mode (1/1) and stand alone. So a 1/1 database in the live place was put there by hand, and whatever
journal lies beside it belongs to its predecessor; SQLite would replay it unasked, and no check would notice.

All of this runs at start, before the first connection: closing a file that SQLite has open in the same
process would drop its locks (https://www.sqlite.org/howtocorrupt.html, 2.2).
Source: https://www.sqlite.org/fileformat.html#file_format_version_numbers
"""

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from fastcms.backups.engine.paths import beside
from fastcms.durability import fsync_file, fsync_folder, remove
from fastcms.sqlite import sqlite3

_MAGIC = b"SQLite format 3\x00"
_MODE_OFFSET = 18
_ROLLBACK_MODE, _WAL_MODE = b"\x01\x01", b"\x02\x02"


def adopt_database(path: Path) -> list[Path]:
    """Make app.db safe to open, also when it is a copy that somebody put there by hand.

    Returns: where the journals of another database are now.
    On disk: after a crash at any step, calling it again does the rest.
    """
    moved = [] if is_live(path) else _set_aside(path, "-wal")
    # FastCMS never leaves a rollback journal beside a live database.
    moved += _set_aside(path, "-journal")
    if moved:
        remove(beside(path, "-shm"))
        fsync_folder(path.parent)
    mark_as_live(path)
    return moved


def create_database(path: Path) -> None:
    """Create an empty live database, beside and then renamed, so that it never has a journal in place."""
    new_path = beside(path, ".new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        remove(beside(new_path, suffix))
    os.close(os.open(new_path, os.O_CREAT | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(new_path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE first (page)")
        connection.execute("DROP TABLE first")
    fsync_file(new_path)
    new_path.replace(path)
    fsync_folder(path.parent)


def is_live(path: Path) -> bool:
    return _read_mode(path) == _WAL_MODE


def is_copy(path: Path) -> bool:
    """Whether this is a database that stands alone: in a live place, somebody has put it there by hand."""
    return _read_mode(path) == _ROLLBACK_MODE


def mark_as_live(path: Path) -> None:
    """Turn a copy into a live database, without the journal that SQLite would write to do the same."""
    if is_copy(path):
        _write_mode(path, _WAL_MODE)


def mark_as_copy(path: Path) -> None:
    """Turn a live database whose WAL is written back and gone into a copy that stands alone."""
    if is_live(path) and not beside(path, "-wal").exists():
        _write_mode(path, _ROLLBACK_MODE)


def _read_mode(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            header = file.read(_MODE_OFFSET + 2)
    except FileNotFoundError:
        return None
    return header[_MODE_OFFSET:] if header.startswith(_MAGIC) else None


def _write_mode(path: Path, mode: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, mode, _MODE_OFFSET)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_aside(path: Path, suffix: str) -> list[Path]:
    journal_path = beside(path, suffix)
    if not journal_path.exists():
        return []
    kept_path = beside(journal_path, f".foreign-{datetime.now(UTC):%Y%m%d_%H%M%S}")
    journal_path.replace(kept_path)
    return [kept_path]
