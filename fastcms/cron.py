"""When a cron expression is due, in a time zone, across the changes of the clock.

Expressions mean what Debian's cron takes them for: 0 and 7 are Sunday, and of a day of the month and a day of
the week either is enough. A time that the clock skips in spring is due when it has, one that comes twice in
autumn is due once. Source: https://github.com/cuu508/cronsim
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

OFF = "off"
_FIELDS = 5
_REPEATED_AT_MOST = timedelta(hours=3)


def check_schedule(text: str) -> str:
    """Give a cron expression or `off` back, tidied. Raises: ValueError for what is neither."""
    schedule = " ".join(text.split())
    if schedule.lower() == OFF:
        return OFF
    try:
        # A sixth field, of seconds, is nothing that cron knows.
        is_cron = len(schedule.split()) == _FIELDS and any(CronSim(schedule, datetime.now(UTC)))
    except CronSimError:
        is_cron = False
    if not is_cron:
        raise ValueError(
            f"{text!r} is no cron expression: five fields as in `0 2 * * *` (daily at 2:00), or `off`"
        )
    return schedule


def check_timezone(name: str) -> str:
    """Give the name of a time zone back. Raises: ValueError when there is none of that name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, or it leads out of the folder of zones
        raise ValueError(f"{name!r} is no time zone: one is Europe/Berlin, another UTC") from None
    return name


def next_times(schedule: str, timezone: str, after: datetime, count: int = 1) -> list[datetime]:
    """The next times, in UTC, at which a schedule is due; none when it is off."""
    return list(islice(_times(schedule, timezone, after, is_reversed=False), count))


def latest_time(schedule: str, timezone: str, before: datetime) -> datetime | None:
    """The latest time, in UTC, at which a schedule was due; None when it is off."""
    return next(_times(schedule, timezone, before, is_reversed=True), None)


def _times(schedule: str, timezone: str, start: datetime, *, is_reversed: bool) -> Iterator[datetime]:
    if schedule == OFF:
        return
    # Of an hour that comes twice, cronsim takes both for the first one.
    begin = start + _REPEATED_AT_MOST if is_reversed else start
    for local in CronSim(schedule, begin.astimezone(ZoneInfo(timezone)), reverse=is_reversed):
        time = local.astimezone(UTC)
        if time < start if is_reversed else time > start:
            yield time
