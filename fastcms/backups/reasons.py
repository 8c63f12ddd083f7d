"""Why a site is not safe, or not quite: a short function for each reason, on what `status` has found out."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from humanize import naturaldelta
from pydantic import BaseModel

from fastcms.backups.backup_notes import VerificationLevel, VerificationOutcome
from fastcms.backups.backup_settings import BackupSettings
from fastcms.backups.creation import RESTORE_REFUSED
from fastcms.backups.elsewhere import Elsewhere
from fastcms.backups.engine.pending import RestoreReceipt
from fastcms.backups.job_files import Trigger
from fastcms.backups.restore_schemas import RestoreState, describe_what
from fastcms.backups.schemas import Backup
from fastcms.backups.storage import Storage, StorageLevel
from fastcms.cron import OFF, latest_time

# A weekly backup may be late by a day.
OLD = timedelta(days=8)
# A monthly one by two weeks.
_VERIFIED_LONG_AGO = timedelta(days=45)
_LATELY = timedelta(days=7)
# A line may be down for a night; and a first copy takes its time.
WITHOUT_COPIES = timedelta(days=1)


class ReasonLevel(StrEnum):
    """attention: as it is, the site may lose data. warning: it is backed up, but something is to be done."""

    ATTENTION = "attention"
    WARNING = "warning"


class Reason(BaseModel):
    """Why the site is not safe, or not quite; `code` is stable, and docs/backup-restore.md explains each."""

    code: str
    level: ReasonLevel
    message: str
    hint: str


class Failure(BaseModel):
    """A backup that failed. `is_current`: none has been made since."""

    time: datetime
    trigger: Trigger
    requested_by: str
    reason: str
    hint: str
    code: str
    is_current: bool


class Facts(NamedTuple):
    """What there is to know. `backups` are those that this site has made, newest first, none of the future.

    `problems` are those that the newest one names itself, `damage` is why it cannot be read, `undelivered`
    why somebody who is to be told of all this was not. `has_made_any` is what the history remembers, also
    of backups that are gone.
    """

    now: datetime
    settings: BackupSettings
    storage: Storage | None = None
    backups: Sequence[Backup] = ()
    future: Sequence[Backup] = ()
    problems: Sequence[str] = ()
    problem_count: int = 0
    damage: str | None = None
    failure: Failure | None = None
    overdue_since: datetime | None = None
    settings_problem: str | None = None
    undelivered: str | None = None
    latest_restore: RestoreReceipt | None = None
    has_made_any: bool = False
    prune_error: str | None = None
    damaged_history: Path | None = None
    elsewhere: Elsewhere | None = None

    @property
    def newest(self) -> Backup | None:
        return self.backups[0] if self.backups else None


def find_reasons(facts: Facts, others: Sequence[Reason] = ()) -> list[Reason]:
    """All reasons, the serious ones first."""
    found = [*others, *(reason for find in _FINDERS for reason in find(facts))]
    return sorted(found, key=lambda reason: list(ReasonLevel).index(reason.level))


def _reason(level: ReasonLevel, code: str, message: str, hint: str) -> Reason:
    return Reason(code=code, level=level, message=message, hint=hint)


attention = partial(_reason, ReasonLevel.ATTENTION)
warning = partial(_reason, ReasonLevel.WARNING)


def say_when(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _last_failed(facts: Facts) -> Iterator[Reason]:
    failure = facts.failure
    if failure is not None and failure.is_current:
        yield attention(
            "backup_failed",
            f"The latest backup failed on {say_when(failure.time)}: {failure.reason}",
            failure.hint or "When that is mended, make a backup: `fastcms backup create`.",
        )


def _overdue(facts: Facts) -> Iterator[Reason]:
    if facts.overdue_since is not None:
        yield attention(
            "backup_overdue",
            f"A backup has been due since {say_when(facts.overdue_since)}, and there is none.",
            "Look whether the server runs, and what its log says. To make one now: `fastcms backup create`.",
        )


def _gone(facts: Facts) -> Iterator[Reason]:
    if facts.has_made_any and not facts.backups and not facts.future:
        yield attention(
            "backups_gone",
            "Backups of this site were made, and none of them is there any more.",
            "If nobody has deleted them, look whether the disk that held them is mounted. Then make one: "
            "`fastcms backup create`.",
        )


def _not_removed(facts: Facts) -> Iterator[Reason]:
    if facts.prune_error is not None:
        yield warning(
            "prune_failed",
            facts.prune_error,
            "Look at the owner and the mode of the files in data/backups; then `fastcms backup prune`.",
        )


def _old(facts: Facts) -> Iterator[Reason]:
    if facts.newest is None or facts.now - facts.newest.created <= OLD:
        return
    schedule, timezone = facts.settings.schedule, facts.settings.timezone
    latest_due = latest_time(schedule, timezone, facts.now)
    due_before = latest_time(schedule, timezone, latest_due) if latest_due else None
    if schedule == OFF or due_before is None or facts.newest.created < due_before:
        age = naturaldelta(facts.now - facts.newest.created)
        yield attention(
            "backup_old",
            f"The newest backup, {facts.newest.filename}, is {age} old.",
            "Make one with `fastcms backup create`, and find out why no newer one was made.",
        )


def _damaged(facts: Facts) -> Iterator[Reason]:
    if facts.damage is not None:
        yield attention(
            "newest_backup_damaged",
            f"The newest backup is damaged: {facts.damage}",
            "Make a new backup now, and look at the disk's health.",
        )


def _problems(facts: Facts) -> Iterator[Reason]:
    """What the newest backup says of itself."""
    refusals = [text for text in facts.problems if text.startswith(RESTORE_REFUSED)]
    others = [text for text in facts.problems if text not in refusals]
    name = facts.newest.filename if facts.newest else ""
    for text in refusals:
        yield attention(
            "newest_backup_refused",
            f"{name}: {text}",
            "Somebody has changed the database by hand: undo that, then make a new backup.",
        )
    if others:
        count = facts.problem_count - len(refusals)
        more = f" and {count - 1:,} more" if count > 1 else ""
        yield warning(
            "newest_backup_incomplete",
            f"{name} was made with {count:,} problem(s): {others[0]}{more}.",
            "`fastcms doctor` says what to do about the uploaded files; then make a new backup.",
        )


def _verification_failed(facts: Facts) -> Iterator[Reason]:
    """A damaged backup needs attention while it is the newest, or what was verified last."""
    looked_at = [backup for backup in facts.backups if backup.notes.verified is not None]
    latest = max(looked_at, key=lambda backup: backup.notes.verified or "", default=None)
    failed = [backup for backup in looked_at if backup.notes.verified_outcome == VerificationOutcome.FAILED]
    for backup in failed:
        if backup in (latest, facts.newest):
            yield attention(
                "verification_failed",
                f"{backup.filename} did not pass its verification: {backup.notes.verified_reason}",
                "Make a new backup, verify it (`fastcms backup verify NAME`), and look at the disk's health.",
            )
    others = [backup for backup in failed if backup not in (latest, facts.newest)]
    if others:
        more = f", and {len(others) - 1:,} more" if len(others) > 1 else ""
        yield warning(
            "damaged_backup_kept",
            f"An older backup is damaged: {others[0].filename}{more}.",
            "It is kept for what may be saved of it. Delete it when you do not need it: "
            "`fastcms backup delete NAME`.",
        )


def _never_verified(facts: Facts) -> Iterator[Reason]:
    verified = find_verified(facts.backups, VerificationLevel.FULL)
    oldest = facts.backups[-1].created if facts.backups else facts.now
    since = datetime.fromisoformat(verified.notes.verified or "") if verified else oldest
    if facts.now - since > _VERIFIED_LONG_AGO:
        yield warning(
            "verification_old",
            f"No backup was restored as a test for {naturaldelta(facts.now - since)}.",
            "Verify the newest one (`fastcms backup verify NAME`), and look whether the schedule of "
            "verifications is off (`fastcms backup settings`).",
        )


def _space(facts: Facts) -> Iterator[Reason]:
    storage = facts.storage
    if storage is not None and storage.level is not StorageLevel.OK:
        is_critical = storage.level is StorageLevel.CRITICAL
        make, code = (attention, "space_critical") if is_critical else (warning, "space_low")
        yield make(code, storage.reason or "", storage.hint or "")


def _settings(facts: Facts) -> Iterator[Reason]:
    if facts.settings_problem is not None:
        yield attention(
            "settings_unreadable",
            facts.settings_problem,
            "Set again what you had changed, such as the keys that copies are encrypted to, and whom to "
            "tell: `fastcms backup set`. The file is kept beside the new one.",
        )
    if facts.settings.schedule == OFF:
        yield warning(
            "schedule_off",
            "No backup is made by itself: the schedule is off.",
            "Set one, such as `0 2 * * *` for every day at 2:00: `fastcms backup set`.",
        )


def _undelivered(facts: Facts) -> Iterator[Reason]:
    if facts.undelivered is not None:
        yield warning(
            "notification_failed",
            facts.undelivered,
            "Correct the address, then try it: `fastcms backup notify-test`.",
        )


def _rolled_back(facts: Facts) -> Iterator[Reason]:
    receipt = facts.latest_restore
    if receipt is None or receipt.outcome != RestoreState.ROLLED_BACK:
        return
    if facts.now - datetime.fromisoformat(receipt.finished) <= _LATELY:
        what = describe_what(receipt.kind, receipt.backup_filename)
        yield warning(
            "restore_failed_lately",
            f"The {what} failed, and the state before it was put back: {receipt.reason}",
            "Restore another backup if you still want to, or verify this one.",
        )


def _history(facts: Facts) -> Iterator[Reason]:
    if facts.damaged_history is not None:
        yield warning(
            "history_begun_anew",
            f"The history of backups was damaged, and is begun anew. The old one: {facts.damaged_history}",
            "Backups are not concerned, but what was noted of them is lost, such as which ones are pinned. "
            "Look at the disk's health, then delete that file.",
        )


def _future(facts: Facts) -> Iterator[Reason]:
    if facts.future:
        make = warning if facts.backups else attention
        yield make(
            "backup_from_the_future",
            f"{facts.future[0].filename} does not count: it is dated in the future. The clock is wrong, or "
            "was.",
            "Correct the clock (`timedatectl`). If it is right by now, make a backup, then delete that one.",
        )


def _with_place(place: str, text: str) -> str:
    """Name the place, unless the text does already: addresses are long."""
    return text if place in text else f"{place}: {text}"


def _destinations(facts: Facts) -> Iterator[Reason]:
    elsewhere = facts.elsewhere
    if elsewhere is not None and elsewhere.problem is not None:
        yield attention(
            "destination_invalid", elsewhere.problem, "Correct it: nothing is copied there until then."
        )
    for found in elsewhere.destinations if elsewhere else ():
        if found.failing_since is not None and facts.now - found.failing_since > WITHOUT_COPIES:
            reason, since = found.reason or "", say_when(found.failing_since)
            what = "No copy could be made" if found.place in reason else f"{found.place} could not be used"
            yield attention(
                "destination_unreachable",
                f"{what} since {since}: {reason}",
                f"{found.hint} Then try it: `fastcms backup destination test {found.id}`.".strip(),
            )


def _copies_failed(facts: Facts) -> Iterator[Reason]:
    """At once, for it may be mended while it is known what was changed; some need somebody to mend it."""
    for found in facts.elsewhere.destinations if facts.elsewhere else ():
        if found.failing_since is not None and facts.now - found.failing_since > WITHOUT_COPIES:
            continue  # said already
        if found.failed_copy is not None or found.failing_since is not None:
            failed = found.failed_copy
            reason = _with_place(found.place, found.reason or (failed.reason if failed else ""))
            what = f"{failed.filename} could not be copied: {reason}" if failed else reason
            is_refused = found.needs_somebody or (failed is not None and failed.needs_somebody)
            code = "copy_refused" if is_refused else "copy_failed"
            yield warning(code, what, found.hint or (failed.hint if failed else ""))


def _uncopied(facts: Facts) -> Iterator[Reason]:
    """Once for all destinations, or else for each that others must not hide."""
    hint = "`fastcms backup destinations` says why. If one is being copied over a slow line, wait for it."
    if facts.elsewhere is None:
        return
    since = facts.elsewhere.uncopied_since
    if since is not None and facts.now - since > WITHOUT_COPIES:
        yield attention(
            "copy_missing", f"No backup has a copy elsewhere that was made since {say_when(since)}.", hint
        )
        return
    for found in facts.elsewhere.destinations:
        since = found.uncopied_since
        is_said = found.failing_since is not None and facts.now - found.failing_since > WITHOUT_COPIES
        if since is not None and facts.now - since > WITHOUT_COPIES and not is_said:
            yield attention(
                "copy_missing",
                f"No backup that was made since {say_when(since)} has a copy in {found.place}.",
                hint,
            )


def _copies_lost(facts: Facts) -> Iterator[Reason]:
    for found in facts.elsewhere.destinations if facts.elsewhere else ():
        if found.lost:
            what = "A copy that was" if found.lost == 1 else f"{found.lost:,} copies that were"
            which = "It was of" if found.lost == 1 else "The newest was of"
            yield warning(
                "copies_lost",
                f"{what} in {found.place} cannot be found there any more, and this machine has no such "
                f"backup either. {which} {found.newest_lost}.",
                "Find out who has removed what was there. When you know, test the connection: "
                f"`fastcms backup destination test {found.id}`.",
            )


def _copies_not_removed(facts: Facts) -> Iterator[Reason]:
    for found in facts.elsewhere.destinations if facts.elsewhere else ():
        if found.prune_error is not None:
            yield warning(
                "copies_not_removed",
                _with_place(found.place, found.prune_error),
                "Let the credentials remove what they have put there. If copies are to stay there for ever, "
                "say so in the destination's address: `keep_last=0`.",
            )


_FINDERS: tuple[Callable[[Facts], Iterator[Reason]], ...] = (
    _last_failed,
    _overdue,
    _gone,
    _old,
    _damaged,
    _problems,
    _verification_failed,
    _never_verified,
    _space,
    _not_removed,
    _settings,
    _undelivered,
    _rolled_back,
    _history,
    _future,
    _destinations,
    _copies_failed,
    _uncopied,
    _copies_lost,
    _copies_not_removed,
)


def find_verified(backups: Sequence[Backup], level: VerificationLevel | None = None) -> Backup | None:
    """The newest backup that is known to be sound, on a level or on any."""
    for backup in backups:
        notes = backup.notes
        if notes.verified_outcome == VerificationOutcome.OK and level in (None, notes.verified_level):
            return backup
    return None
