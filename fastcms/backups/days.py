"""What became of backups on each of the last 30 days, as the site's clocks count them.

Nothing is claimed that is not known: of a day before the first look at the schedule, nobody can say that a
backup was due.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from fastcms.backups import history
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import Job, JobKind, JobState, list_jobs
from fastcms.backups.schedule import GRACE
from fastcms.backups.schedule_history import HeldSchedule, first_due, held_schedules, is_known
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import list_backups
from fastcms.database import utc_now
from fastcms.site import Site

_SHOWN_DAYS = 30


class DayState(StrEnum):
    """What became of a day. overdue: a backup was due, and was not made. waiting: it is due later today."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    RUNNING = "running"
    OVERDUE = "overdue"
    WAITING = "waiting"
    NONE_EXPECTED = "none_expected"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    DayState.OK: "backed up",
    DayState.WARNING: "with warnings",
    DayState.FAILED: "failed",
    DayState.RUNNING: "running now",
    DayState.OVERDUE: "overdue",
    DayState.WAITING: "not due yet",
    DayState.NONE_EXPECTED: "none expected",
    DayState.UNKNOWN: "no record",
}


class Day(BaseModel):
    """One day: how many backups were made and how many have failed, and what there is to say of it."""

    date: date
    state: DayState
    sentence: str
    made: int
    failed: int


class Days(BaseModel):
    """The last 30 days in the site's time zone, oldest first; `counts` says how many are in each state."""

    timezone: str
    sentence: str
    counts: dict[DayState, int]
    items: list[Day]


@dataclass(frozen=True)
class _Made:
    started: datetime
    problem_count: int = 0


@dataclass
class _Events:
    """What happened on one day, the oldest first."""

    made: list[_Made] = field(default_factory=list)
    failed: list[Run] = field(default_factory=list)
    cancelled: list[Run] = field(default_factory=list)
    running: list[Job] = field(default_factory=list)
    doubts: list[Run] = field(default_factory=list)


class _Calendar:
    """What is known of the days that are shown."""

    def __init__(self, site: Site, now: datetime, zone: ZoneInfo, backups: Sequence[Backup]) -> None:
        self.now, self.zone = now, zone
        self.today = now.astimezone(zone).date()
        self.dates = [self.today - timedelta(days=number) for number in reversed(range(_SHOWN_DAYS))]
        self.held: Sequence[HeldSchedule] = held_schedules(site)
        self.events: defaultdict[date, _Events] = defaultdict(_Events)
        self.begins = min([self._gather(site, backups), *(one.since for one in self.held)])

    def begin_of(self, day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone)

    def clock(self, moment: datetime) -> str:
        return f"{moment.astimezone(self.zone):%H:%M}"

    def on(self, moment: datetime) -> _Events:
        return self.events[moment.astimezone(self.zone).date()]

    def was_made_soon_after(self, due: datetime) -> datetime | None:
        """When a backup was begun that was due shortly before midnight."""
        made = [*self.on(due).made, *self.on(due + GRACE).made]
        return next((one.started for one in made if due <= one.started <= due + GRACE), None)

    def _gather(self, site: Site, backups: Sequence[Backup]) -> datetime:
        """Put each event to its day; return when the first one was of which anything is known."""
        since = self.begin_of(self.dates[0])
        runs = history.list_runs(site, kind=RunKind.CREATE, since=since, until=self.now)
        known = {run.id for run in runs}
        for job in list_jobs(site):
            if job.kind is JobKind.CREATE and since <= job.started <= self.now:
                if job.is_running:
                    self.on(job.started).running.append(job)
                elif job.id not in known:  # its process was killed before it could note it
                    runs.append(history.run_of(job))
        for run in sorted(runs, key=lambda run: run.id):
            self._add(run)
        filenames = {run.backup_filename for run in runs}
        own = [backup for backup in backups if backup.kind is not BackupKind.UPLOADED]
        for backup in reversed(own):
            # What the history has lost is there all the same.
            if backup.filename not in filenames and since <= backup.created <= self.now:
                self.on(backup.created).made.append(_Made(backup.created))
        for run in history.list_runs(
            site, kind=RunKind.VERIFY, state=JobState.FAILED, since=since, until=self.now
        ):
            self.on(run.started).doubts.append(run)
        older = history.list_runs(site, until=since, limit=1)
        times = [run.started for run in (*older, *runs)] + [backup.created for backup in own]
        return min([self.now, *times])

    def _add(self, run: Run) -> None:
        events = self.on(run.started)
        if run.state is JobState.SUCCEEDED:
            events.made.append(_Made(run.started, run.details.get("problem_count", 0)))
        elif run.state is JobState.FAILED:
            events.failed.append(run)
        else:
            events.cancelled.append(run)


def list_days(site: Site, now: datetime | None = None, backups: Sequence[Backup] | None = None) -> Days:
    """What became of each of the last 30 days; whoever has listed the backups need not do it twice.

    Raises: BackupError when the history cannot be read.
    """
    timezone = read_settings(site).timezone
    listed = list_backups(site) if backups is None else backups
    calendar = _Calendar(site, now or utc_now(), ZoneInfo(timezone), listed)
    items = [_describe(calendar, day) for day in calendar.dates]
    found = Counter(day.state for day in items)
    counts = {state: found[state] for state in DayState if found[state]}
    told = ", ".join(f"{count} {state.label}" for state, count in counts.items())
    return Days(
        timezone=timezone, sentence=f"The last {_SHOWN_DAYS} days: {told}.", counts=counts, items=items
    )


def _describe(calendar: _Calendar, day: date) -> Day:
    events = calendar.events.get(day, _Events())
    state, sentence = _judge(calendar, day, events)
    return Day(date=day, state=state, sentence=sentence, made=len(events.made), failed=len(events.failed))


def _judge(calendar: _Calendar, day: date, events: _Events) -> tuple[DayState, str]:
    told = [_tell_made(calendar, events)] if events.made else []
    if events.running:
        return DayState.RUNNING, " ".join(
            [f"A backup is being made since {calendar.clock(events.running[-1].started)}.", *told]
        )
    warnings = _find_warnings(calendar, events)
    if events.made:
        return DayState.WARNING if warnings else DayState.OK, " ".join([*told, *warnings])
    if events.failed:
        return DayState.FAILED, " ".join(warnings)
    state, sentence = _judge_without_any(calendar, day)
    if events.cancelled:
        sentence += " One was cancelled."
    if events.doubts and state is not DayState.OVERDUE:
        state = DayState.WARNING
    return state, " ".join([sentence, *warnings])


def _tell_made(calendar: _Calendar, events: _Events) -> str:
    latest = calendar.clock(max(one.started for one in events.made))
    count = len(events.made)
    return f"1 backup, at {latest}." if count == 1 else f"{count} backups, the last at {latest}."


def _find_warnings(calendar: _Calendar, events: _Events) -> list[str]:
    warnings = []
    if events.failed:
        latest = events.failed[-1]
        reason = latest.error.detail if latest.error else "The reason is not known."
        warnings.append(f"Failed{_times(len(events.failed))} at {calendar.clock(latest.started)}: {reason}")
    if any(one.problem_count for one in events.made):
        count = max(one.problem_count for one in events.made)
        warnings.append(f"Not all of the site was in order: {count} problem{'' if count == 1 else 's'}.")
    if events.doubts:
        latest = events.doubts[0]  # the history has the newest first
        reason = latest.error.detail if latest.error else "The reason is not known."
        warnings.append(f"The verification of {latest.backup_filename} failed: {reason}")
    return warnings


def _times(count: int) -> str:
    return {1: "", 2: " twice, the last time"}.get(count, f" {count} times, the last time")


def _judge_without_any(calendar: _Calendar, day: date) -> tuple[DayState, str]:
    """A day without any backup, made or failed."""
    begin, end = calendar.begin_of(day), calendar.begin_of(day + timedelta(days=1))
    due = first_due(calendar.held, begin, end)
    if due is not None and due + GRACE < calendar.now:
        made = calendar.was_made_soon_after(due)
        if made is None:
            return DayState.OVERDUE, f"A backup was due at {calendar.clock(due)} and was not made."
        return (
            DayState.OK,
            f"The backup that was due at {calendar.clock(due)} was made at {calendar.clock(made)}.",
        )
    if due is not None:
        is_late = due <= calendar.now
        return DayState.WAITING, f"A backup is due {'since' if is_late else 'at'} {calendar.clock(due)}."
    if end <= calendar.begins:
        return DayState.UNKNOWN, "There is no record of this day."
    if not is_known(calendar.held, end):
        return DayState.UNKNOWN, "No backup was made. Whether one was due is not known."
    return DayState.NONE_EXPECTED, "No backup was due."
