"""What is lost with a backup: said before it is deleted, and looked at again when it is."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum

from humanize import naturaldelta
from pydantic import BaseModel

from fastcms.backups.backup_notes import VerificationLevel, VerificationOutcome
from fastcms.backups.copies import CopyState
from fastcms.backups.deletion import delete_backup, find_uses, is_staged
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import find_backup, list_backups, require_typed_name
from fastcms.backups.whereabouts import AtPlace, join_words, look_for_copies, say_fetchable
from fastcms.site import Site


class LossCode(StrEnum):
    """What makes a backup worth a thought before it is gone."""

    ONLY_BACKUP = "only_backup"
    NOT_COPIED = "not_copied"
    NEWEST = "newest"
    OLDEST = "oldest"
    ONLY_OF_MONTH = "only_of_month"
    ONLY_VERIFIED = "only_verified"
    ONLY_RESTORED = "only_restored"
    PINNED = "pinned"
    UPLOADED = "uploaded"


# Whoever deletes one of these types its name.
_GRAVE = (LossCode.ONLY_BACKUP, LossCode.ONLY_VERIFIED, LossCode.PINNED)
_AWAITED = (CopyState.WAITING, CopyState.COPYING, CopyState.FAILED)


class LossReason(BaseModel):
    """`code` is for programs, `message` for people."""

    code: LossCode
    message: str


class Loss(BaseModel):
    """What deleting a backup would mean.

    `used_for` says why it cannot be deleted now, `is_staged` that its restore waits for a restart, `damage`
    why it may be of no use anyway, `elsewhere` from where it could be fetched again. `needs_name`: the
    dashboard has its name typed first.
    """

    filename: str
    size_bytes: int
    created: datetime
    kind: BackupKind
    reasons: list[LossReason]
    damage: str | None
    elsewhere: str | None
    used_for: str | None
    is_staged: bool
    needs_name: bool


def describe_loss(site: Site, filename: str) -> Loss:
    """Look at what would be lost. Raises: BackupNotFoundError; InvalidInputError; BackupError."""
    backup = find_backup(site, filename)
    others = [other for other in list_backups(site) if other.filename != filename]
    places = look_for_copies(site, [backup])[filename]
    reasons = list(find_losses(backup, others, places))
    return Loss(
        filename=filename,
        size_bytes=backup.size_bytes,
        created=backup.created,
        kind=backup.kind,
        reasons=reasons,
        damage=backup.notes.verified_reason,
        elsewhere=say_fetchable(places),
        used_for=find_uses(site).get(filename),
        is_staged=is_staged(site, filename),
        needs_name=any(reason.code in _GRAVE for reason in reasons),
    )


def delete_confirmed(site: Site, filename: str, requested_by: str, typed_name: str) -> Loss:
    """Delete a backup, a pinned one too; where the loss is grave, its name must have been typed.

    Raises: NameNotTypedError; what `deletion.remove_backup` raises, but for pinned ones.
    """
    loss = describe_loss(site, filename)
    if loss.needs_name:
        require_typed_name(filename, typed_name)
    is_pinned = any(reason.code is LossCode.PINNED for reason in loss.reasons)
    delete_backup(site, filename, requested_by, is_pin_lifted=is_pinned)
    return loss


def find_losses(
    backup: Backup, others: Sequence[Backup], places: Sequence[AtPlace] = ()
) -> Iterator[LossReason]:
    """What goes with a backup that none of the others has; they come newest first. `places`: where it is."""
    own = [other for other in others if other.kind is not BackupKind.UPLOADED]
    is_elsewhere = any(place.is_safe for place in places)
    if not others and is_elsewhere:
        yield _reason(
            LossCode.ONLY_BACKUP,
            "It is the only backup on this machine. Without it, the way back is its copy elsewhere.",
        )
    elif not others:
        yield _reason(LossCode.ONLY_BACKUP, "It is the only backup. Without it there is no way back.")
    elif backup.kind is BackupKind.UPLOADED:
        yield _reason(
            LossCode.UPLOADED, "It was brought from another machine. This site cannot make it again."
        )
    elif not own:
        yield _reason(
            LossCode.ONLY_BACKUP,
            "It is the only backup of this site. The others were brought from other machines.",
        )
    else:
        yield from _find_gaps(backup, own)
    yield from _find_doubts(backup, others)
    awaited = [place.label for place in places if place.state in _AWAITED]
    if awaited and not is_elsewhere:
        message = (
            f"It was not copied yet, and never will be then: it waits to be copied to {join_words(awaited)}."
        )
        yield _reason(LossCode.NOT_COPIED, message)
    if backup.notes.pinned is not None:
        message = f"It is pinned: {backup.notes.pinned_by} wants it kept. Deleting it unpins it."
        yield _reason(LossCode.PINNED, message)


def _find_gaps(backup: Backup, own: Sequence[Backup]) -> Iterator[LossReason]:
    """What of the site's past is in no other backup of its own; those come newest first."""
    newest, oldest = own[0].created, own[-1].created
    if backup.created > newest:
        age = naturaldelta(backup.created - newest)
        yield _reason(
            LossCode.NEWEST,
            f"It is the newest backup. The one before it is {age} older: what was changed in between is in "
            "no other backup.",
        )
    elif backup.created < oldest:
        yield _reason(
            LossCode.OLDEST,
            f"It is the oldest backup. The next one is of {oldest:%-d %B %Y}: nothing older remains.",
        )
    elif all(_month_of(other) != _month_of(backup) for other in own):
        yield _reason(LossCode.ONLY_OF_MONTH, f"It is the only backup of {backup.created:%B %Y}.")


def _find_doubts(backup: Backup, others: Sequence[Backup]) -> Iterator[LossReason]:
    """What is known of this backup, and of no other."""
    if backup.notes.verified_outcome != VerificationOutcome.OK or not others:
        return
    sound = [other for other in others if other.notes.verified_outcome == VerificationOutcome.OK]
    if not sound:
        yield _reason(
            LossCode.ONLY_VERIFIED,
            "It is the only backup that is known to be sound. No other one has passed a verification.",
        )
    elif backup.notes.verified_level == VerificationLevel.FULL and all(
        other.notes.verified_level != VerificationLevel.FULL for other in sound
    ):
        yield _reason(LossCode.ONLY_RESTORED, "It is the only backup that was restored as a test.")


def _month_of(backup: Backup) -> tuple[int, int]:
    return backup.created.year, backup.created.month


def _reason(code: LossCode, message: str) -> LossReason:
    return LossReason(code=code, message=message)
