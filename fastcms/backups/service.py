"""Create, list, delete and restore backups: joins the engine with the site."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from fastcms.backups import contents
from fastcms.backups.creation import OMITTED_TABLES, PARTIAL_SUFFIX, write_backup
from fastcms.backups.engine import live, staging, swap
from fastcms.backups.engine.durability import (
    fsync_folder,
    is_full_disk,
    remove,
)
from fastcms.backups.engine.paths import DataPaths, beside
from fastcms.backups.engine.pending import (
    PendingRestore,
    Phase,
    RestoreReceipt,
    read_marker,
    read_receipts,
)
from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.schemas import Backup, RestoreState, RestoreStatus
from fastcms.content.schemas import RecordQuery
from fastcms.content.service import list_collections, list_records
from fastcms.database import Base, known_revisions, utc_now
from fastcms.errors import (
    BackupBusyError,
    BackupError,
    BackupNotFoundError,
    ConfigError,
    InvalidInputError,
    NotEnoughSpaceError,
    RestoreError,
)
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.media.service import TRASH_LOCK_NAME, empty_trash
from fastcms.site import Site

_FILENAME = re.compile(r"backup_(\d{8}_\d{6})\.zip", re.ASCII)
_FILENAME_TIME = "%Y%m%d_%H%M%S"


def data_paths(site: Site) -> DataPaths:
    return DataPaths(site.settings.data_dir)


def create_backup(site: Site, on_progress: OnProgress = ignore_progress) -> Backup:
    """Make a backup of the database and the uploaded files, as they are at one point in time.

    On disk: a complete, fsynced archive of mode 0600; after an error or a crash, nothing that is listed.
    Raises: BackupBusyError; NotEnoughSpaceError; SnapshotError; BackupError.
    """
    paths = data_paths(site)
    with (
        _explained("The backup"),
        _alone(paths, "creating a backup"),
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
    with _explained("Listing the backups"):
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
    with _explained("Deleting the backup"):
        remove(Path(backup.path))
        fsync_folder(data_paths(site).backups_dir)


def stage_restore(
    site: Site, filename: str, requested_by: str, on_progress: OnProgress = ignore_progress
) -> PendingRestore:
    """Check a backup whole and prepare it, so that the next start of the server restores it.

    Raises: what `find_backup` and `engine.staging.stage_restore` raise; BackupBusyError.
    """
    backup = find_backup(site, filename)
    paths = data_paths(site)
    with _explained("Staging the restore"), _alone(paths, "staging a restore"):
        return staging.stage_restore(
            paths,
            Path(backup.path),
            requested_by=requested_by,
            known_revisions=known_revisions(),
            check_contents=contents.refuse_strange_paths,
            omit_rows_of=OMITTED_TABLES,
            on_progress=on_progress,
        )


def cancel_restore(site: Site) -> PendingRestore:
    """Forget the pending restore. Raises: NoPendingRestoreError; RestorePendingError; BackupBusyError."""
    paths = data_paths(site)
    with _explained("Cancelling the restore"), _alone(paths, "cancelling a restore"):
        return staging.cancel_restore(paths)


def restore_status(site: Site) -> RestoreStatus:
    """The pending restore, or else how the latest one ended."""
    paths = data_paths(site)
    pending = read_marker(paths)
    if pending is not None:
        return RestoreStatus(
            state=RestoreState.PENDING,
            backup_filename=pending.backup_filename,
            requested_by=pending.requested_by,
            requested=datetime.fromisoformat(pending.requested),
        )
    latest: RestoreReceipt | None = None
    for latest in read_receipts(paths.receipts):  # noqa: B007 - the last one is wanted
        pass
    if latest is None:
        return RestoreStatus(state=RestoreState.NONE)
    return RestoreStatus(
        state=RestoreState(latest.outcome),
        backup_filename=latest.backup_filename,
        requested_by=latest.requested_by,
        requested=datetime.fromisoformat(latest.requested),
        finished=datetime.fromisoformat(latest.finished),
        reason=latest.reason or None,
    )


def is_restore_pending(site: Site) -> bool:
    return data_paths(site).marker.exists()


def recover(site: Site, *, applies_staged: bool) -> RestoreReceipt | None:
    """Make app.db safe to open, and finish the pending restore; return its receipt, if there was one.

    Only at start, before app.db is opened by anyone. Without applies_staged, a restore is only finished when
    its swap was interrupted.
    """
    database_path = data_paths(site).database
    for kept_path in live.adopt_database(database_path):
        get_logger().warning(
            "app.db was replaced by hand beside a journal of its predecessor; the journal was moved aside.",
            journal=str(kept_path),
        )
    receipt = _finish_pending_restore(site, applies_staged=applies_staged)
    live.mark_as_live(database_path)  # a safety copy that was put back
    if not database_path.exists():
        live.create_database(database_path)
    _remove_left_overs(site)
    return receipt


def _remove_left_overs(site: Site) -> None:
    """Remove what a killed backup left unfinished, unless one is being made."""
    with suppress(BackupBusyError), _alone(data_paths(site), "removing left-overs"):
        pass


def _finish_pending_restore(site: Site, *, applies_staged: bool) -> RestoreReceipt | None:
    paths = data_paths(site)
    try:
        pending = read_marker(paths)
    except RestoreError as error:
        # FastCMS replaces its marker in one step, so this is somebody else's file: the site is untouched.
        paths.marker.replace(beside(paths.marker, ".unreadable"))
        get_logger().error(error.message, hint=error.hint)
        return None
    if pending is not None and pending.phase is Phase.STAGED and not applies_staged:
        return None
    try:
        receipt = swap.apply_pending_restore(paths, lambda: _bring_up(site))
    except OSError as error:
        pending = read_marker(paths)
        if pending is None or pending.phase is not Phase.STAGED:
            raise
        get_logger().error("The restore could not begin; it stays staged.", reason=str(error))
        return None
    if receipt is not None:
        log = get_logger().info if receipt.outcome == RestoreState.RESTORED else get_logger().error
        log(f"restore {receipt.outcome}", **asdict(receipt))
    return receipt


def _bring_up(site: Site) -> None:
    """Migrate the restored database and read from every table through the application's own models."""
    try:
        site.database.migrate()
        with site.database.read() as session:
            for table in Base.metadata.sorted_tables:
                session.execute(sa.select(table).limit(1)).all()
            for collection in list_collections(session):
                list_records(session, collection, RecordQuery(per_page=1))
    finally:
        site.database.close()


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


@contextmanager
def _alone(paths: DataPaths, purpose: str) -> Iterator[None]:
    """Hold the lock of backups; what a killed holder left unfinished is removed first."""
    paths.backups_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(paths.backups_dir / ".lock").hold(purpose=purpose, timeout_seconds=0):
        for left_over in paths.backups_dir.glob(f".backup_*{PARTIAL_SUFFIX}"):
            remove(left_over)
        yield


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn an I/O error into a BackupError that says which file, and a full disk into NotEnoughSpaceError."""
    try:
        yield
    except OSError as error:
        kind = NotEnoughSpaceError if is_full_disk(error) else BackupError
        raise kind(
            f"{what} failed: {error.strerror or error} ({error.filename or 'unnamed file'}).",
            hint="Look at the disk's free space and health, then try again.",
        ) from error
