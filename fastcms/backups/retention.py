"""Which backups stay, which go, and why: computed from a list of them and the policy, and nothing else.

The words mean what they mean to restic: a rule keeps the newest backup of each of so many days, weeks (ISO),
months or years in the time zone, and periods without a backup do not count. So a backup goes because newer
ones came, never because time has passed. Source: https://restic.readthedocs.io/en/stable/060_forget.html

In one thing this is not restic, which also keeps the oldest backup of all while a rule has periods left.
Without that, a rule keeps no more than its number, what is kept does not depend on how often one looks, and
an older backup that turns up makes no newer one go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from humanize import naturalsize


class ReasonCode(StrEnum):
    """Why a backup stays: it must, or a rule keeps it. At the end, why one goes."""

    NOTHING_GOES = "nothing_goes"
    PINNED = "pinned"
    UPLOADED = "uploaded"
    FUTURE = "future"
    IN_USE = "in_use"
    NEWEST = "newest"
    NEWEST_VERIFIED = "newest_verified"
    NO_RULE = "no_rule"
    LAST = "last"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"

    NOT_KEPT = "not_kept"
    TOTAL_SIZE = "total_size"


@dataclass(frozen=True)
class Reason:
    code: ReasonCode
    message: str


@dataclass(frozen=True)
class Policy:
    """How many backups each rule keeps, and how many bytes all together may have, None for any number."""

    keep_last: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    max_total_size: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A backup, with the reasons for which it must stay whatever the policy says.

    is_sound is what its latest verification has found; None when there was none. is_proven: a site was
    restored from it, as a test.
    """

    filename: str
    created: datetime
    size_bytes: int
    protections: tuple[Reason, ...] = ()
    is_sound: bool | None = None
    is_proven: bool = False

    @property
    def counts(self) -> bool:
        """Whether it takes a place of others: it was made here, at a time that can be."""
        return not any(reason.code in (ReasonCode.UPLOADED, ReasonCode.FUTURE) for reason in self.protections)


@dataclass(frozen=True)
class Decision:
    filename: str
    created: datetime
    size_bytes: int
    keep: bool
    reasons: tuple[Reason, ...]


# Each with its setting and its unit. A period's name for people is also what tells two of them apart.
_PERIODS = (
    (ReasonCode.DAILY, "keep_daily", "day", "%Y-%m-%d"),
    (ReasonCode.WEEKLY, "keep_weekly", "week", "%G-W%V"),
    (ReasonCode.MONTHLY, "keep_monthly", "month", "%Y-%m"),
    (ReasonCode.YEARLY, "keep_yearly", "year", "%Y"),
)
_NOT_KEPT = Reason(ReasonCode.NOT_KEPT, "no rule keeps it")


def decide(backups: Sequence[Candidate], policy: Policy, timezone: str) -> list[Decision]:
    """What becomes of each backup, newest first. What the rules keep may still go for max_total_size.

    Backups of other machines always stay, and take no place of one that was made here. Nor do those that are
    dated in the future: nothing newer would come, and what is made today would go at once.
    """
    newest_first = sorted(backups, key=lambda backup: (backup.created, backup.filename), reverse=True)
    own = [backup for backup in newest_first if backup.counts]
    reasons = {backup.filename: list(backup.protections) for backup in newest_first}
    for filename, reason in _find_newest(own):
        reasons[filename].append(reason)
    movable = {filename for filename, found in reasons.items() if not found}
    for filename, reason in _apply_rules(own, policy, ZoneInfo(timezone)):
        reasons[filename].append(reason)
    kept = [backup for backup in newest_first if reasons[backup.filename]]
    going = {filename: [_NOT_KEPT] for filename, found in reasons.items() if not found}
    going |= {filename: [reason] for filename, reason in _find_too_many(kept, movable, policy.max_total_size)}
    return [
        Decision(
            backup.filename,
            backup.created,
            backup.size_bytes,
            backup.filename not in going,
            tuple(going.get(backup.filename, reasons[backup.filename])),
        )
        for backup in newest_first
    ]


def find_excess_bytes(decisions: Sequence[Decision], policy: Policy) -> int:
    """By how much those that stay are larger than they may be, because they must stay; 0 when they fit."""
    if policy.max_total_size is None:
        return 0
    kept_bytes = sum(decision.size_bytes for decision in decisions if decision.keep)
    return max(kept_bytes - policy.max_total_size, 0)


def _find_newest(own: Sequence[Candidate]) -> Iterator[tuple[str, Reason]]:
    """What a restore may need most. A damaged backup is never the last one that is left."""
    newest = next(iter(own), None)
    newest_unharmed = next((backup for backup in own if backup.is_sound is not False), None)
    if newest is not None:
        yield newest.filename, Reason(ReasonCode.NEWEST, "the newest backup")
    if newest_unharmed is not None and newest_unharmed is not newest:
        yield newest_unharmed.filename, Reason(ReasonCode.NEWEST, "the newest backup that is not damaged")
    newest_verified = next((backup for backup in own if backup.is_sound), None)
    if newest_verified is not None:
        yield (
            newest_verified.filename,
            Reason(ReasonCode.NEWEST_VERIFIED, "the newest backup that a verification found sound"),
        )
    # Every new backup is compared byte by byte, and only one a month is restored.
    newest_proven = next((backup for backup in own if backup.is_sound and backup.is_proven), None)
    if newest_proven is not None and newest_proven is not newest_verified:
        yield (
            newest_proven.filename,
            Reason(ReasonCode.NEWEST_VERIFIED, "the newest backup that was restored as a test"),
        )


def _apply_rules(own: Sequence[Candidate], policy: Policy, zone: ZoneInfo) -> Iterator[tuple[str, Reason]]:
    counts = {code: getattr(policy, setting) for code, setting, _unit, _form in _PERIODS}
    if not policy.keep_last and not any(counts.values()):
        for backup in own:
            yield backup.filename, Reason(ReasonCode.NO_RULE, "no rule is set, so everything is kept")
    for filename, _period, place in _keep_newest(own, [backup.filename for backup in own], policy.keep_last):
        yield filename, Reason(ReasonCode.LAST, f"backup {place} of {policy.keep_last}")
    for code, _setting, unit, form in _PERIODS:
        periods = [_local_time(backup, zone).strftime(form) for backup in own]
        for filename, period, place in _keep_newest(own, periods, counts[code]):
            yield filename, Reason(code, f"the newest of {period}, {unit} {place} of {counts[code]}")


def _keep_newest(
    own: Sequence[Candidate], periods: Sequence[str], count: int
) -> Iterator[tuple[str, str, int]]:
    """The newest backup of each of the latest periods that have one: its name, its period, and which it is.

    A damaged backup takes no place: it stays beside a sound one that would be kept without it.
    """
    # Not only the latest: in some time zones the clock has gone back from the first minute of a day.
    seen: set[str] = set()
    for backup, period in zip(own, periods, strict=True):
        if period in seen:
            continue
        if len(seen) == count:
            return
        yield backup.filename, period, len(seen) + 1
        if backup.is_sound is not False:
            seen.add(period)


def _find_too_many(
    kept: Sequence[Candidate], movable: set[str], max_total_size: int | None
) -> Iterator[tuple[str, Reason]]:
    """The oldest of those that may go, until the rest fits."""
    if max_total_size is None:
        return
    kept_bytes = sum(backup.size_bytes for backup in kept)
    for backup in reversed(kept):
        if kept_bytes <= max_total_size:
            return
        if backup.filename in movable:
            limit = naturalsize(max_total_size)
            message = f"the oldest that may go, and all together would take more than {limit}"
            yield backup.filename, Reason(ReasonCode.TOTAL_SIZE, message)
            kept_bytes -= backup.size_bytes


def _local_time(backup: Candidate, zone: ZoneInfo) -> datetime:
    try:
        return backup.created.astimezone(zone)
    except OverflowError:  # the first or the last day that there is, put there by hand
        return backup.created
