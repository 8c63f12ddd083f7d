"""What was done to backups, and marks of how far the schedule and the alarms are.

No restore touches it, and none needs it: see `history_file`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from fastcms.backups.history_file import reading, write
from fastcms.backups.job_files import Job, JobError, JobKind, JobState, Trigger, job_id_of
from fastcms.database import format_utc, utc_now
from fastcms.errors import BackupError
from fastcms.logs import get_logger
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_KEPT_FOR = timedelta(days=3 * 365)
# Of a site that has lost all of its files, a job lists every one.
_MOST_PROBLEMS = 100
# What the dashboard draws over the years; a site may have hundreds of collections, and millions of runs.
_KEPT_COUNTS = ("records", "files", "accounts")
_RUN = (
    "id, kind, trigger, state, requested_by, backup_filename, started, finished, size_bytes, error, details"
)


class RunKind(StrEnum):
    """What a run did: a job's kind, or what is over too quickly to be a job."""

    CREATE = "create"
    RESTORE = "restore"
    VERIFY = "verify"
    UPLOAD = "upload"
    FETCH = "fetch"
    COPY = "copy"
    PRUNE = "prune"
    DELETE = "delete"


class Run(BaseModel):
    """One thing that was done, or tried; times are UTC. A `restore` is its staging: see the receipts.

    `details` depend on the kind: how much is in a backup, what was pruned, why something was deleted.
    """

    id: str
    kind: RunKind
    trigger: Trigger
    state: JobState
    requested_by: str
    backup_filename: str | None = None
    started: datetime
    finished: datetime
    size_bytes: int | None = None
    error: JobError | None = None
    details: dict[str, Any] = {}


class Tally(NamedTuple):
    """How many runs have ended in one way, those included that are forgotten by now; code is the error's."""

    kind: str
    state: str
    code: str
    runs: int


class MadeBackup(NamedTuple):
    """A backup that was made here; times as text and counts as JSON, for there are many."""

    filename: str | None
    started: str
    finished: str
    size_bytes: int
    counts: str | None


def run_of(job: Job) -> Run:
    """What history keeps of a job that has ended."""
    result = job.result or {}
    return Run(
        id=job.id,
        kind=RunKind(job.kind),
        trigger=job.trigger,
        state=job.state,
        requested_by=job.requested_by,
        backup_filename=job.backup_filename,
        started=job.started,
        finished=job.finished or job.started,
        size_bytes=result.get("size_bytes"),
        error=job.error,
        details=_details_of(job, result),
    )


def _details_of(job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
    if job.kind is JobKind.CREATE:
        return _details_of_created(result)
    return {"destination": job.place} if job.place else {}


def note_done(
    site: Site,
    kind: RunKind,
    started: datetime,
    requested_by: str,
    *,
    trigger: Trigger = Trigger.MANUAL,
    error: JobError | None = None,
    backup_filename: str | None = None,
    size_bytes: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> Run:
    """Keep what was over too quickly to be a job, or was refused as one; with an error, it has failed."""
    run = Run(
        id=job_id_of(started),
        kind=kind,
        trigger=trigger,
        state=JobState.FAILED if error else JobState.SUCCEEDED,
        requested_by=requested_by,
        backup_filename=backup_filename,
        started=started,
        finished=utc_now(),
        size_bytes=size_bytes,
        error=error,
        details=dict(details or {}),
    )
    add_run(site, run)
    return run


def _details_of_created(result: Mapping[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if problems := result.get("problems"):
        details |= {"problems": problems[:_MOST_PROBLEMS], "problem_count": len(problems)}
    if counts := result.get("counts"):
        details["counts"] = {name: counts[name] for name in _KEPT_COUNTS if name in counts}
    return details


def add_run(site: Site, run: Run) -> None:
    """Keep a run; one that is there already stays as it is. Never raises: see `history_file`."""
    row = (
        run.id,
        run.kind,
        run.trigger,
        run.state,
        run.requested_by,
        run.backup_filename,
        format_utc(run.started),
        format_utc(run.finished),
        run.size_bytes,
        run.error.model_dump_json() if run.error else None,
        json.dumps(run.details),
    )

    def add(history: sqlite3.Connection) -> None:
        added = history.execute(
            f"INSERT OR IGNORE INTO runs ({_RUN}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608 - our own names
            row,
        ).rowcount
        if added:
            history.execute(
                "INSERT INTO tallies VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET runs = runs + 1",
                [run.kind, run.state, run.error.code if run.error else ""],
            )
        history.execute("DELETE FROM runs WHERE started < ?", [format_utc(utc_now() - _KEPT_FOR)])

    write(site, f"run {run.id}", add)


def list_runs(
    site: Site,
    *,
    kind: RunKind | None = None,
    state: JobState | None = None,
    trigger: Trigger | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    offset: int = 0,
    limit: int = -1,
) -> list[Run]:
    """The runs of some kind, newest first. Raises: BackupError when the history cannot be read."""
    where, values = _conditions(kind, state, trigger, since, until)
    with reading(site) as history:
        rows = history.execute(
            f"SELECT {_RUN} FROM runs {where} ORDER BY id DESC LIMIT ? OFFSET ?",  # noqa: S608 - our own names
            [*values, limit, offset],
        ).fetchall()
    return [_run_of(row) for row in rows]


def count_runs(
    site: Site, *, kind: RunKind | None = None, state: JobState | None = None, since: datetime | None = None
) -> int:
    """How many runs of some kind there are. Raises: BackupError."""
    where, values = _conditions(kind, state, None, since)
    with reading(site) as history:
        (count,) = history.execute(f"SELECT count(*) FROM runs {where}", values).fetchone()  # noqa: S608 - our own names
    return int(count)


def list_made(site: Site, until: datetime) -> list[MadeBackup]:
    """All backups that were made until then, the oldest first. Raises: BackupError."""
    where, values = _conditions(RunKind.CREATE, JobState.SUCCEEDED, None, None, until)
    with reading(site) as history:
        rows = history.execute(
            "SELECT backup_filename, started, finished, size_bytes, json_extract(details, '$.counts') "  # noqa: S608 - our own names
            f"FROM runs {where} AND size_bytes IS NOT NULL ORDER BY id",
            values,
        ).fetchall()
    return [MadeBackup._make(row) for row in rows]


def list_ids(site: Site, kinds: Sequence[RunKind], state: JobState) -> list[str]:
    """The ids of all runs of some kinds that ended in one way; an id is a time. Raises: BackupError."""
    marks = ", ".join("?" * len(kinds))
    with reading(site) as history:
        rows = history.execute(
            f"SELECT id FROM runs WHERE kind IN ({marks}) AND state = ?",  # noqa: S608 - question marks
            [*kinds, state],
        ).fetchall()
    return [row[0] for row in rows]


def find_runs(site: Site, ids: Sequence[str]) -> dict[str, Run]:
    """Some runs by their ids; those that are not there are left out. Raises: BackupError."""
    marks = ", ".join("?" * len(ids))
    with reading(site) as history:
        rows = history.execute(f"SELECT {_RUN} FROM runs WHERE id IN ({marks})", ids).fetchall()  # noqa: S608 - as above
    return {row[0]: _run_of(row) for row in rows}


def read_tallies(site: Site) -> list[Tally]:
    """How many runs there were so far, of each kind and end. Raises: BackupError."""
    with reading(site) as history:
        rows = history.execute("SELECT kind, state, code, runs FROM tallies ORDER BY 1, 2, 3").fetchall()
    return [Tally._make(row) for row in rows]


def latest_run(
    site: Site, kind: RunKind, *, state: JobState | None = None, trigger: Trigger | None = None
) -> Run | None:
    """The newest run of a kind, none that a wrong clock has put into the future. Raises: BackupError."""
    found = list_runs(site, kind=kind, state=state, trigger=trigger, until=utc_now(), limit=1)
    return next(iter(found), None)


def latest_pruning(site: Site, place: str | None = None) -> Run | None:
    """The newest run that removed backups of this machine, or copies at a place. Raises: BackupError."""
    where = "kind = ? AND started <= ? AND json_extract(details, '$.destination') IS ?"
    with reading(site) as history:
        row = history.execute(
            f"SELECT {_RUN} FROM runs WHERE {where} ORDER BY id DESC LIMIT 1",  # noqa: S608 - our own names
            [RunKind.PRUNE, format_utc(utc_now()), place],
        ).fetchone()
    return None if row is None else _run_of(row)


def read_mark(site: Site, name: str) -> Any:
    """What was last marked under a name, None if nothing: how far the schedule and the alarms are.

    Raises: BackupError.
    """
    with reading(site) as history:
        return _read_mark(history, name)


def _read_mark(history: sqlite3.Connection, name: str) -> Any:
    row = history.execute("SELECT value FROM marks WHERE name = ?", [name]).fetchone()
    try:
        return None if row is None else json.loads(row[0])
    except ValueError as error:  # somebody has edited it
        get_logger().warning("A mark in the history of backups makes no sense.", mark=name, reason=str(error))
        return None


def write_mark(site: Site, name: str, value: Any) -> None:
    """Remember a JSON value under a name. Never raises: see `history_file`."""
    change_mark(site, name, lambda _known: value)


def change_mark(site: Site, name: str, change: Callable[[Any], Any]) -> None:
    """Remember what becomes of the value that is remembered, in one transaction. Never raises, as above."""
    query = "INSERT OR REPLACE INTO marks VALUES (?, ?)"

    def replace(history: sqlite3.Connection) -> None:
        history.execute(query, [name, json.dumps(change(_read_mark(history, name)))])

    write(site, name, replace)


def _conditions(
    kind: RunKind | None,
    state: JobState | None,
    trigger: Trigger | None,
    since: datetime | None,
    until: datetime | None = None,
) -> tuple[str, list[str]]:
    found: dict[str, str | None] = {"kind = ?": kind, "state = ?": state, "trigger = ?": trigger}
    if since is not None:
        found["started >= ?"] = format_utc(since)
    if until is not None:
        found["started <= ?"] = format_utc(until)
    wanted = {condition: value for condition, value in found.items() if value is not None}
    return f"WHERE {' AND '.join(wanted)}" if wanted else "", list(wanted.values())


def _run_of(row: tuple[Any, ...]) -> Run:
    values = dict(zip(_RUN.split(", "), row, strict=True))
    values |= {
        "details": json.loads(values["details"]),
        "error": values["error"] and json.loads(values["error"]),
    }
    try:
        return Run.model_validate(values)
    except ValidationError as error:
        raise BackupError(
            f"The history of backups has a run that this version of FastCMS does not know: {row[0]}.",
            hint="Use the newer version again, or move data/backups/history.db away: it is begun anew.",
            code="history_too_new",
        ) from error
