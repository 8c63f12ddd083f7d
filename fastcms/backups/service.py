"""Create, list, delete and restore backups: joins the engine with the site."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from fastcms.backups.creation import write_backup
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.folder import alone, data_paths, explained
from fastcms.backups.schemas import Backup
from fastcms.database import utc_now
from fastcms.durability import (
    fsync_folder,
    remove,
)
from fastcms.errors import (
    BackupNotFoundError,
    ConfigError,
    InvalidInputError,
)
from fastcms.locks import FileLock
from fastcms.media.service import TRASH_LOCK_NAME, empty_trash
from fastcms.site import Site

_FILENAME = re.compile(r"backup_(\d{8}_\d{6})\.zip", re.ASCII)
_FILENAME_TIME = "%Y%m%d_%H%M%S"


def create_backup(site: Site, on_progress: OnProgress = ignore_progress) -> Backup:
    """Make a backup of the database and the uploaded files, as they are at one point in time.

    On disk: a complete, fsynced archive of mode 0600; after an error or a crash, nothing that is listed.
    Raises: BackupBusyError; NotEnoughSpaceError; SnapshotError; BackupError.
    """
    paths = data_paths(site)
    with (
        explained("The backup"),
        alone(paths, "creating a backup"),
        # Files that are deleted from here on stay readable in the trash until the archive is written.
        FileLock(paths.backups_dir / TRASH_LOCK_NAME).hold(),
    ):
        created = _claim_second(paths)
        final_path = paths.backups_dir / f"backup_{created:{_FILENAME_TIME}}.zip"
        problems = write_backup(site, paths, final_path, created, on_progress)
    empty_trash(site)
    return Backup(
        filename=final_path.name,
        size_bytes=final_path.stat().st_size,
        created=created,
        path=str(final_path),
        problems=tuple(problems),
    )


def require_database(site: Site) -> None:
    """Refuse to back up a site that opening would only now create: a cron job in the wrong folder.

    Raises: ConfigError.
    """
    if not site.settings.database_path.exists():
        raise ConfigError(
            f"There is no FastCMS site in {site.settings.data_dir.absolute()}.",
            hint="Run the command in the folder of your site, or set FASTCMS_DATA_DIR.",
            code="site_not_found",
        )


def list_backups(site: Site) -> list[Backup]:
    """Every complete backup, newest first. Archives are not opened."""
    paths = data_paths(site)
    if not paths.backups_dir.exists():
        return []
    with explained("Listing the backups"):
        found = [_describe(path) for path in paths.backups_dir.iterdir()]
    return sorted((b for b in found if b is not None), key=lambda b: b.filename, reverse=True)


def find_backup(site: Site, filename: str) -> Backup:
    """The backup of this name.

    Raises: InvalidInputError for what is no backup's name; BackupNotFoundError.
    """
    if _FILENAME.fullmatch(filename) is None:
        raise InvalidInputError(
            f"{filename[:100]!r} is not the name of a backup.",
            hint="A name looks like backup_20250115_100000.zip.",
            code="backup_name_invalid",
        )
    backup = _describe(data_paths(site).backups_dir / filename)
    if backup is None:
        raise BackupNotFoundError(
            f"There is no backup {filename}.", hint="List the backups to see their names."
        )
    return backup


def delete_backup(site: Site, filename: str) -> None:
    """Delete a backup, durably. Raises: BackupNotFoundError; InvalidInputError."""
    backup = find_backup(site, filename)
    with explained("Deleting the backup"):
        remove(Path(backup.path))
        fsync_folder(data_paths(site).backups_dir)


def _claim_second(paths: DataPaths) -> datetime:
    """The present second, or the next one that no backup is named after."""
    while True:
        now = utc_now().replace(microsecond=0)
        if not (paths.backups_dir / f"backup_{now:{_FILENAME_TIME}}.zip").exists():
            return now
        time.sleep(0.05)


def _describe(path: Path) -> Backup | None:
    match = _FILENAME.fullmatch(path.name)
    try:
        if match is None or path.is_symlink() or not path.is_file():
            return None
        created = datetime.strptime(match[1], _FILENAME_TIME).replace(tzinfo=UTC)
        return Backup(filename=path.name, size_bytes=path.stat().st_size, created=created, path=str(path))
    except (FileNotFoundError, ValueError):  # deleted meanwhile; digits that are no time
        return None
