"""Which schedule held when: what tells a day on which a backup was due from one on which none was expected.

Kept among the marks of history since somebody first looked at the schedule. Of the time before, nothing is
known, and nothing is claimed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from fastcms.backups import history
from fastcms.cron import check_schedule, check_timezone, next_times
from fastcms.database import format_utc
from fastcms.logs import get_logger
from fastcms.site import Site

_MARK = "schedules"
_KEPT_FOR = timedelta(days=60)
_INSTANT = timedelta(microseconds=1)


class HeldSchedule(BaseModel):
    """A schedule of backups and its time zone, in force since then, and until the next one's time."""

    model_config = ConfigDict(frozen=True)

    since: AwareDatetime
    schedule: Annotated[str, AfterValidator(check_schedule)]
    timezone: Annotated[str, AfterValidator(check_timezone)]


_ALL = TypeAdapter(list[HeldSchedule])


def note_schedule(site: Site, schedule: str, timezone: str, now: datetime) -> None:
    """Remember that this schedule is in force, unless that is known. Raises: BackupError."""
    held = held_schedules(site)
    # What a wrong clock has noted in the future would hide what comes until then.
    known = [one for one in held if one.since <= now]
    is_noted = bool(known) and (known[-1].schedule, known[-1].timezone) == (schedule, timezone)
    if is_noted and known == held:
        return
    if not is_noted:
        known.append(HeldSchedule(since=now, schedule=schedule, timezone=timezone))
    # The one that held when the kept time began is needed, too.
    kept = [
        one
        for one, following in zip_longest(known, known[1:])
        if following is None or following.since > now - _KEPT_FOR
    ]
    history.write_mark(
        site, _MARK, [one.model_dump(mode="json") | {"since": format_utc(one.since)} for one in kept]
    )


def held_schedules(site: Site) -> list[HeldSchedule]:
    """The schedules of the latest two months, oldest first. Raises: BackupError."""
    try:
        return _ALL.validate_python(history.read_mark(site, _MARK) or [])
    except ValidationError as error:
        get_logger().warning("The schedules of before are not known any more.", reason=str(error))
        return []


def is_known(held: Sequence[HeldSchedule], until: datetime) -> bool:
    """Whether any schedule is known of a time that ends then."""
    return bool(held) and held[0].since < until


def first_due(held: Sequence[HeldSchedule], begin: datetime, end: datetime) -> datetime | None:
    """The first time from begin on, and before end, at which a backup was, or will be, due."""
    for one, following in zip_longest(held, held[1:]):
        its_begin = max(begin, one.since)
        its_end = end if following is None else min(end, following.since)
        if its_begin < its_end:
            due = next(iter(next_times(one.schedule, one.timezone, its_begin - _INSTANT)), None)
            if due is not None and due < its_end:
                return due
    return None
