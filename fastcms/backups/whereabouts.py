"""Where the copies of a backup are: of this very backup, whatever else has had its name."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fastcms.backups.copies import Copy, copies_by_filename
from fastcms.backups.origin import read_origin
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.errors import ConflictError
from fastcms.site import Site


def copies_of(site: Site, backups: Sequence[Backup]) -> Mapping[str, Sequence[Copy]]:
    """The copies of these backups, by their names; none where the history cannot be read.

    Of an uploaded one, those that are known to hold the same bytes: it is never copied itself.
    """
    found = dict(copies_by_filename(site, [backup.filename for backup in backups]))
    for backup in backups:
        if backup.kind is BackupKind.UPLOADED and backup.filename in found:
            sha256 = _sha256_of(backup)
            found[backup.filename] = [
                copy for copy in found[backup.filename] if sha256 and copy.archive_sha256 == sha256
            ]
    return found


def is_of_another(site: Site, filename: str, sha256: str | None = None) -> bool:
    """Whether copies of this name are of another backup than the one with this SHA-256, or of any."""
    copies = copies_by_filename(site, [filename]).get(filename, ())
    return any(sha256 is None or copy.archive_sha256 not in (None, sha256) for copy in copies)


def _sha256_of(backup: Backup) -> str | None:
    with suppress(ConflictError, OSError):  # its record cannot be read, or has just been deleted
        origin = read_origin(Path(backup.path))
        return origin.sha256 if origin else None
    return None
