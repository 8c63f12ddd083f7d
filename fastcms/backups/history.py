"""What was done to backups, and what is noted of each: data/backups/history.db, which no restore touches.

Nothing that it holds is needed for a restore. So whoever cannot write it goes on, and says so in the log, and
a damaged one is set aside and begun anew.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from fastcms.backups.engine.paths import beside
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.job_files import Job, JobError, JobState, Trigger
from fastcms.database import format_utc, utc_now
from fastcms.logs import get_logger
from fastcms.site import Site, make_folders
from fastcms.sqlite import sqlite3

_BUSY_TIMEOUT_SECONDS = 10
_KEPT_FOR = timedelta(days=3 * 365)
# Set free again at once, in the file and in its journal: what a full disk has made fail can still be noted.
_RESERVED_BYTES = 256 * 1024
_RESERVED_PAGES = 8
_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, trigger TEXT NOT NULL, state TEXT NOT NULL,
    requested_by TEXT NOT NULL, backup_filename TEXT, started TEXT NOT NULL, finished TEXT NOT NULL,
    size_bytes INTEGER, error TEXT, details TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_kind ON runs (kind, state, id);
CREATE TABLE notes (
    filename TEXT PRIMARY KEY, trigger TEXT, seconds REAL, app_version TEXT, pinned TEXT, pinned_by TEXT,
    verified TEXT, verified_level TEXT, verified_outcome TEXT, verified_reason TEXT,
    report TEXT
) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reserve (content BLOB) STRICT;
"""
_RUN = (
    "id, kind, trigger, state, requested_by, backup_filename, started, finished, size_bytes, error, details"
)
_NOTES = (
    "filename, trigger, seconds, app_version, pinned, pinned_by, "
    "verified, verified_level, verified_outcome, verified_reason"
)


class RunKind(StrEnum):
    """What a run did: a job's kind, or what is over too quickly to be a job."""

    CREATE = "create"
    RESTORE = "restore"
    VERIFY = "verify"
    UPLOAD = "upload"
    PRUNE = "prune"
    DELETE = "delete"


class Run(BaseModel):
    """One thing that was done, or tried; times are UTC. A `restore` is its staging: see the receipts.

    `details` depend on the kind: what was pruned, why something was deleted.
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


class VerificationLevel(StrEnum):
    """light: every byte was compared with its checksum. full: a site was restored from it and started."""

    LIGHT = "light"
    FULL = "full"


class VerificationOutcome(StrEnum):
    OK = "ok"
    FAILED = "failed"


class Notes(NamedTuple):
    """What is known of one backup beside its archive; times as text, for there are many."""

    filename: str
    trigger: str | None = None
    seconds: float | None = None
    app_version: str | None = None
    pinned: str | None = None
    pinned_by: str | None = None
    verified: str | None = None
    verified_level: str | None = None
    verified_outcome: str | None = None
    verified_reason: str | None = None


def history_path(site: Site) -> Path:
    return data_paths(site).backups_dir / "history.db"


def run_of(job: Job) -> Run:
    """What history keeps of a job that has ended."""
    size_bytes = (job.result or {}).get("size_bytes")
    return Run(
        id=job.id,
        kind=RunKind(job.kind),
        trigger=job.trigger,
        state=job.state,
        requested_by=job.requested_by,
        backup_filename=job.backup_filename,
        started=job.started,
        finished=job.finished or job.started,
        size_bytes=size_bytes,
        error=job.error,
    )


def add_run(site: Site, run: Run) -> None:
    """Keep a run; one that is there already stays as it is. Never raises: see above."""
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
    with _noting(site, f"run {run.id}") as history:
        history.execute(f"INSERT OR IGNORE INTO runs ({_RUN}) VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - our own names
        history.execute("DELETE FROM runs WHERE started < ?", [format_utc(utc_now() - _KEPT_FOR)])


def list_runs(
    site: Site,
    *,
    kind: RunKind | None = None,
    state: JobState | None = None,
    trigger: Trigger | None = None,
    since: datetime | None = None,
    offset: int = 0,
    limit: int = -1,
) -> list[Run]:
    """The runs of some kind, newest first. Raises: BackupError when the history cannot be read."""
    where, values = _conditions(kind, state, trigger, since)
    with _reading(site) as history:
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
    with _reading(site) as history:
        (count,) = history.execute(f"SELECT count(*) FROM runs {where}", values).fetchone()  # noqa: S608 - our own names
    return int(count)


def latest_run(
    site: Site, kind: RunKind, *, state: JobState | None = None, trigger: Trigger | None = None
) -> Run | None:
    """The newest run of a kind. Raises: BackupError."""
    return next(iter(list_runs(site, kind=kind, state=state, trigger=trigger, limit=1)), None)


def read_notes(site: Site) -> dict[str, Notes]:
    """What is noted of each backup, by filename; some may have been deleted since. Raises: BackupError."""
    with _reading(site) as history:
        rows = history.execute(f"SELECT {_NOTES} FROM notes").fetchall()  # noqa: S608 - our own names
    return {row[0]: Notes._make(row) for row in rows}


def note(site: Site, filename: str, **changed: Any) -> None:
    """Note something of a backup, by the names of `Notes`' fields and `report`. Never raises: see above."""
    columns = list(changed)
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
    query = (
        f"INSERT INTO notes (filename, {', '.join(columns)}) VALUES (?{', ?' * len(columns)}) "  # noqa: S608 - our own names
        f"ON CONFLICT (filename) DO UPDATE SET {updates}"
    )
    with _noting(site, filename) as history:
        history.execute(query, [filename, *changed.values()])


def forget_notes(site: Site, filename: str) -> None:
    """Forget what was noted of a backup that was deleted. Never raises: see above."""
    with _noting(site, filename) as history:
        history.execute("DELETE FROM notes WHERE filename = ?", [filename])


def read_report(site: Site, filename: str) -> dict[str, Any] | None:
    """The report of a backup's latest verification. Raises: BackupError."""
    with _reading(site) as history:
        row = history.execute("SELECT report FROM notes WHERE filename = ?", [filename]).fetchone()
    report: dict[str, Any] | None = json.loads(row[0]) if row and row[0] else None
    return report


def read_mark(site: Site, name: str) -> Any:
    """What was last marked under a name, None if nothing: how far the schedule and the alarms are.

    Raises: BackupError.
    """
    with _reading(site) as history:
        row = history.execute("SELECT value FROM marks WHERE name = ?", [name]).fetchone()
    return None if row is None else json.loads(row[0])


def write_mark(site: Site, name: str, value: Any) -> None:
    """Remember a JSON value under a name. Never raises: see above."""
    with _noting(site, name) as history:
        history.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", [name, json.dumps(value)])


def _conditions(
    kind: RunKind | None, state: JobState | None, trigger: Trigger | None, since: datetime | None
) -> tuple[str, list[str]]:
    found: dict[str, str | None] = {"kind = ?": kind, "state = ?": state, "trigger = ?": trigger}
    if since is not None:
        found["started >= ?"] = format_utc(since)
    wanted = {condition: value for condition, value in found.items() if value is not None}
    return f"WHERE {' AND '.join(wanted)}" if wanted else "", list(wanted.values())


def _run_of(row: tuple[Any, ...]) -> Run:
    values = dict(zip(_RUN.split(", "), row, strict=True))
    values |= {
        "details": json.loads(values["details"]),
        "error": values["error"] and json.loads(values["error"]),
    }
    return Run.model_validate(values)


@contextmanager
def _noting(site: Site, what: str) -> Iterator[sqlite3.Connection]:
    try:
        make_folders(data_paths(site).backups_dir)
        with closing(_open(history_path(site))) as history:
            history.execute("BEGIN IMMEDIATE")
            yield history
            history.execute("COMMIT")
            _reserve(history)
    except (sqlite3.Error, OSError) as error:
        get_logger().warning("The history of backups could not be written.", what=what, reason=str(error))


@contextmanager
def _reading(site: Site) -> Iterator[sqlite3.Connection]:
    with explained("Reading the history of backups"):
        make_folders(data_paths(site).backups_dir)
        with closing(_open(history_path(site))) as history:
            yield history


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.OperationalError:  # locked, full, or a broken disk: the file itself may be sound
        raise
    except sqlite3.DatabaseError as error:
        kept_path = beside(path, f".damaged-{utc_now():%Y%m%d_%H%M%S}")
        path.replace(kept_path)
        beside(path, "-journal").unlink(missing_ok=True)
        get_logger().error(
            "The history of backups is damaged, and begun anew.", kept=str(kept_path), reason=str(error)
        )
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # the journal has the same mode
    history = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        # The journal keeps its blocks: see _RESERVED_BYTES.
        history.execute("PRAGMA journal_mode = PERSIST")
        (version,) = history.execute("PRAGMA user_version").fetchone()
        if version < _VERSION:
            _create(history)
    except sqlite3.Error:
        history.close()
        raise
    return history


def _create(history: sqlite3.Connection) -> None:
    history.execute("BEGIN IMMEDIATE")
    (version,) = history.execute("PRAGMA user_version").fetchone()
    if version < _VERSION:  # nobody else was quicker
        for statement in filter(str.strip, _SCHEMA.split(";")):
            history.execute(statement)
        history.execute(f"PRAGMA user_version = {_VERSION}")
    history.execute("COMMIT")
    _reserve(history)


def _reserve(history: sqlite3.Connection) -> None:
    (free_pages,) = history.execute("PRAGMA freelist_count").fetchone()
    if free_pages < _RESERVED_PAGES:
        history.execute("INSERT INTO reserve VALUES (zeroblob(?))", [_RESERVED_BYTES])
        history.execute("DELETE FROM reserve")
