"""Pin what must stay, whatever the policy says."""

from fastcms.backups import backup_notes
from fastcms.backups.deletion import hold_backup
from fastcms.backups.schemas import Backup
from fastcms.backups.service import find_backup
from fastcms.database import format_utc, utc_now
from fastcms.errors import BackupError
from fastcms.site import Site


def pin(site: Site, filename: str, pinned_by: str) -> Backup:
    """Let a backup stay, whatever the policy says, until it is unpinned; again, nothing changes.

    Raises: what `find_backup` raises; BackupError when it cannot be noted.
    """
    with hold_backup(site, filename) as backup:
        if backup.notes.pinned is None:
            backup_notes.note(site, filename, pinned=format_utc(utc_now()), pinned_by=pinned_by)
        return _require_noted(site, filename, is_pinned=True)


def unpin(site: Site, filename: str) -> Backup:
    """Let the policy decide about a backup again. Raises: as `pin`."""
    with hold_backup(site, filename):
        backup_notes.note(site, filename, pinned=None, pinned_by=None)
        return _require_noted(site, filename, is_pinned=False)


def _require_noted(site: Site, filename: str, *, is_pinned: bool) -> Backup:
    """The history never raises; a pin that it does not have would be a promise that nobody keeps."""
    backup = find_backup(site, filename)
    if (backup.notes.pinned is not None) is not is_pinned:
        raise BackupError(
            f"It could not be noted whether {filename} is pinned.",
            hint="Look at the disk's free space and health, then try again. The log says more.",
            code="pin_failed",
        )
    return backup
