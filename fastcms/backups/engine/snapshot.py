"""Copy a live database as one consistent file."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from fastcms.backups.engine.paths import beside
from fastcms.durability import remove
from fastcms.errors import NotEnoughSpaceError, SnapshotError
from fastcms.sqlite import sqlite3


def write_snapshot(database_path: Path, target_path: Path, *, omit_rows_of: Sequence[str] = ()) -> int:
    """Copy a live SQLite database to target_path, without the rows of some tables.

    `VACUUM INTO` reads in one transaction, so that writers go on and commits still in the WAL are included,
    and writes a database in rollback-journal mode (header bytes 18 and 19 are 1), which stands alone and can
    be told from a live one.

    Returns: size_bytes.
    On disk: target_path is complete, or absent. It is not fsynced: the archive made from it is.
    Raises: SnapshotError; NotEnoughSpaceError.
    Source: https://www.sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause
    """
    remove(target_path)
    try:
        # mode=rw: opening must not create a database that is missing.
        with closing(sqlite3.connect(f"file:{_quote(database_path)}?mode=rw", uri=True, timeout=30)) as live:
            os.close(os.open(target_path, os.O_CREAT | os.O_WRONLY, 0o600))
            live.execute("VACUUM INTO ?", (str(target_path),))
        _omit_rows(target_path, omit_rows_of)
        return target_path.stat().st_size
    except sqlite3.Error as error:
        _discard(target_path)
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise NotEnoughSpaceError(
                f"The disk filled up while copying {database_path} to {target_path.parent}: {error}.",
                hint="Delete old backups or other files on this disk, then try again.",
            ) from error
        raise SnapshotError(
            f"{database_path} could not be copied: {error}.",
            hint="If it says 'malformed', the database is damaged: restore the newest backup.",
        ) from error
    except BaseException:
        _discard(target_path)
        raise


def open_snapshot(path: Path) -> sqlite3.Connection:
    """Open a database file that nobody else has open, without trusting what is in its schema.

    Source: https://www.sqlite.org/security.html
    """
    connection = sqlite3.connect(f"file:{_quote(path)}?mode=rw", uri=True, isolation_level=None)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def omit_rows(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Delete all rows of some tables, and overwrite their bytes."""
    connection.execute("PRAGMA secure_delete=ON")
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in tables:
        if table in present:
            connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - the caller's constant


def _omit_rows(path: Path, tables: Sequence[str]) -> None:
    with closing(open_snapshot(path)) as snapshot:
        # Nobody needs this copy after a crash, so it needs no journal; the archive is what gets fsynced.
        snapshot.execute("PRAGMA journal_mode=MEMORY")
        snapshot.execute("PRAGMA synchronous=OFF")
        omit_rows(snapshot, tables)


def _discard(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        remove(beside(path, suffix))


def _quote(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
