"""Create, list and describe backups: joins the engine with the site."""

import os
import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from fastcms.backups import backup_notes
from fastcms.backups.backup_notes import Notes
from fastcms.backups.creation import write_backup
from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.paths import DataPaths, beside
from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.folder import alone, data_paths, explained
from fastcms.backups.job_files import Trigger
from fastcms.backups.origin import read_origin, record_name, record_path
from fastcms.backups.schemas import Backup, BackupDetails, BackupKind, describe_details
from fastcms.backups.whereabouts import copies_of, is_of_another
from fastcms.database import utc_now
from fastcms.durability import partial_path_of, remove
from fastcms.errors import BackupError, BackupNotFoundError, ConfigError, InvalidInputError, NameNotTypedError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.media.service import TRASH_LOCK_NAME, empty_trash
from fastcms.site import Site

CLOCKS_MAY_DIFFER = timedelta(hours=1)
_FILENAME = re.compile(r"backup_(\d{8}_\d{6})\.zip", re.ASCII)
_FILENAME_TIME = "%Y%m%d_%H%M%S"
_NOTHING_NOTED = Notes("")


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
        created = _claim_second(site, paths)
        final_path = path_of(paths, created)
        try:
            packed = write_backup(site, paths, final_path, created, on_progress)
        finally:
            remove(partial_path_of(final_path))
    empty_trash(site)
    return Backup(
        filename=final_path.name,
        size_bytes=final_path.stat().st_size,
        created=created,
        path=str(final_path),
        problems=tuple(packed.problems),
        crc32=packed.crc32,
        counts=packed.counts,
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


def require_site(site: Site) -> None:
    """Refuse a folder without a site. One that has only backups is a site that can be restored.

    Raises: ConfigError.
    """
    if not list_backups(site):
        require_database(site)


def list_backups(site: Site) -> list[Backup]:
    """Every complete backup, newest first. Archives are not opened."""
    folder = data_paths(site).backups_dir
    if not folder.exists():
        return []
    notes = _read_notes(site)
    with explained("Listing the backups"), _opened(folder) as descriptor, os.scandir(descriptor) as entries:
        names = {entry.name for entry in entries}
        found = [_describe(folder, name, names, notes, descriptor) for name in sorted(names, reverse=True)]
    return [backup for backup in found if backup is not None]


def find_newest(backups: Sequence[Backup]) -> Backup | None:
    """The newest backup of this very site: what it can go back to. Listed ones come newest first.

    One from the future only counts if there is no other.
    """
    own = [backup for backup in backups if backup.kind is not BackupKind.UPLOADED]
    now = utc_now()
    return next((backup for backup in own if not is_from_the_future(backup, now)), next(iter(own), None))


def is_from_the_future(backup: Backup, now: datetime) -> bool:
    """Whether it was made while the clock was wrong, or the clock is wrong now."""
    return backup.created > now + CLOCKS_MAY_DIFFER


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
    folder = data_paths(site).backups_dir
    with explained("Looking at the backup"):
        names_beside = {record_name(filename)} if record_path(folder / filename).exists() else ()
        backup = _describe(folder, filename, names_beside, _read_notes(site, filename))
    if backup is None:
        raise BackupNotFoundError(
            f"There is no backup {filename}.", hint="List the backups to see their names."
        )
    return backup


def describe_backup(site: Site, filename: str) -> BackupDetails:
    """What a backup's manifest says, and where the backup came from.

    Raises: BackupNotFoundError; InvalidInputError; the subclasses of ArchiveError.
    """
    backup = find_backup(site, filename)
    path = Path(backup.path)
    with explained("Reading the backup"), open_archive(path) as archive:
        copies = copies_of(site, [backup]).get(filename, ())
        return describe_details(backup, archive.manifest, read_origin(path), copies)


def path_of(paths: DataPaths, created: datetime) -> Path:
    return paths.backups_dir / f"backup_{created:{_FILENAME_TIME}}.zip"


def require_typed_name(filename: str, typed_name: str) -> None:
    """Raise NameNotTypedError unless somebody has typed the backup's name, with or without .zip."""
    if typed_name.strip().removesuffix(".zip") != filename.removesuffix(".zip"):
        raise NameNotTypedError(
            "Nothing was done: the name that was typed is not that of this backup.",
            hint="Type the whole name, or copy it.",
        )


def time_of(filename: str) -> datetime | None:
    """The time in a backup's name; None for what is no backup's name."""
    match = _FILENAME.fullmatch(filename)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}+00:00")  # four times as fast as strptime
    except ValueError:  # digits that are no time
        return None


def is_being_made(path: Path) -> bool:
    """Whether a running backup has claimed this name; one of its two partial files is always there."""
    return partial_path_of(path).exists() or partial_path_of(beside(path, ".db")).exists()


def _claim_second(site: Site, paths: DataPaths) -> datetime:
    """The present second, or the next one that no backup is named after, nor a copy elsewhere of one.

    Whoever wants a name leaves a claim, this partial file or an upload's record, before they look for claims
    of others: of two who want the same one, at least one sees the other.
    """
    while True:
        now = utc_now().replace(microsecond=0)
        path = path_of(paths, now)
        partial_path_of(path).touch(mode=0o600)
        is_taken = path.exists() or record_path(path).exists() or is_of_another(site, path.name)
        if not is_taken:
            return now
        remove(partial_path_of(path))
        time.sleep(0.05)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_notes(site: Site, filename: str | None = None) -> dict[str, Notes]:
    """What is noted of the backups, or of one; to see and restore them, it is not needed."""
    try:
        return backup_notes.read_notes(site, filename)
    except BackupError as error:
        get_logger().warning(error.message)
        return {}


def _describe(
    folder: Path,
    filename: str,
    names_beside: Collection[str],
    notes: Mapping[str, Notes],
    descriptor: int | None = None,
) -> Backup | None:
    """What a name and one look at the file tell, quickly enough for 10,000: no pathlib.

    A file is found faster from its folder's descriptor than by its path.
    """
    created, path = time_of(filename), f"{folder}/{filename}"
    if created is None:
        return None
    try:
        place = path if descriptor is None else filename
        status = os.stat(place, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:  # deleted meanwhile
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    noted = notes.get(filename, _NOTHING_NOTED)
    kind = BackupKind.MANUAL
    if record_name(filename) in names_beside:
        kind = BackupKind.UPLOADED
    elif noted.trigger == Trigger.SCHEDULED:
        kind = BackupKind.SCHEDULED
    return Backup(
        filename=filename,
        size_bytes=status.st_size,
        created=created,
        path=path,
        kind=kind,
        notes=noted,
    )
