"""Read a backup whole, and say whether it could be restored. Nothing of it stays, and nothing is changed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.receiving import check_archive
from fastcms.backups.schemas import VerifiedBackup
from fastcms.backups.service import find_backup
from fastcms.durability import remove
from fastcms.errors import BackupBusyError
from fastcms.locks import FileLock
from fastcms.site import Site


def verify_backup(site: Site, filename: str, on_progress: OnProgress = ignore_progress) -> VerifiedBackup:
    """Compare every byte of a backup with its checksums, and check its database as for a restore.

    Backups and restores go on meanwhile: the lock is one of its own.
    Raises: BackupNotFoundError; InvalidInputError; BackupBusyError; NotEnoughSpaceError; the subclasses of
    ArchiveError.
    """
    backup = find_backup(site, filename)
    with explained("The verification"), _scratch_folder(site) as scratch_dir:
        manifest, _newcomers = check_archive(Path(backup.path), scratch_dir, on_progress)
    return VerifiedBackup(
        filename=filename,
        size_bytes=backup.size_bytes,
        database_size_bytes=manifest.database_size_bytes,
        files_size_bytes=manifest.files_size_bytes,
        counts=dict(manifest.counts),
        app_version=manifest.app_version,
        schema_revision=manifest.schema_revision,
        problems=list(manifest.problems),
    )


def remove_left_overs(site: Site) -> None:
    """Remove what a killed verification left; one that is under way keeps its own."""
    with suppress(BackupBusyError), _scratch_folder(site):
        pass


@contextmanager
def _scratch_folder(site: Site) -> Iterator[Path]:
    """An empty folder for one verification at a time, gone afterwards. Raises: BackupBusyError."""
    backups_dir = data_paths(site).backups_dir
    scratch_dir = backups_dir / ".verifying"
    with FileLock(backups_dir / ".verifying_lock").hold(purpose="verifying a backup", timeout_seconds=0):
        remove(scratch_dir)
        scratch_dir.mkdir(mode=0o700)
        try:
            yield scratch_dir
        finally:
            with suppress(OSError):  # the next verification or start removes it
                remove(scratch_dir)
