"""Move a whole state, database and files, from one place to another.

A move that was interrupted is continued by calling it again. Every step is decided from what is on disk, and
there is never a moment without an app.db: the live database gets a second name first, and is replaced by a
rename. A WAL moves with the database that it belongs to.
"""

import errno
import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

from fastcms.backups.engine.live import is_live, mark_as_copy, mark_as_live
from fastcms.backups.engine.paths import RESTORE_DIR_NAME, RESTORE_ID_NAME, State
from fastcms.durability import fsync_folder, new_file, remove
from fastcms.sqlite import sqlite3

# What a rename of a folder answers where only its entries can be renamed: a mount point, a folder of a lower
# layer of overlayfs, or a target that an interrupted move has begun to fill.
_ONE_BY_ONE = {errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


def move_out(live: State, target: State) -> None:
    """Give the live state's place to another one: its database keeps the name app.db until that one comes."""
    move_database_out(live, target)
    move_folder(live.files, target.files)
    # A state without files has an empty folder: it must not be taken for one whose files are lost.
    target.files.mkdir(mode=0o700, parents=True, exist_ok=True)
    _fsync_folders(target.files.parent)


def move_database_out(live: State, target: State) -> None:
    """Give the live database a second name; when target's database is there, its WAL is, too."""
    target.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if live.wal.exists():
        live.wal.replace(target.wal)
    if live.database.exists() and not target.database.exists():
        _add_name(live.database, target.database)
    remove(live.shm)
    _fsync_folders(target.database.parent, live.database.parent)


def move_in(source: State, live: State) -> None:
    """Put a state into the live place, whose own state has moved out."""
    if source.database.exists():
        mark_as_live(source.database)
        if live.database.exists() and source.database.samefile(live.database):
            source.database.unlink()  # it has never left; a rename between two names of a file does nothing
        else:
            source.database.replace(live.database)
    if source.wal.exists():
        source.wal.replace(live.wal)
    remove(source.shm)
    _fsync_folders(live.database.parent, source.database.parent)
    move_folder(source.files, live.files)


def move_folder(source_dir: Path, target_dir: Path) -> None:
    """Move a folder in one rename, or else its entries one by one, durably."""
    if not source_dir.exists():
        return
    if not target_dir.exists() and not source_dir.is_symlink():
        try:
            source_dir.rename(target_dir)
        except OSError as error:
            if error.errno not in _ONE_BY_ONE:
                raise
        else:
            _fsync_folders(target_dir.parent, source_dir.parent)
            return
    _move_entries(source_dir, target_dir, stays=RESTORE_DIR_NAME)


def write_wal_back(database: State) -> None:
    """Write the WAL into its database, so that it is one file that stands alone, if that can be done.

    What has no sound header is not opened: SQLite would recognise nothing in the WAL, and delete it.
    """
    if not is_live(database.database):
        return
    with (
        suppress(sqlite3.Error),  # too damaged, or no space: database and WAL go on together
        closing(sqlite3.connect(database.database, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def tidy_up(state: State) -> None:
    """Make a database that nobody serves one file that stands alone, if that can be done."""
    write_wal_back(state)
    mark_as_copy(state.database)
    if not state.wal.exists():
        remove(state.shm)


def make_safety_copy(replaced: State, safety: State) -> None:
    """Turn what a restore has replaced into the safety copy; the earlier one's files are out of the way."""
    tidy_up(replaced)
    if replaced.database.exists():
        remove(safety.wal)
        replaced.database.replace(safety.database)
    if replaced.wal.exists():
        replaced.wal.replace(safety.wal)
    remove(replaced.shm)
    if replaced.files.exists():
        replaced.files.rename(safety.files)
    _fsync_folders(safety.database.parent, safety.files.parent)


def _move_entries(source_dir: Path, target_dir: Path, stays: str = "") -> None:
    target_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # All names at once: the folder changes meanwhile. The restore's id is the last, and proves the others.
    names = os.listdir(source_dir)  # noqa: PTH208
    for name in sorted(names, key=lambda name: name == RESTORE_ID_NAME):
        if name == RESTORE_ID_NAME:
            _fsync_folders(target_dir, source_dir)
        if name != stays:
            _move_entry(source_dir / name, target_dir / name)
    _fsync_folders(target_dir, source_dir, target_dir.parent)
    with suppress(OSError):  # a mount point stays, and so does what holds the safety copy
        source_dir.rmdir()


def _move_entry(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in _ONE_BY_ONE or not source.is_dir() or source.is_symlink():
            raise
        _move_entries(source, target)


def _add_name(path: Path, second_path: Path) -> None:
    try:
        second_path.hardlink_to(path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("rb") as source, new_file(second_path) as target:
            shutil.copyfileobj(source, target)


def _fsync_folders(*folders: Path) -> None:
    for folder in dict.fromkeys(folders):
        if folder.exists():
            fsync_folder(folder)
