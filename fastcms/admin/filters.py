"""How templates write times and sizes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import humanize
from markupsafe import Markup, escape

from fastcms.backups.destination_words import describe_destination, describe_policy
from fastcms.backups.job_words import describe_job, describe_phase
from fastcms.database import utc_now

_TO_THE_TENTH_SECONDS = 10
_IN_DAYS = timedelta(days=61)
_MINUTES_PER_HOUR = 60


def ago(moment: datetime) -> str:
    """How long ago, as a person says it: '3 minutes ago'."""
    passed = utc_now() - moment
    if timedelta(days=2) <= passed < _IN_DAYS:  # humanize calls 16 days a month
        return f"{passed.days} days ago"
    return humanize.naturaltime(passed)


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def next_try(moment: datetime) -> str:
    """When something is tried again, as the end of a sentence; a time that has come is not told."""
    return f"The next try is at {utc_minute(moment)}" if moment > utc_now() else "It is tried again now"


def utc_minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def at_home(moment: datetime, timezone: str) -> str:
    """The same moment on the clocks of the site's time zone; nothing where that is UTC."""
    local = moment.astimezone(ZoneInfo(timezone))
    if not local.utcoffset():
        return ""
    is_same_day = local.date() == moment.astimezone(UTC).date()
    return f"{local:%H:%M} in {timezone}" if is_same_day else f"{local:%Y-%m-%d %H:%M} in {timezone}"


def size(size_bytes: int) -> str:
    """In units of 1000, as every message and command counts them."""
    return humanize.naturalsize(size_bytes)


def duration(seconds: float) -> str:
    """How long something took, short enough for a table: '1 min 15 s'."""
    if seconds < _TO_THE_TENTH_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < _MINUTES_PER_HOUR:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // _MINUTES_PER_HOUR} h {minutes % _MINUTES_PER_HOUR} min"


def with_code(text: str) -> Markup:
    """A text for people, in which commands stand between backticks."""
    parts = [str(escape(part)) for part in text.split("`")]
    return Markup("".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts)))  # noqa: S704 - escaped above


def without_name(text: str, name: str) -> str:
    """A reason as the page of what it is about shows it: the name stands above already."""
    return text.removeprefix(f"{name}: ")


def machine_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


ALL = {
    "ago": ago,
    "utc": utc,
    "utc_minute": utc_minute,
    "next_try": next_try,
    "at_home": at_home,
    "size": size,
    "duration": duration,
    "with_code": with_code,
    "without_name": without_name,
    "machine_time": machine_time,
    "parsed": datetime.fromisoformat,
    "destination_words": describe_destination,
    "policy_words": describe_policy,
    "job_words": describe_job,
    "phase_words": describe_phase,
}
