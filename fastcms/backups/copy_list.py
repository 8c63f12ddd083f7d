"""The list of copies at one destination, brought up to date with what is here, and with what is there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from fastcms.backups.backup_settings import BackupSettings, changed_settings, read_settings, require_settings
from fastcms.backups.copies import (
    Copy,
    CopyState,
    changed,
    forget_copies,
    has_encrypted,
    list_copies,
    save_copies,
)
from fastcms.backups.copy_plan import find_wanted
from fastcms.backups.destinations import Destination
from fastcms.backups.far_side import EMPTIED, is_waiting, pause_after
from fastcms.backups.pruning import policy_of
from fastcms.backups.retention import Policy
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import list_backups
from fastcms.backups.stored import is_object_name
from fastcms.backups.stores.base import StoredObject
from fastcms.database import format_utc
from fastcms.errors import ConfigError, StoreMissingError
from fastcms.site import Site

# One that fails again and again does not keep the others waiting.
_TRIED_FIRST = 3


def update_list(
    site: Site, destination: Destination, stored: Mapping[str, StoredObject] | None, now: datetime
) -> list[Copy]:
    """Note which copies there are and should be, and give them back; `stored` is what is there, if known.

    Raises: BackupError when the history or the folder of backups cannot be read.
    """
    before = {copy.filename: copy for copy in list_copies(site, destination=destination.id)}
    here = {backup.filename: backup for backup in list_own(site)}
    is_encrypted = bool(read_settings(site).encrypt_to)
    found = {name: _compared(copy, stored, now) for name, copy in before.items()}
    sizes = {name: copy.size_bytes or 0 for name, copy in found.items() if copy.state == CopyState.COPIED}
    wanted = find_wanted(
        list(here.values()),
        sizes,
        policy_there(site, destination),
        read_settings(site).timezone,
        now,
        is_encrypted=is_encrypted,
    )
    after = {
        name: copy for name, copy in found.items() if _is_needed(copy, wanted, here, stored, is_encrypted)
    }
    for name in wanted:
        if name not in after or after[name].state == CopyState.GONE:
            after[name] = _new(destination, name, now, before.get(name), is_encrypted=is_encrypted)
    save_copies(site, [copy for name, copy in after.items() if copy != before.get(name)])
    forget_copies(site, [copy for name, copy in before.items() if name not in after])
    return list(after.values())


def list_own(site: Site) -> list[Backup]:
    """The backups that this site has made, newest first. Raises: BackupError."""
    return [backup for backup in list_backups(site) if backup.kind is not BackupKind.UPLOADED]


def policy_there(site: Site, destination: Destination) -> Policy:
    """What stays at a destination: its own policy, or the site's."""
    return destination.policy or policy_of(read_settings(site))


def require_known_settings(site: Site, there: Collection[str] = ()) -> BackupSettings:
    """What copies are made with, for one of them. Encryption never ends by itself.

    there: the names of what a destination has by now. After a restore on a new machine, they are all that is
    left to tell that copies were encrypted.

    Raises: ConfigError while it is not known whether copies are to be encrypted; BackupError.
    """
    try:
        settings = require_settings(site)
    except ConfigError as error:
        raise ConfigError(f"Nothing is copied: {error.message}", hint=error.hint, code=error.code) from error
    if settings.encrypt_to or "encrypt_to" in changed_settings(site):
        return settings
    if has_encrypted(site) or any(is_object_name(name) and name.endswith(".age") for name in there):
        raise ConfigError(
            "Nothing is copied: the copies that are there are encrypted, this site has no key to encrypt to, "
            "and nobody has turned encryption off.",
            hint="Set the public keys again: `fastcms backup set encrypt_to age1...`. If copies are to leave "
            'this machine as they are, say so: `fastcms backup set encrypt_to ""`. Both can be done at '
            "/admin/backups/keys in the dashboard, too.",
            code="encryption_lost",
        )
    return settings


def require_not_emptied(site: Site, destination: Destination, there: Collection[str]) -> None:
    """Refuse a place that has none of the copies it had: a mount point is a folder without its drive, too.

    Raises: StoreMissingError; BackupError.
    """
    known = [copy for copy in list_copies(site, destination=destination.id) if copy.state == CopyState.COPIED]
    if known and not any(copy.object_name in there for copy in known):
        what = "The only copy" if len(known) == 1 else f"None of the {len(known):,} copies"
        raise StoreMissingError(
            f"{what} that {'was' if len(known) == 1 else 'were'} in {destination.place} is "
            f"{'not ' if len(known) == 1 else ''}there now.",
            hint="Is the drive mounted? If that place was emptied on purpose, test the connection "
            "once more: then copies are made again.",
            code=EMPTIED,
        )


def find_lost(site: Site, copies: Iterable[Copy], there: Collection[str]) -> list[Copy]:
    """The copies that were there and are gone, of backups that are not here either. Raises: BackupError."""
    gone = [copy for copy in copies if copy.state == CopyState.COPIED and copy.object_name not in there]
    here = {backup.filename for backup in list_own(site)} if gone else set()
    return [copy for copy in gone if copy.filename not in here]


def find_next(copies: Sequence[Copy], now: datetime) -> Copy | None:
    """The copy that is to be made now, of the newest backup; None when there is nothing to do."""
    due = [copy for copy in copies if is_open(copy) and not is_waiting(_next_try(copy), now)]
    return max(due, key=lambda copy: (copy.attempts < _TRIED_FIRST, copy.filename), default=None)


def is_open(copy: Copy) -> bool:
    """Whether it is still to be made."""
    return copy.state in (CopyState.WAITING, CopyState.COPYING, CopyState.FAILED)


def _next_try(copy: Copy) -> datetime | None:
    """When it is tried again. That a process was killed at it counts as a failure from the second time on."""
    if copy.next_try is not None:
        return datetime.fromisoformat(copy.next_try)
    if copy.state != CopyState.COPYING or copy.attempts <= 1 or copy.tried is None:
        return None
    return datetime.fromisoformat(copy.tried) + pause_after(copy.attempts - 1, is_permanent=False)


def _compared(copy: Copy, stored: Mapping[str, StoredObject] | None, now: datetime) -> Copy:
    """A copy that is not there any more is made again; one that looks altered is read again."""
    if stored is None or copy.state != CopyState.COPIED:
        return copy
    there = stored.get(copy.object_name)
    if there is None:
        lost = copy._replace(size_bytes=None, sha256=None, archive_sha256=None, version=None, checked=None)
        reason = f"{copy.object_name} was there, and is not any more."
        return changed(lost, CopyState.WAITING, now, reason=reason, attempts=0)
    if (there.size_bytes, there.version) != (copy.size_bytes, copy.version):
        reason = f"{copy.object_name} looks altered: it is compared with what was sent."
        return changed(copy, CopyState.WAITING, now, reason=reason, attempts=0)
    return copy


def _is_needed(
    copy: Copy,
    wanted: Collection[str],
    here: Mapping[str, Backup],
    stored: Mapping[str, StoredObject] | None,
    is_encrypted: bool,  # noqa: FBT001 - as the settings have it
) -> bool:
    if not is_open(copy):
        return copy.state == CopyState.COPIED or copy.filename in here
    # Sent already, perhaps: whoever finds it there compares it with what was noted.
    if copy.sha256 is not None and (stored is None or copy.object_name in stored):
        return True
    return copy.filename in wanted and copy.is_encrypted == is_encrypted


def _new(
    destination: Destination, filename: str, now: datetime, before: Copy | None, *, is_encrypted: bool
) -> Copy:
    """What is to be copied from now on; why it was there once and is gone stays to be read."""
    return Copy(
        filename=filename,
        destination=destination.id,
        place=destination.place,
        state=CopyState.WAITING,
        since=format_utc(now),
        object_name=f"{filename}.age" if is_encrypted else filename,
        is_encrypted=is_encrypted,
        reason=before.reason if before else None,
    )
