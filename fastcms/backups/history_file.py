"""The file of the history of backups, data/backups/history.db: see `side_file` for what becomes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastcms.backups.folder import data_paths, explained
from fastcms.side_file import SideFile
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_READING = "Reading the history of backups"
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
"""


def history_path(site: Site) -> Path:
    return data_paths(site).backups_dir / "history.db"


def _file(site: Site) -> SideFile:
    return SideFile(history_path(site), "history of backups", _SCHEMA)


def write(site: Site, what: str, change: Callable[[sqlite3.Connection], object]) -> None:
    """Make a change in one transaction, or say in the log why not."""
    _file(site).write(what, change)


@contextmanager
def reading(site: Site) -> Iterator[sqlite3.Connection]:
    """The history, to be read. Raises: BackupError."""
    with explained(_READING), _file(site).reading() as history:
        yield history


def mend_history(site: Site) -> None:
    """Begin a damaged history anew; the old one is kept. Raises: BackupError; ConfigError."""
    with explained(_READING):
        _file(site).mend()


def damaged_history(site: Site) -> Path | None:
    """The history if it is damaged, or the one in whose place it was begun, while that is still there.

    Raises: BackupError.
    """
    with explained(_READING):
        return _file(site).find_damaged()
