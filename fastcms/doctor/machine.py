"""The machine: versions, free space, file systems, the clock."""

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from humanize import naturalsize

import fastcms
from fastcms.backups.engine.paths import is_one_mount
from fastcms.backups.service import CLOCKS_MAY_DIFFER, list_backups
from fastcms.backups.storage import StorageLevel, measure_storage
from fastcms.doctor.findings import Finding, Subject, note, ok, problem, warning
from fastcms.durability import SPARE_BYTES, SPARE_FILES
from fastcms.media.storage import list_files_on_disk
from fastcms.site import new_site
from fastcms.sqlite import WITHOUT_WAL_RESET_BUG, sqlite3


def check_versions(_subject: Subject) -> Iterator[Finding]:
    versions = (
        f"FastCMS {fastcms.__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )
    if sqlite3.sqlite_version_info < WITHOUT_WAL_RESET_BUG:
        yield warning(
            "sqlite_old",
            f"{versions}: SQLite before 3.51.3 can, very rarely, damage a database under load.",
            "Install the package pysqlite3 in FastCMS's environment, or a newer SQLite on this machine.",
        )
    else:
        yield ok("versions", versions)


def check_space(subject: Subject) -> Iterator[Finding]:
    """Compare what is free with what the next backup, and the restore of one, will need."""
    paths = subject.paths
    database_bytes = sum(_size(path) for path in (paths.live.database, paths.live.wal))
    sizes = [_size(paths.files_dir / path) for path in _list_files(paths.files_dir)]
    storage = measure_storage(new_site(subject.settings), subject.now)
    needed_bytes = 2 * database_bytes + sum(sizes) + SPARE_BYTES
    for folder in _one_of_each_disk(subject):
        disk = os.statvfs(folder)
        free_bytes = disk.f_bavail * disk.f_frsize
        is_for_backups = folder.stat().st_dev == _existing(paths.backups_dir).stat().st_dev
        free = f"{naturalsize(free_bytes)} are free in {folder}"
        little = f"Only {free}" if free_bytes else f"Nothing is free in {folder}"
        hint = (
            "Delete old backups (`fastcms backup delete NAME`) or other files on this disk. Never delete "
            "app.db-wal."
        )
        if disk.f_flag & os.ST_RDONLY:
            yield problem(
                "disk_read_only",
                f"The disk of {folder} is read-only: nothing can be saved.",
                "Linux does this to a disk that fails: look at `dmesg`, and copy the data folder elsewhere.",
            )
        elif free_bytes < SPARE_BYTES:
            yield problem("disk_full", f"{little}: the site can hardly save anything.", hint)
        elif disk.f_files and disk.f_favail < len(sizes) + SPARE_FILES:
            yield warning(
                "inodes_low",
                f"The disk of {folder} can take only {disk.f_favail:,} more files (it is out of inodes); "
                f"a restore needs {len(sizes) + SPARE_FILES:,}.",
                "Delete many small files on this disk.",
            )
        elif is_for_backups and free_bytes < needed_bytes:
            needed = naturalsize(needed_bytes)
            yield problem("space_critical", f"{little}; the next backup may need {needed}.", hint)
        elif is_for_backups and storage.level is StorageLevel.CRITICAL:
            yield problem("space_critical", str(storage.reason), hint)
        elif is_for_backups and storage.level is StorageLevel.WARNING:
            yield warning("space_low", str(storage.reason), hint)
        else:
            yield ok("space", f"{free[0].upper()}{free[1:]}")


def check_mounts(subject: Subject) -> Iterator[Finding]:
    data_dir, paths = subject.settings.data_dir, subject.paths
    apart = [
        folder
        for folder in (paths.files_dir, paths.backups_dir)
        if folder.exists() and not is_one_mount(folder, data_dir)
    ]
    for folder in apart:
        yield note("other_disk", f"{folder} is on another disk, or another mount, than {data_dir}")


def check_clock(subject: Subject) -> Iterator[Finding]:
    dates = {backup.filename: backup.created for backup in list_backups(new_site(subject.settings))}
    for path in (subject.paths.live.database, subject.paths.live.wal):
        if path.exists():
            dates[path.name] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    future = {name: date for name, date in dates.items() if date > subject.now + CLOCKS_MAY_DIFFER}
    if future:
        name, date = max(future.items(), key=lambda item: item[1])
        yield warning(
            "clock_wrong",
            f"{name} is dated {date:%Y-%m-%d %H:%M} UTC, but this machine's clock says "
            f"{subject.now:%Y-%m-%d %H:%M} UTC: the clock is wrong, or was.",
            "Correct the clock (`timedatectl`). The newest backup is the one of the latest time in its name: "
            "look which one really is.",
        )
    else:
        yield ok("clock", f"The clock says {subject.now:%Y-%m-%d %H:%M} UTC")


def _one_of_each_disk(subject: Subject) -> list[Path]:
    folders = (subject.settings.data_dir, subject.paths.files_dir, subject.paths.backups_dir)
    by_disk = {folder.stat().st_dev: folder for folder in reversed(folders) if folder.exists()}
    return list(by_disk.values())


def _list_files(files_dir: Path) -> Iterator[str]:
    """What a backup may hold: neither deleted files nor the safety copy. Other checks miss the folder."""
    return list_files_on_disk(files_dir) if files_dir.is_dir() else iter(())


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else folder.parent


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # removed meanwhile
        return 0
