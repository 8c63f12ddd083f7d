"""What ought to be kept, and what ought to be due: a reckoning that shares nothing with the program's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
CLOCKS_MAY_DIFFER = timedelta(hours=1)
RETRIES = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=3))


@dataclass
class Backup:
    """What the books say of a backup that is there.

    is_sound is what was found out, None before; proven: when it was restored as a test.
    """

    filename: str
    created: datetime
    records: int
    kind: str
    is_damaged: bool = False
    is_sound: bool | None = None
    proven: datetime | None = None
    is_pinned: bool = False

    @property
    def is_uploaded(self) -> bool:
        return self.kind == "uploaded"

    @property
    def local(self) -> datetime:
        return self.created.astimezone(ZONE)


def _day(backup: Backup) -> object:
    return backup.local.date()


def _week(backup: Backup) -> object:
    return backup.local.isocalendar()[:2]


def _month(backup: Backup) -> object:
    return backup.local.year, backup.local.month


def _itself(backup: Backup) -> object:
    return backup.filename


# The default policy: 3 / 7 / 4 / 12 / 0.
_RULES: tuple[tuple[int, Callable[[Backup], object]], ...] = (
    (3, _itself),
    (7, _day),
    (4, _week),
    (12, _month),
)


def counting(backups: Iterable[Backup], now: datetime) -> list[Backup]:
    """The backups of this site, newest first, without those that are dated in the future."""
    found = [one for one in backups if not one.is_uploaded and one.created <= now + CLOCKS_MAY_DIFFER]
    return sorted(found, key=lambda one: one.created, reverse=True)


def kept(backups: Iterable[Backup], now: datetime) -> set[str]:
    """The names of the backups that stay, if any may go."""
    backups = list(backups)
    own = counting(backups, now)
    must_stay = [one for one in backups if one not in own or one.is_pinned]
    for candidates in (
        own,
        [one for one in own if one.is_sound is not False],
        [one for one in own if one.is_sound],
        [one for one in own if one.is_sound and one.proven],
    ):
        must_stay += candidates[:1]
    return {one.filename for one in [*must_stay, *(one for one in own if _is_in_a_rule(one, own))]}


def _is_in_a_rule(backup: Backup, own: list[Backup]) -> bool:
    """Whether it is the newest of one of the latest periods of a rule; damaged ones count for none."""
    newer = [one for one in own if one.created > backup.created and one.is_sound is not False]
    return any(
        period(backup) not in map(period, newer) and len(set(map(period, newer))) < count
        for count, period in _RULES
    )


@dataclass
class Timetable:
    """When something is due: by the clock on the wall, noticed at the first look after it."""

    clock: time
    seen: datetime
    days_of_month: range = field(default=range(1, 32))
    failures: int = 0
    tried: datetime | None = None

    def on(self, day: date) -> datetime:
        """The time on a day; of an hour that comes twice the first, for one that is skipped the next."""
        return datetime.combine(day, self.clock, ZONE).astimezone(UTC)

    def look(self, now: datetime) -> bool:
        """Whether something is to be done now: what was missed once, what failed up to four times."""
        missed_since = self.missed_since(now)
        self.seen = now
        if missed_since is not None:
            self.failures, self.tried = 0, None
            return True
        is_open = self.tried is not None and self.failures <= len(RETRIES)
        return is_open and self.tried is not None and now >= self.tried + RETRIES[self.failures - 1]

    def missed_since(self, now: datetime) -> datetime | None:
        """The first time that nobody has looked after; none when the clock was set back."""
        first = self.seen.astimezone(ZONE).date()
        days = [first + timedelta(days=number) for number in range((now - self.seen).days + 2)]
        times = (self.on(day) for day in days if day.day in self.days_of_month)
        return next((time for time in times if self.seen < time <= now), None)

    def settle(self, now: datetime, *, is_done: bool) -> None:
        self.failures = 0 if is_done else self.failures + 1
        self.tried = None if is_done else now

    def change(self, clock: time, now: datetime) -> None:
        """Another time of the day, from now on."""
        self.clock, self.seen = clock, now
