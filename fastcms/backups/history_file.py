"""The file of the history of backups, data/backups/history.db: its tables, and what becomes of a damaged one.

Nothing that it holds is needed for a restore. So whoever cannot write it goes on, and says so in the log, and
a damaged one is set aside and begun anew.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

from fastcms.backups.engine.paths import beside
from fastcms.backups.folder import data_paths, explained
from fastcms.database import utc_now
from fastcms.errors import ConfigError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.site import Site, make_folders
from fastcms.sqlite import sqlite3

_BUSY_TIMEOUT_SECONDS = 10
# Set free again at once, in the file and in its journal: what a full disk has made fail can still be noted.
_RESERVED_BYTES = 256 * 1024
_RESERVED_PAGES = 8
READING = "Reading the history of backups"
_BEGUN_ANEW = "begun_anew"
_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, trigger TEXT NOT NULL, state TEXT NOT NULL,
    requested_by TEXT NOT NULL, backup_filename TEXT, started TEXT NOT NULL, finished TEXT NOT NULL,
    size_bytes INTEGER, error TEXT, details TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_kind ON runs (kind, state, id);
CREATE TABLE tallies (
    kind TEXT, state TEXT, code TEXT, runs INTEGER NOT NULL, PRIMARY KEY (kind, state, code)
) STRICT;
CREATE TABLE notes (
    filename TEXT PRIMARY KEY, trigger TEXT, seconds REAL, app_version TEXT, pinned TEXT, pinned_by TEXT,
    verified TEXT, verified_level TEXT, verified_outcome TEXT, verified_reason TEXT,
    crc32 INTEGER, report TEXT
) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reserve (content BLOB) STRICT;
"""


def history_path(site: Site) -> Path:
    return data_paths(site).backups_dir / "history.db"


def write(site: Site, what: str, change: Callable[[sqlite3.Connection], object]) -> None:
    """Make a change in one transaction, or say in the log why not."""
    path = history_path(site)
    try:
        make_folders(path.parent)
        try:
            _change(path, change)
        except sqlite3.DatabaseError as error:
            if not _is_of_damage(error):
                raise
            _set_aside(path)
            _change(path, change)
    except (sqlite3.Error, OSError, ConfigError) as error:
        get_logger().warning("The history of backups could not be written.", what=what, reason=str(error))


@contextmanager
def reading(site: Site) -> Iterator[sqlite3.Connection]:
    """The history, to be read. Raises: BackupError."""
    with (
        explained(READING),
        # Whoever only looks changes nothing: where there is no history, or no database, it is an empty one.
        closing(_open(history_path(site)) or _create(_connect_to(":memory:"))) as history,
    ):
        yield history


def mend_history(site: Site) -> None:
    """Begin a damaged history anew; the old one is kept. Raises: BackupError; ConfigError."""
    path = history_path(site)
    with explained(READING):
        if not _is_sound(path):
            _set_aside(path)


def damaged_history(site: Site) -> Path | None:
    """The history if it is damaged, or the one in whose place it was begun, while that is still there.

    Raises: BackupError.
    """
    path = history_path(site)
    with explained(READING):
        if not _is_sound(path):
            return path
    with reading(site) as history:
        row = history.execute("SELECT value FROM marks WHERE name = ?", [_BEGUN_ANEW]).fetchone()
    kept_path = None if row is None else path.with_name(json.loads(row[0]))
    return kept_path if kept_path is not None and kept_path.exists() else None


def _change(path: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    with closing(_connect(path)) as history:
        history.execute("BEGIN IMMEDIATE")
        change(history)
        history.execute("COMMIT")
        _reserve(history)


def _open(path: Path) -> sqlite3.Connection | None:
    """The history, unless there is none or it is no database. Raises: sqlite3.OperationalError; OSError."""
    try:
        return _connect(path) if path.exists() else None
    except sqlite3.DatabaseError as error:
        if not _is_of_damage(error):
            raise
        return None


def _is_of_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite has found the file itself to be damaged; all else has a class of its own.

    Source: https://github.com/python/cpython/blob/main/Modules/_sqlite/util.c
    """
    return type(error) is sqlite3.DatabaseError


def _is_sound(path: Path) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return True
    return _has_passed(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _has_passed(path: Path, *_state: int) -> bool:
    """Look at every page, anew when the file has changed: with 10,000 backups it has 50 MB."""
    try:
        with closing(_connect(path)) as history:
            return bool(history.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        if not _is_of_damage(error):
            raise
        return False


def _set_aside(path: Path) -> None:
    """Begin a damaged history anew, unless another process has done so."""
    with FileLock(path.with_name(".history_lock")).hold():
        if _is_sound(path):
            return
        kept_path = beside(path, f".damaged-{utc_now():%Y%m%d_%H%M%S}")
        path.replace(kept_path)
        beside(path, "-journal").unlink(missing_ok=True)
        get_logger().error("The history of backups is damaged, and begun anew.", kept=str(kept_path))
        with closing(_connect(path)) as history:
            history.execute(
                "INSERT OR REPLACE INTO marks VALUES (?, ?)", [_BEGUN_ANEW, json.dumps(kept_path.name)]
            )


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():  # else it may be on a disk that is read-only by now
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # the journal has the same mode
    history = _connect_to(path)
    try:
        # The journal keeps its blocks: see _RESERVED_BYTES.
        history.execute("PRAGMA journal_mode = PERSIST")
        (version,) = history.execute("PRAGMA user_version").fetchone()
        if version < _VERSION:
            _create(history)
    except sqlite3.Error:
        history.close()
        raise
    return history


def _connect_to(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)


def _create(history: sqlite3.Connection) -> sqlite3.Connection:
    history.execute("BEGIN IMMEDIATE")
    (version,) = history.execute("PRAGMA user_version").fetchone()
    if version < _VERSION:  # nobody else was quicker
        for statement in filter(str.strip, _SCHEMA.split(";")):
            history.execute(statement)
        history.execute(f"PRAGMA user_version = {_VERSION}")
    history.execute("COMMIT")
    _reserve(history)
    return history


def _reserve(history: sqlite3.Connection) -> None:
    (free_pages,) = history.execute("PRAGMA freelist_count").fetchone()
    if free_pages < _RESERVED_PAGES:
        history.execute("INSERT INTO reserve VALUES (zeroblob(?))", [_RESERVED_BYTES])
        # With zeros in their place, all of its pages are in the journal for once.
        history.execute("PRAGMA secure_delete = ON")
        history.execute("DELETE FROM reserve")
