"""The folder of backups: who may work in it, and what its errors mean."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from fastcms.backups.engine.paths import DataPaths
from fastcms.durability import is_full_disk, remove
from fastcms.errors import BackupError, NotEnoughSpaceError
from fastcms.locks import FileLock
from fastcms.site import Site
from fastcms.sqlite import sqlite3

Found = TypeVar("Found")


def data_paths(site: Site) -> DataPaths:
    return DataPaths(site.settings.data_dir)


@contextmanager
def alone(paths: DataPaths, purpose: str) -> Iterator[None]:
    """Hold the lock of backups; what a killed holder left unfinished is removed first.

    At the end, too: Ctrl+C kills the process that does the work.
    """
    paths.backups_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(paths.backups_dir / ".lock").hold(purpose=purpose, timeout_seconds=0):
        try:
            _remove_unfinished(paths)
            yield
        finally:
            _remove_unfinished(paths)


def _remove_unfinished(paths: DataPaths) -> None:
    for left_over in paths.backups_dir.glob(".backup_*.partial*"):  # with SQLite's journal of one
        remove(left_over)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an I/O error into a BackupError that says which file, and a full disk into NotEnoughSpaceError."""
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        raise BackupError(
            f"{what} failed: {error.__cause__ or error}.",
            hint="Look at the disk's free space and health, and run `fastcms doctor`; then try again.",
        ) from error
    except OSError as error:
        kind = NotEnoughSpaceError if is_full_disk(error) else BackupError
        raise kind(
            f"{what} failed: {error.strerror or error} ({error.filename or 'unnamed file'}).",
            hint="Look at the disk's free space and health, then try again.",
        ) from error


def try_to_see(look: Callable[..., Found], *arguments: Any, **options: Any) -> Found | None:
    """What can be looked at; None where the disk or the history does not answer, as the status says."""
    try:
        with explained("Looking at it"):
            return look(*arguments, **options)
    except BackupError:
        return None


def remember_backups(site: Site) -> None:
    """Note that there are backups, on the site's disk: theirs may be another one, and be away one day."""
    with suppress(OSError):
        _mark(site).touch(mode=0o600)


def were_backups_made(site: Site) -> bool:
    return os.path.exists(_mark(site))  # noqa: PTH110 - never raises


def _mark(site: Site) -> Path:
    return site.settings.data_dir / ".backups_made"
