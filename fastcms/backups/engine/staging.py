"""Prepare a restore beside the running site, which does not notice."""

import json
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fastcms.backups.engine.archive_reader import extract_archive, open_archive
from fastcms.backups.engine.live import mark_as_live
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import PendingRestore, Phase, read_marker, remove_marker, write_marker
from fastcms.backups.engine.progress import OnProgress, Progress, ignore_progress
from fastcms.backups.engine.verify import CheckContents, prepare_database
from fastcms.durability import (
    fsync_file,
    fsync_folder,
    remove,
    require_free_space,
    write_durably,
)
from fastcms.errors import NoPendingRestoreError, RestoreError, RestorePendingError

_ID_NAME = "restore.json"


def stage_restore(
    paths: DataPaths,
    archive_path: Path,
    *,
    requested_by: str,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    omit_rows_of: Sequence[str] = (),
    on_progress: OnProgress = ignore_progress,
) -> PendingRestore:
    """Extract and check an archive, then leave the marker that the next start looks for.

    check_contents gets the extracted database and raises an ArchiveError for rows that must not be served.
    On disk: everything is durable before it returns; after an error, neither a staging folder nor a marker.
    Raises: RestorePendingError; NotEnoughSpaceError; the subclasses of ArchiveError.
    """
    pending = read_marker(paths)
    if pending is not None:
        raise RestorePendingError(
            f"A restore of {pending.backup_filename} is already staged.",
            hint="Restart the server to complete it, or cancel it first.",
        )
    _require_one_disk(paths)
    discard_staging(paths)
    try:
        with open_archive(archive_path) as archive:
            require_free_space(paths.backups_dir, archive.total_bytes, f"Restoring {archive_path.name}")
            paths.staging_dir.mkdir(mode=0o700)
            restore_id = secrets.token_hex(8)
            write_durably(paths.staging_dir / _ID_NAME, json.dumps({"restore_id": restore_id}).encode())
            extract_archive(
                archive,
                database_path=paths.staged_database,
                files_dir=paths.staged_files_dir,
                on_progress=on_progress,
            )
            total_bytes = archive.total_bytes
        on_progress(Progress("checking the database", total_bytes, total_bytes))
        prepare_database(
            paths.staged_database,
            known_revisions=known_revisions,
            check_contents=check_contents,
            omit_rows_of=omit_rows_of,
        )
        # From here on it is a live database: the first start of the restored site writes no journal.
        mark_as_live(paths.staged_database)
        paths.staged_files_dir.mkdir(mode=0o700, exist_ok=True)
        fsync_file(paths.staged_database)
        _fsync_folders(paths.staging_dir)
        pending = PendingRestore(
            restore_id=restore_id,
            backup_filename=archive_path.name,
            requested_by=requested_by,
            requested=datetime.now(UTC).isoformat(timespec="seconds"),
            staged_database=_fingerprint(paths.staged_database),
        )
        write_marker(paths, pending)
    except BaseException:
        remove(paths.marker)
        discard_staging(paths)
        raise
    return pending


def _require_one_disk(paths: DataPaths) -> None:
    """Refuse at once what could only be rolled back at start: a rename does not cross file systems."""
    for folder in (paths.data_dir, paths.files_dir):
        if folder.exists() and folder.stat().st_dev != paths.backups_dir.stat().st_dev:
            raise RestoreError(
                f"{paths.backups_dir} and {folder} are on different file systems: nothing can be swapped in.",
                hint="Put them on one file system, or restore by hand: see docs/disaster-recovery.md.",
                code="restore_across_disks",
            )


def cancel_restore(paths: DataPaths) -> PendingRestore:
    """Forget the staged restore. Raises: NoPendingRestoreError; RestorePendingError in mid-swap."""
    pending = read_marker(paths)
    if pending is None:
        raise NoPendingRestoreError("No restore is pending.", hint="There is nothing to cancel.")
    if pending.phase is not Phase.STAGED:
        raise RestorePendingError(
            f"The restore of {pending.backup_filename} was interrupted and cannot be cancelled.",
            hint="Restart the server: it finishes the restore, or rolls it back.",
        )
    remove_marker(paths)
    discard_staging(paths)
    return pending


def is_staged(paths: DataPaths, pending: PendingRestore) -> bool:
    """Whether the staging folder still holds the database that this pending restore checked."""
    is_ours = staged_restore_id(paths) == pending.restore_id and paths.staged_database.exists()
    return is_ours and _fingerprint(paths.staged_database) == pending.staged_database


def staged_restore_id(paths: DataPaths) -> str | None:
    """The id that FastCMS left in the staging folder; None for a folder that somebody unzipped by hand."""
    try:
        return str(json.loads((paths.staging_dir / _ID_NAME).read_bytes())["restore_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_stale_staging(paths: DataPaths) -> None:
    """Remove what a killed staging left; what somebody unzipped there by hand stays."""
    remove(paths.discarded_staging_dir)
    if read_marker(paths) is None and staged_restore_id(paths) is not None:
        discard_staging(paths)


def discard_staging(paths: DataPaths) -> None:
    """Remove the staging folder in one step, so that a half-removed one is never taken for somebody's own."""
    if paths.staging_dir.exists():
        remove(paths.discarded_staging_dir)
        paths.staging_dir.rename(paths.discarded_staging_dir)
    remove(paths.discarded_staging_dir)


def _fingerprint(path: Path) -> str:
    """What changes when somebody writes into a file, or puts another one in its place."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _fsync_folders(top_dir: Path) -> None:
    for folder in [top_dir, *(path for path in top_dir.rglob("*") if path.is_dir())]:
        fsync_folder(folder)
    fsync_folder(top_dir.parent)
