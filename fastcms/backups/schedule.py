"""What is due: what the schedules say, and what was noticed of them so far, kept among the marks of history.

A due time is noticed at the first look after it. Of several that nobody has seen to, the latest stands for
all: one run catches up. Times before the first backup, or before a change of the schedule, are never due.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError

from fastcms.backups import history
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.history import RunKind
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobKind, JobState, list_jobs
from fastcms.backups.schedule_history import note_schedule
from fastcms.backups.service import find_newest, list_backups
from fastcms.cron import OFF, check_schedule, check_timezone, latest_time, next_times
from fastcms.errors import BackupError
from fastcms.logs import get_logger
from fastcms.site import Site

# What failed is tried again so long after it failed; then it is left until the next due time.
_RETRY_AFTER = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=3))
# A server waits for up to a minute, see `upkeep`; and one retry is no reason to alarm anybody.
GRACE = timedelta(hours=1, minutes=1)
# An attempt that has run for so long is stuck.
_LONGEST_ATTEMPT = timedelta(days=1)


class Duty(StrEnum):
    """What has a schedule."""

    BACKUP = "backup"
    VERIFICATION = "verification"


class _Noticed(BaseModel):
    """Up to when due times were noticed, and of those that are not done the first and the latest."""

    model_config = ConfigDict(frozen=True)

    schedule: Annotated[str, AfterValidator(check_schedule)]
    timezone: Annotated[str, AfterValidator(check_timezone)]
    until: AwareDatetime
    first_due: AwareDatetime | None = None
    due: AwareDatetime | None = None
    attempts: int = 0
    tried: AwareDatetime | None = None

    @property
    def next_attempt(self) -> datetime | None:
        """When what is due is to be tried; None when nothing is due, or all tries have failed."""
        if self.due is None or self.attempts > len(_RETRY_AFTER):
            return None
        return self.due if self.tried is None else self.tried + _RETRY_AFTER[self.attempts - 1]


def find_due(site: Site, duty: Duty, now: datetime) -> datetime | None:
    """The due time that is to be seen to now. Raises: BackupError when the history cannot be read."""
    noticed = _look(site, duty, now)
    return noticed.due if noticed.next_attempt and noticed.next_attempt <= now else None


def begin(site: Site, duty: Duty, now: datetime) -> bool:
    """Whether something is to be done now; then the attempt is counted, before a kill could hide it.

    Raises: BackupError when that cannot be remembered: it would be done again and again.
    """
    before, noticed = _read(site, duty), _look(site, duty, now)
    if before is not None and now < before.until:
        get_logger().warning("The clock was set back.", duty=duty, now=now, noticed_until=before.until)
    is_due = noticed.next_attempt is not None and noticed.next_attempt <= now
    if is_due:
        noticed = noticed.model_copy(update={"attempts": noticed.attempts + 1, "tried": now})
    if noticed != before:
        _write(site, duty, noticed)
    if duty is Duty.BACKUP:
        note_schedule(site, noticed.schedule, noticed.timezone, now)
    return is_due


def succeed(site: Site, duty: Duty) -> None:
    """Take what was due for done. Raises: BackupError."""
    if (noticed := _read(site, duty)) is not None:
        _write(site, duty, _without_due(noticed))


def fail(site: Site, duty: Duty, now: datetime) -> None:
    """Remember when the attempt failed: the next one comes a while after. Raises: BackupError."""
    if (noticed := _read(site, duty)) is not None:
        _write(site, duty, noticed.model_copy(update={"tried": now}))


def withdraw(site: Site, duty: Duty) -> None:
    """Take the attempt for none, because others were in the way: it is due at once. Raises: BackupError."""
    if (noticed := _read(site, duty)) is not None:
        attempts = max(noticed.attempts - 1, 0)
        _write(site, duty, noticed.model_copy(update={"attempts": attempts, "tried": None}))


def next_run(site: Site, duty: Duty, now: datetime) -> datetime | None:
    """When it is to be done next, or tried again; None when its schedule is off. Raises: BackupError."""
    noticed = _look(site, duty, now)
    upcoming = next_times(noticed.schedule, noticed.timezone, now)
    if noticed.next_attempt is not None:
        upcoming.append(max(noticed.next_attempt, now))
    return min(upcoming, default=None)


def next_runs(site: Site, count: int, now: datetime) -> list[datetime]:
    """The next due times of a backup, in the time zone of the schedule."""
    settings = read_settings(site)
    times = next_times(settings.schedule, settings.timezone, now, count)
    return [time.astimezone(ZoneInfo(settings.timezone)) for time in times]


def overdue_since(site: Site, now: datetime) -> datetime | None:
    """The first due time that no backup was made after, by whomever, unless one is being made now.

    Raises: BackupError.
    """
    noticed = _look(site, Duty.BACKUP, now)
    since = noticed.first_due
    made = history.latest_run(site, RunKind.CREATE, state=JobState.SUCCEEDED)
    if since is not None and made is not None and since <= made.started <= now:
        since = next(iter(next_times(noticed.schedule, noticed.timezone, made.started)), None)
    if since is None or now <= since + GRACE:
        return None
    is_running = any(
        job.is_running and job.kind is JobKind.CREATE and job.started > now - _LONGEST_ATTEMPT
        for job in list_jobs(site)
    )
    return None if is_running else since


def _look(site: Site, duty: Duty, now: datetime) -> _Noticed:
    """What there is to notice now; nothing is written."""
    settings = read_settings(site)
    schedule = settings.schedule if duty is Duty.BACKUP else settings.verify_schedule
    noticed = _read(site, duty)
    if noticed is None:
        noticed = _Noticed(schedule=schedule, timezone=settings.timezone, until=_first_until(site, duty, now))
    noticed = _with_due(_not_later(noticed, now), now)
    if (noticed.schedule, noticed.timezone) != (schedule, settings.timezone):
        # What was due before is still to be done; of the new schedule, what comes from now on.
        update = {"schedule": schedule, "timezone": settings.timezone, "until": now}
        noticed = noticed.model_copy(update=update)
    return _without_due(noticed) if schedule == OFF else noticed


def _first_until(site: Site, duty: Duty, now: datetime) -> datetime:
    """Where to begin without a mark: a backup that is there may be all that is left of an earlier history."""
    newest = find_newest(list_backups(site)) if duty is Duty.BACKUP else None
    return now if newest is None else min(newest.created, now)


def _with_due(noticed: _Noticed, now: datetime) -> _Noticed:
    # This very moment is a due time, too.
    latest = latest_time(noticed.schedule, noticed.timezone, now + timedelta(microseconds=1))
    if latest is None or latest <= noticed.until:
        return noticed
    (first,) = next_times(noticed.schedule, noticed.timezone, noticed.until)
    first_due = noticed.first_due or first
    update = {"until": latest, "first_due": first_due, "due": latest, "attempts": 0, "tried": None}
    return noticed.model_copy(update=update)


def _without_due(noticed: _Noticed) -> _Noticed:
    return noticed.model_copy(update={"first_due": None, "due": None, "attempts": 0, "tried": None})


def _not_later(noticed: _Noticed, now: datetime) -> _Noticed:
    """After the clock was set back: what comes once more is due once more, and no retry waits for long."""
    later = {
        name: now
        for name in ("until", "first_due", "due", "tried")
        if (time := getattr(noticed, name)) is not None and time > now
    }
    return noticed.model_copy(update=later)


def _read(site: Site, duty: Duty) -> _Noticed | None:
    """What was noticed so far; None before the first look, and when it makes no sense any more."""
    mark = history.read_mark(site, f"schedule:{duty}")
    try:
        return None if mark is None else _Noticed.model_validate(mark)
    except ValidationError as error:
        get_logger().warning("What was noticed of a schedule is begun anew.", duty=duty, reason=str(error))
        return None


def _write(site: Site, duty: Duty, noticed: _Noticed) -> None:
    mark = noticed.model_dump(mode="json")
    history.write_mark(site, f"schedule:{duty}", mark)
    if history.read_mark(site, f"schedule:{duty}") != mark:
        raise BackupError(
            f"That a {duty} is due, or done, could not be noted in {history_path(site)}.",
            hint="The log says why. Look at the disk's free space, and at the owner of that file.",
        )
