"""Delete backups, and keep those that somebody uses from being deleted.

Whoever needs an archive for a while holds the kernel's lock on the file itself, shared. Whoever deletes it
takes that lock alone, and only then looks whether it may go. So neither a restore that is being staged nor a
verification loses its archive, whichever process it runs in. A download needs no lock: a file that is open
stays until it is closed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fastcms.backups import backup_notes, history
from fastcms.backups.archive_cache import forget_contents
from fastcms.backups.engine.pending import Kind, read_marker
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.history import RunKind
from fastcms.backups.job_files import list_jobs
from fastcms.backups.origin import hold_records
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import find_backup
from fastcms.database import utc_now
from fastcms.durability import fsync_folder, remove
from fastcms.errors import BackupBusyError, BackupNotFoundError, ConflictError
from fastcms.site import Site


@contextmanager
def hold_backup(site: Site, filename: str) -> Iterator[Backup]:
    """A backup that nobody deletes meanwhile. Raises: what `find_backup` raises."""
    backup = find_backup(site, filename)
    with _locked(backup, fcntl.LOCK_SH):
        yield backup


def delete_backup(site: Site, filename: str, requested_by: str, *, is_pin_lifted: bool = False) -> None:
    """Delete a backup because somebody wants it gone, and note that in the history.

    Raises: what `remove_backup` raises.
    """
    started = utc_now()
    backup = remove_backup(site, filename, is_pin_lifted=is_pin_lifted)
    history.note_done(
        site,
        RunKind.DELETE,
        started,
        requested_by,
        backup_filename=filename,
        size_bytes=backup.size_bytes,
    )


def remove_backup(site: Site, filename: str, *, is_pin_lifted: bool = False) -> Backup:
    """Remove a backup durably, with all that is noted of it; with is_pin_lifted, a pinned one too.

    Raises: BackupNotFoundError; InvalidInputError; ConflictError when it is pinned or in use; BackupError.
    """
    with explained("Deleting the backup"):
        with _free_to_go(site, filename, is_pin_lifted=is_pin_lifted) as backup:
            remove(Path(backup.path))
            fsync_folder(data_paths(site).backups_dir)
        _forget(site, backup)
    return backup


def require_free_to_go(site: Site, filename: str) -> Backup:
    """A backup that may be deleted, for all one can see. Raises: what `remove_backup` raises."""
    backup = find_backup(site, filename)
    _require_unwanted(site, backup)
    if (use := find_uses(site).get(filename)) is not None:
        raise _in_use(filename, use)
    return backup


def is_staged(site: Site, filename: str) -> bool:
    """Whether the restore of this backup waits for a restart. Raises: RestoreError."""
    return filename in _find_staged(site)


def _require_unwanted(site: Site, backup: Backup, *, is_pin_lifted: bool = False) -> None:
    """Refuse what is to stay after those who read it have ended."""
    filename = backup.filename
    if backup.notes.pinned is not None and not is_pin_lifted:
        raise ConflictError(
            f"{filename} is pinned: {backup.notes.pinned_by} wants it kept.",
            hint=f"If it may go, unpin it first: fastcms backup unpin {filename}",
            code="backup_pinned",
        )
    if (use := _find_staged(site).get(filename)) is not None:
        raise _in_use(filename, use)


def find_uses(site: Site) -> dict[str, str]:
    """The backups that somebody uses, and what for. Raises: RestoreError for a marker that cannot be read."""
    uses = {
        job.backup_filename: f"it is needed by a job that runs: {job.kind} {job.id}"
        for job in list_jobs(site)
        if job.is_running and job.backup_filename is not None
    }
    return uses | _find_staged(site)


def _find_staged(site: Site) -> dict[str, str]:
    pending = read_marker(data_paths(site))
    is_staged = pending is not None and pending.kind is Kind.BACKUP and not pending.phase.is_over
    return {pending.backup_filename: "its restore is staged"} if pending and is_staged else {}


def _forget(site: Site, backup: Backup) -> None:
    backup_notes.forget_notes(site, backup.filename)
    forget_contents(site, backup.filename)
    if backup.kind is BackupKind.UPLOADED:
        # Its record goes too; while an upload is being checked, the next upload or start removes it.
        with suppress(BackupBusyError), hold_records(data_paths(site), timeout_seconds=0):
            pass


@contextmanager
def _free_to_go(site: Site, filename: str, *, is_pin_lifted: bool) -> Iterator[Backup]:
    """Hold a backup that nobody needs, so that nobody can begin to."""
    with ExitStack() as held:
        try:
            held.enter_context(_locked(find_backup(site, filename), fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise _in_use(filename, find_uses(site).get(filename, "somebody reads it just now")) from error
        # Not the jobs, which takes long for thousands: one that needs the archive holds its lock.
        backup = find_backup(site, filename)
        _require_unwanted(site, backup, is_pin_lifted=is_pin_lifted)
        yield backup


def _in_use(filename: str, use: str) -> ConflictError:
    return ConflictError(
        f"{filename} is in use: {use}.",
        hint="Wait until that is over, or cancel it; then try again.",
        code="backup_in_use",
    )


@contextmanager
def _locked(backup: Backup, kind: int) -> Iterator[None]:
    """Hold the lock of an archive that is still there. Raises: BackupNotFoundError; BlockingIOError."""
    path = Path(backup.path)
    with ExitStack() as held:
        try:
            # NFS wants a file that is open for writing: https://man7.org/linux/man-pages/man2/flock.2.html
            archive = held.enter_context(path.open("rb" if kind == fcntl.LOCK_SH else "r+b"))
            fcntl.flock(archive, kind)
            is_there = os.path.samestat(os.fstat(archive.fileno()), path.stat())
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise BackupNotFoundError(f"{backup.filename} was deleted a moment ago.")
        yield
