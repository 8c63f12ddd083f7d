"""What stops a start, in words: a full disk, a damaged database, or anything else of the disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from fastcms.config import Settings
from fastcms.durability import is_full_disk
from fastcms.errors import ConfigError, FastCMSError, NotEnoughSpaceError
from fastcms.sqlite import sqlite3

# Codes of SQLite that mean a full disk when hardly anything is free: it could not make its -shm or its -wal.
_MAYBE_FULL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_FULL_DISK_BYTES = 1024**2
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn an error of the disk or of the database into one that says what to do."""
    try:
        yield
    except (OSError, DBAPIError, sqlite3.Error) as error:
        raise _explain(settings, error.orig if isinstance(error, DBAPIError) else error) from error


def _explain(settings: Settings, error: BaseException | None) -> FastCMSError:
    folder, free_bytes = _fullest_disk(settings.data_dir, settings.files_dir, settings.backups_dir)
    # The extended codes of SQLite have the plain one in their low byte.
    sqlite_code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_full = (
        (isinstance(error, OSError) and is_full_disk(error))
        or sqlite_code == sqlite3.SQLITE_FULL
        or (sqlite_code in _MAYBE_FULL and free_bytes < _FULL_DISK_BYTES)
    )
    if is_full:
        return NotEnoughSpaceError(
            f"The disk is full: {free_bytes:,} bytes are free in {folder.absolute()} ({error}).",
            hint="Delete old backups (`fastcms backup list`, `fastcms backup delete NAME`), the state before "
            "the latest restore (`fastcms backup discard`) or other files on this disk. Then try again.",
        )
    if sqlite_code in _DAMAGED:
        return ConfigError(
            f"The database {settings.database_path.absolute()} is damaged: {error}.",
            hint="Copy the whole data folder somewhere else. Then find your newest backup with "
            "`fastcms backup list`, and put it in place with `fastcms backup restore NAME --now`. "
            "How to do it by hand: docs/disaster-recovery.md.",
            code="database_damaged_at_start",
        )
    return ConfigError(
        f"The data folder {settings.data_dir.absolute()} cannot be used: {error}.",
        hint="Look at the disk's free space and health; `fastcms doctor` says more.",
        code="data_folder_unusable",
    )


def _fullest_disk(*folders: Path) -> tuple[Path, int]:
    """The folder with the least free space, and how much that is, in bytes."""
    free = {folder: shutil.disk_usage(folder).free for folder in folders if folder.exists()}
    return min(free.items(), key=lambda item: item[1])
