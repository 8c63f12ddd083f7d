"""How backups, what is in them, and the disk have grown: what charts draw, and the same in a sentence.

Read from the history, which remembers backups that were removed long ago. Of many, some are taken evenly.
"""

import json
import statistics
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

from humanize import naturalsize
from pydantic import BaseModel

from fastcms.backups import history
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import list_backups
from fastcms.backups.storage import Storage, measure_storage, read_observed
from fastcms.database import format_utc, utc_now
from fastcms.site import Site

_MOST_POINTS = 100
_FEWEST_POINTS = 2
_MANY_SECONDS = 120
_COME_BACK = "There is too little to draw yet: come back after the second backup."

Point = TypeVar("Point")


class BackupPoint(BaseModel):
    """How large a backup was, and how long it took to make, if that is known."""

    time: datetime
    size_bytes: int
    seconds: float | None


class ContentPoint(BaseModel):
    """How much was in a backup."""

    time: datetime
    records: int
    files: int
    accounts: int


class DiskPoint(BaseModel):
    """How full the disk was on a day."""

    date: date
    used_bytes: int
    total_bytes: int


class Sentences(BaseModel):
    """What each chart shows, in words."""

    size: str
    duration: str
    contents: str
    disk: str


class Trends(BaseModel):
    """How things have grown, the oldest first; no list has more than 100 points.

    `full_on` is null while the disk does not fill up, or while nobody can tell yet.
    """

    sentences: Sentences
    backups: list[BackupPoint]
    contents: list[ContentPoint]
    disk: list[DiskPoint]
    full_on: date | None


class _Made(NamedTuple):
    """A backup as the history remembers it, times as text, for there are many."""

    started: str
    finished: str | None
    size_bytes: int
    seconds: float | None = None
    counts: str | None = None


def find_trends(site: Site, now: datetime | None = None, backups: Sequence[Backup] | None = None) -> Trends:
    """How things have grown; whoever has listed the backups already need not do it twice.

    Raises: BackupError.
    """
    now = now or utc_now()
    listed = list_backups(site) if backups is None else backups
    made = _find_made(site, now, listed)
    points = [_describe(one) for one in _thin(made)]
    contents = [_count(one) for one in _thin([one for one in made if one.counts])]
    disk = [
        DiskPoint(date=date.fromisoformat(day), used_bytes=used_bytes, total_bytes=total_bytes)
        for day, (used_bytes, total_bytes) in sorted(read_observed(site).items())
    ]
    storage = measure_storage(site, now, listed)
    return Trends(
        sentences=Sentences(
            size=_tell_size(points),
            duration=_tell_duration([point.seconds for point in points if point.seconds is not None]),
            contents=_tell_contents(contents),
            disk=_tell_disk(storage),
        ),
        backups=points,
        contents=contents,
        disk=disk,
        full_on=storage.full_on,
    )


def _find_made(site: Site, now: datetime, listed: Sequence[Backup]) -> list[_Made]:
    """Every backup that was made here, the oldest first; also those that only the folder knows."""
    remembered = history.list_made(site, now)
    known = {one.filename for one in remembered}
    made = [_Made(one.started, one.finished, one.size_bytes, counts=one.counts) for one in remembered]
    made += [
        _Made(format_utc(backup.created), None, backup.size_bytes, backup.notes.seconds)
        for backup in listed
        if backup.filename not in known and backup.kind is not BackupKind.UPLOADED and backup.created <= now
    ]
    return sorted(made)


def _thin(points: Sequence[Point]) -> list[Point]:
    """The first, the newest, and what is evenly between them."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(_MOST_POINTS)]


def _describe(made: _Made) -> BackupPoint:
    time, seconds = datetime.fromisoformat(made.started), made.seconds
    if made.finished is not None:
        seconds = max((datetime.fromisoformat(made.finished) - time).total_seconds(), 0.0)
    return BackupPoint(time=time, size_bytes=made.size_bytes, seconds=seconds)


def _count(made: _Made) -> ContentPoint:
    counts: dict[str, Any] = json.loads(made.counts or "{}")
    return ContentPoint(
        time=datetime.fromisoformat(made.started),
        records=counts.get("records", 0),
        files=counts.get("files", 0),
        accounts=counts.get("accounts", 0),
    )


def _tell_size(points: Sequence[BackupPoint]) -> str:
    if len(points) < _FEWEST_POINTS:
        return _COME_BACK
    first, newest = points[0], points[-1]
    largest = max(point.size_bytes for point in points)
    return (
        f"From {naturalsize(first.size_bytes)} on {_day(first.time)} to {naturalsize(newest.size_bytes)} on "
        f"{_day(newest.time)}. The largest had {naturalsize(largest)}."
    )


def _tell_duration(seconds: Sequence[float]) -> str:
    if len(seconds) < _FEWEST_POINTS:
        return _COME_BACK
    usual, longest = statistics.median(seconds), max(seconds)
    return (
        f"The latest backup took {_duration(seconds[-1])}. Half of them took {_duration(usual)} or less, "
        f"the slowest {_duration(longest)}."
    )


def _tell_contents(points: Sequence[ContentPoint]) -> str:
    if len(points) < _FEWEST_POINTS:
        return "There is too little to draw yet: what is in a backup is counted from now on."
    first, newest = points[0], points[-1]
    return f"From {_contents(first)} on {_day(first.time)} to {_contents(newest)} on {_day(newest.time)}."


def _tell_disk(storage: Storage) -> str:
    disk = storage.disk
    used = naturalsize(disk.total_bytes - disk.free_bytes)
    now = f"{used} of {naturalsize(disk.total_bytes)} are used, {naturalsize(disk.free_bytes)} are free."
    if storage.growth_bytes_per_day is None:
        return f"{now} How quickly it fills up can be told after a week of backups."
    if storage.full_on is None:
        return f"{now} It does not fill up, or only in many years."
    growth = naturalsize(storage.growth_bytes_per_day)
    return f"{now} If it fills up as now, by {growth} a day, it is full on {_day(storage.full_on)}."


def _contents(point: ContentPoint) -> str:
    return (
        f"{_many(point.records, 'record')}, {_many(point.files, 'file')} and "
        f"{_many(point.accounts, 'account')}"
    )


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _day(moment: date) -> str:
    return f"{moment:%-d %B %Y}"


def _duration(seconds: float) -> str:
    if seconds < _MANY_SECONDS:
        return f"{seconds:.1f} seconds"
    return f"{seconds / 60:.0f} minutes"
