"""How much space there is, what takes it, and until when it will do.

Asked for at every look at the dashboard and by every scrape of the metrics: nothing walks over the files.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from humanize import naturalsize
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from fastcms.backups import history
from fastcms.backups.engine.file_rows import count_files
from fastcms.backups.engine.undo import find_safety_copy
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import list_backups
from fastcms.database import utc_now
from fastcms.durability import SPARE_BYTES, require_free_space
from fastcms.errors import BackupError, NotEnoughSpaceError
from fastcms.site import Site
from fastcms.sqlite import sqlite3

# In the history: how full the disk was at the latest backup of each day.
_MARK = "disk_used"
_OBSERVED = timedelta(days=30)
# The first days of a site say nothing: until the policy removes the first one, each backup comes on top.
_FEWEST_DAYS, _SHORTEST = 5, timedelta(days=7)
_FULL_SOON = timedelta(days=14)
_FULL_NEVER = timedelta(days=10 * 365)
# A small site on a large disk that others have filled need not worry.
_LITTLE_FREE, _ENOUGH_BACKUPS = 0.1, 10
_HINT = (
    "Delete old backups (`fastcms backup list`, `fastcms backup delete NAME`), or what else is not needed on "
    "this disk. A larger disk helps for longer. Never delete app.db-wal: it holds the latest changes."
)


class StorageLevel(StrEnum):
    """critical: the next backup does not fit. warning: it soon may not."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


class Disk(BaseModel):
    """A disk, named by the folder of the site that it holds."""

    folder: str
    total_bytes: int
    free_bytes: int


class Storage(BaseModel):
    """The space of backups; `other_disks` are those of the data folder and the files, if they have their own.

    What is not known is null: `files_bytes` when the database cannot be read, the growth in the first days.
    `full_on` is null, too, while the disk does not fill up.
    """

    level: StorageLevel
    reason: str | None
    hint: str | None
    disk: Disk
    other_disks: list[Disk]
    backups: int
    backups_bytes: int
    safety_copy_bytes: int
    database_bytes: int
    files_bytes: int | None
    next_backup_bytes: int
    growth_bytes_per_day: int | None
    full_on: date | None


class Filling(NamedTuple):
    """How a disk fills up: bytes a day, and the day on which it is full."""

    bytes_per_day: int | None
    full_on: date | None


def measure_storage(
    site: Site, now: datetime | None = None, backups: Sequence[Backup] | None = None
) -> Storage:
    """Measure the space of backups; whoever has listed them already need not do it twice.

    Raises: BackupError.
    """
    now = now or utc_now()
    paths = data_paths(site)
    backups = list_backups(site) if backups is None else backups
    with explained("Measuring the space"):
        disk, *other_disks = _find_disks(paths.backups_dir, paths.data_dir, paths.files_dir)
        safety_copy = find_safety_copy(paths)
        database_bytes = _size(paths.live.database) + _size(paths.live.wal)
    files_bytes = _measure_files(site)
    newest_bytes = next((one.size_bytes for one in backups if one.kind is not BackupKind.UPLOADED), 0)
    next_backup_bytes = reckon_next_backup(database_bytes, files_bytes, newest_bytes)
    try:
        observed = read_observed(site)
    except BackupError:  # which others say
        observed = {}
    filling = reckon_filling(observed, disk, now)
    level, reason = _judge(disk, other_disks, next_backup_bytes, filling, now)
    return Storage(
        level=level,
        reason=reason,
        hint=_HINT if reason else None,
        disk=disk,
        other_disks=other_disks,
        backups=len(backups),
        backups_bytes=sum(backup.size_bytes for backup in backups),
        safety_copy_bytes=safety_copy.size_bytes if safety_copy else 0,
        database_bytes=database_bytes,
        files_bytes=files_bytes,
        next_backup_bytes=next_backup_bytes,
        growth_bytes_per_day=filling.bytes_per_day,
        full_on=filling.full_on,
    )


def observe_disk(site: Site) -> None:
    """Remember how full the disk is, for the forecast. Always at the same point of a backup; never raises."""
    today = utc_now().date()
    try:
        disk = _find_disks(data_paths(site).backups_dir)[0]
        observed = read_observed(site)
    except (OSError, BackupError):
        return
    observed[today.isoformat()] = [disk.total_bytes - disk.free_bytes, disk.total_bytes]
    oldest = (today - _OBSERVED).isoformat()
    history.write_mark(site, _MARK, {day: used for day, used in observed.items() if day >= oldest})


def reckon_next_backup(database_bytes: int, files_bytes: int | None, newest_bytes: int) -> int:
    """What `engine.packing` will want to be free at most: the copy of the database, and all in the archive.

    Files that were put there by hand are in no table; the newest backup holds them, too.
    """
    archive_bytes = max(database_bytes + (files_bytes or 0), newest_bytes)
    return database_bytes + archive_bytes + SPARE_BYTES


def reckon_filling(observed: Mapping[str, Sequence[int]], disk: Disk, now: datetime) -> Filling:
    """How a disk fills up, from how many bytes of how many were used on each of the latest days.

    The median of the slopes between any two days: one day on which much came or went does not decide.
    Source: https://en.wikipedia.org/wiki/Theil%E2%80%93Sen_estimator
    """
    used = {
        date.fromisoformat(day): used_bytes
        for day, (used_bytes, total_bytes) in observed.items()
        if total_bytes == disk.total_bytes and date.fromisoformat(day) >= (now - _OBSERVED).date()
    }
    if len(used) < _FEWEST_DAYS or max(used) - min(used) < _SHORTEST:
        return Filling(None, None)
    growth = statistics.median(
        (used[later] - used[earlier]) / (later - earlier).days
        for earlier, later in combinations(sorted(used), 2)
    )
    if growth <= 0 or disk.free_bytes / growth > _FULL_NEVER.days:
        return Filling(round(growth), None)
    return Filling(round(growth), (now + timedelta(days=disk.free_bytes / growth)).date())


def _judge(
    disk: Disk, other_disks: Sequence[Disk], next_backup_bytes: int, filling: Filling, now: datetime
) -> tuple[StorageLevel, str | None]:
    """How serious it is, and why."""
    if reason := _why_critical(disk, other_disks, next_backup_bytes):
        return StorageLevel.CRITICAL, reason
    if reason := _why_low(disk, next_backup_bytes, filling, now):
        return StorageLevel.WARNING, reason
    return StorageLevel.OK, None


def _why_critical(disk: Disk, other_disks: Sequence[Disk], next_backup_bytes: int) -> str | None:
    needs = {disk.folder: ("The next backup", next_backup_bytes - SPARE_BYTES)}
    needs |= {other.folder: ("The site itself", 0) for other in other_disks}
    for folder, (purpose, needed_bytes) in needs.items():
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"The disk of {folder} is read-only: nothing can be saved."
        try:
            require_free_space(Path(folder), needed_bytes, purpose)
        except NotEnoughSpaceError as error:
            return error.message
    return None


def _why_low(disk: Disk, next_backup_bytes: int, filling: Filling, now: datetime) -> str | None:
    free = f"{naturalsize(disk.free_bytes)} are free in {disk.folder}"
    if disk.free_bytes < 2 * next_backup_bytes:
        return f"Only {free}: one more backup fits, a second one may not."
    share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 1
    if share < _LITTLE_FREE and disk.free_bytes < _ENOUGH_BACKUPS * next_backup_bytes:
        return f"Only {free}, {share:.0%} of the disk."
    if filling.full_on is not None and filling.full_on <= (now + _FULL_SOON).date():
        growth = naturalsize(filling.bytes_per_day or 0)
        return f"{free}. If it fills up as now, by {growth} a day, the disk is full on {filling.full_on}."
    return None


def _find_disks(*folders: Path) -> list[Disk]:
    """The disk of each folder, once. A folder that is not there yet will be on its parent's."""
    disks: dict[int, Disk] = {}
    for folder in folders:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        status = os.statvfs(existing)
        disk = Disk(
            folder=str(existing),
            total_bytes=status.f_blocks * status.f_frsize,
            free_bytes=status.f_bavail * status.f_frsize,
        )
        disks.setdefault(existing.stat().st_dev, disk)
    return list(disks.values())


def _measure_files(site: Site) -> int | None:
    live = data_paths(site).live
    try:
        return _sum_of_files(site, _state_of(live.database), _state_of(live.wal))
    except (OSError, sqlite3.Error, DBAPIError):  # missing or damaged, which others say
        return None


@lru_cache(maxsize=4)
def _sum_of_files(site: Site, _database: tuple[int, ...], _wal: tuple[int, ...]) -> int:
    """Summed up anew when the database has changed: a large site has 200,000 rows."""
    if site.database.is_open:
        with site.database.read() as session:
            connection: Any = session.connection().connection.driver_connection
            return count_files(connection)[1]
    # A command beside the server, or without one: nothing may be written, not even an index of the WAL.
    # Never in a process that has app.db open: closing an immutable one would drop its locks.
    # Source: https://www.sqlite.org/wal.html#read_only_databases
    live = data_paths(site).live
    how = "readonly_shm=1" if live.wal.exists() else "immutable=1"
    uri = f"{live.database.absolute().as_uri()}?mode=ro&{how}"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        return count_files(database)[1]


def read_observed(site: Site) -> dict[str, Any]:
    """How full the disk was on each of the latest days: bytes used, and bytes in all. Raises: BackupError."""
    observed: dict[str, Any] | None = history.read_mark(site, _MARK)
    return observed or {}


def _state_of(path: Path) -> tuple[int, ...]:
    """What changes when a file is written."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
