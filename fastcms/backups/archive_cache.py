"""The indexes of the archives that were looked into last, below data/backups/.contents.

The first look makes one, in a process of its own: see `engine.archive_index`. A few are kept, and each start
removes all. They are not durable: one that cannot be read is made anew. The archive itself is not locked: a
file that is open stays until it is closed.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fastcms.backups import contents
from fastcms.backups.engine import archive_index
from fastcms.backups.engine.process import run_apart
from fastcms.backups.engine.verify import open_unchanged
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.schemas import Backup
from fastcms.backups.service import find_backup
from fastcms.database import known_revisions
from fastcms.durability import remove
from fastcms.errors import BackupBusyError, BackupNotFoundError, ConflictError
from fastcms.locks import FileLock
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_KEPT = 4
_PATIENCE_SECONDS = 60
_LOCK_NAME = ".contents_lock"
_PARTIAL = ".partial"


class OpenedArchive(NamedTuple):
    """A backup, its open archive, and the index of it."""

    backup: Backup
    descriptor: int
    listing: sqlite3.Connection


@contextmanager
def open_indexed(site: Site, filename: str) -> Iterator[OpenedArchive]:
    """Open a backup with its index, which is made if it is not there.

    Raises: BackupNotFoundError; InvalidInputError; BackupBusyError; NotEnoughSpaceError; the subclasses of
    ArchiveError.
    """
    backup = find_backup(site, filename)
    with ExitStack() as held:
        held.enter_context(explained("Looking into the backup"))
        try:
            archive = os.open(backup.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise BackupNotFoundError(f"{filename} was deleted a moment ago.") from error
        held.callback(os.close, archive)
        index = _open_index(site, filename, archive) or _make_index(site, filename, archive)
        yield OpenedArchive(backup, archive, held.enter_context(closing(index)))


def forget_contents(site: Site, filename: str) -> None:
    """Remove what is kept of a backup that was deleted."""
    with suppress(OSError):  # the next start removes it
        remove(_folder(site) / filename)


def remove_left_overs(site: Site) -> None:
    """Remove all indexes, unless one is being made just now."""
    if _folder(site).exists():
        with suppress(BackupBusyError), _lock(site).hold(timeout_seconds=0):
            remove(_folder(site))


def _open_index(site: Site, filename: str, archive: int) -> sqlite3.Connection | None:
    """The index of this very archive; None without one."""
    path = _folder(site) / filename
    if not path.exists():
        return None
    with suppress(OSError):
        os.utime(path)  # when it was last used
    # Nobody writes to it any more. A download reads with one thread after another.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    index = sqlite3.connect(uri, uri=True, check_same_thread=False)
    with suppress(sqlite3.Error, TypeError):  # it is not durable: a power cut may leave anything
        if archive_index.read_identity(index) == archive_index.identify(archive):
            return index
    index.close()
    return None


def _make_index(site: Site, filename: str, archive: int) -> sqlite3.Connection:
    folder = _folder(site)
    with _lock(site).hold(purpose="looking into a backup", timeout_seconds=_PATIENCE_SECONDS):
        index = _open_index(site, filename, archive)  # which somebody may have made meanwhile
        if index is None:
            _make_room(folder)
            partial_path = folder / f"{filename}{_PARTIAL}"
            try:
                run_apart(
                    archive_index.index_archive,
                    data_paths(site).backups_dir / filename,
                    partial_path,
                    known_revisions=known_revisions(),
                    check_contents=_check_contents,
                )
                partial_path.replace(folder / filename)
            finally:
                remove(partial_path)
            index = _open_index(site, filename, archive)
    if index is None:
        raise ConflictError(
            f"{filename} was exchanged while it was being read.",
            hint="Try again.",
            code="backup_changed",
        )
    return index


def _make_room(folder: Path) -> None:
    """Remove what a killed process left, and all but the indexes that were used last.

    Where somebody has put a link, nothing of what it leads to is ours: it gives way to a folder.
    """
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)
        folder.mkdir(mode=0o700)
    last_first = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    finished = [path for path in last_first if _PARTIAL not in path.name]
    for path in {*last_first} - {*finished[: _KEPT - 1]}:
        remove(path)


def _check_contents(database_path: Path) -> None:
    with open_unchanged(database_path) as database:
        contents.refuse_strange_contents(database)


def _folder(site: Site) -> Path:
    return data_paths(site).backups_dir / ".contents"


def _lock(site: Site) -> FileLock:
    return FileLock(data_paths(site).backups_dir / _LOCK_NAME)
