"""What was done to backups, and what is noted of each: data/backups/history.db, which no restore touches.

Nothing that it holds is needed for a restore. So whoever cannot write it goes on, and says so in the log, and
a damaged one is set aside and begun anew.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from fastcms.backups.engine.paths import beside
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.job_files import Job, JobError, JobKind, JobState, Trigger
from fastcms.database import format_utc, utc_now
from fastcms.errors import ConfigError
from fastcms.logs import get_logger
from fastcms.site import Site, make_folders
from fastcms.sqlite import sqlite3

_BUSY_TIMEOUT_SECONDS = 10
_KEPT_FOR = timedelta(days=3 * 365)
# Set free again at once, in the file and in its journal: what a full disk has made fail can still be noted.
_RESERVED_BYTES = 256 * 1024
_RESERVED_PAGES = 8
# Of a site that has lost all of its files, a job lists every one.
_MOST_PROBLEMS = 100
_BEGUN_ANEW = "begun_anew"
_VERSION = 1
_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, trigger TEXT NOT NULL, state TEXT NOT NULL,
    requested_by TEXT NOT NULL, backup_filename TEXT, started TEXT NOT NULL, finished TEXT NOT NULL,
    size_bytes INTEGER, error TEXT, details TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_kind ON runs (kind, state, id);
CREATE TABLE tallies (
    kind TEXT, state TEXT, code TEXT, runs INTEGER NOT NULL, PRIMARY KEY (kind, state, code)
) STRICT;
CREATE TABLE notes (
    filename TEXT PRIMARY KEY, trigger TEXT, seconds REAL, app_version TEXT, pinned TEXT, pinned_by TEXT,
    verified TEXT, verified_level TEXT, verified_outcome TEXT, verified_reason TEXT,
    crc32 INTEGER, report TEXT
) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reserve (content BLOB) STRICT;
"""
_RUN = (
    "id, kind, trigger, state, requested_by, backup_filename, started, finished, size_bytes, error, details"
)
_NOTES = (
    "filename, trigger, seconds, app_version, pinned, pinned_by, "
    "verified, verified_level, verified_outcome, verified_reason, crc32"
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
    """What is known of one backup beside its archive; times as text, for there are many.

    `crc32` is that of the archive's file as it was written here, or received, or first verified.
    """

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
    crc32: int | None = None


class Tally(NamedTuple):
    """How many runs have ended in one way, those included that are forgotten by now; code is the error's."""

    kind: str
    state: str
    code: str
    runs: int


def history_path(site: Site) -> Path:
    return data_paths(site).backups_dir / "history.db"


def run_of(job: Job) -> Run:
    """What history keeps of a job that has ended."""
    result = job.result or {}
    problems = result.get("problems", []) if job.kind is JobKind.CREATE else []
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
        details={"problems": problems[:_MOST_PROBLEMS], "problem_count": len(problems)} if problems else {},
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

    _write(site, f"run {run.id}", add)


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


def read_tallies(site: Site) -> list[Tally]:
    """How many runs there were so far, of each kind and end. Raises: BackupError."""
    with _reading(site) as history:
        rows = history.execute("SELECT kind, state, code, runs FROM tallies ORDER BY 1, 2, 3").fetchall()
    return [Tally._make(row) for row in rows]


def latest_run(
    site: Site, kind: RunKind, *, state: JobState | None = None, trigger: Trigger | None = None
) -> Run | None:
    """The newest run of a kind. Raises: BackupError."""
    return next(iter(list_runs(site, kind=kind, state=state, trigger=trigger, limit=1)), None)


def read_notes(site: Site, filename: str | None = None) -> dict[str, Notes]:
    """What is noted of each backup, or of one, by filename; some may have been deleted since.

    Raises: BackupError.
    """
    where, values = ("", []) if filename is None else ("WHERE filename = ?", [filename])
    with _reading(site) as history:
        rows = history.execute(f"SELECT {_NOTES} FROM notes {where}", values).fetchall()  # noqa: S608 - our own names
    return {row[0]: Notes._make(row) for row in rows}


def note(site: Site, filename: str, **changed: Any) -> None:
    """Note something of a backup, by the names of `Notes`' fields and `report`. Never raises: see above."""
    columns = list(changed)
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
    query = (
        f"INSERT INTO notes (filename, {', '.join(columns)}) VALUES (?{', ?' * len(columns)}) "  # noqa: S608 - our own names
        f"ON CONFLICT (filename) DO UPDATE SET {updates}"
    )
    _write(site, filename, lambda history: history.execute(query, [filename, *changed.values()]))


def forget_notes(site: Site, filename: str) -> None:
    """Forget what was noted of a backup that was deleted. Never raises: see above."""
    query = "DELETE FROM notes WHERE filename = ?"
    _write(site, filename, lambda history: history.execute(query, [filename]))


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
    query = "INSERT OR REPLACE INTO marks VALUES (?, ?)"
    _write(site, name, lambda history: history.execute(query, [name, json.dumps(value)]))


def damaged_history(site: Site) -> Path | None:
    """The history if it is damaged, or the one in whose place it was begun, while that is still there.

    Raises: BackupError.
    """
    path = history_path(site)
    with explained("Reading the history of backups"):
        history = _open_sound(path)
    if history is None:
        return path if path.exists() else None
    history.close()
    name = read_mark(site, _BEGUN_ANEW)
    kept_path = None if name is None else path.with_name(name)
    return kept_path if kept_path is not None and kept_path.exists() else None


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


def _write(site: Site, what: str, change: Callable[[sqlite3.Connection], object]) -> None:
    """Make a change in one transaction, or say in the log why not."""
    try:
        make_folders(data_paths(site).backups_dir)
        with closing(_open(history_path(site))) as history:
            history.execute("BEGIN IMMEDIATE")
            change(history)
            history.execute("COMMIT")
            _reserve(history)
    except (sqlite3.Error, OSError, ConfigError) as error:
        get_logger().warning("The history of backups could not be written.", what=what, reason=str(error))


@contextmanager
def _reading(site: Site) -> Iterator[sqlite3.Connection]:
    path = history_path(site)
    with (
        explained("Reading the history of backups"),
        # Whoever only looks changes nothing: where there is no sound history, it is an empty one.
        closing(_open_sound(path) or _create(_connect_to(":memory:"))) as history,
    ):
        yield history


def _open_sound(path: Path) -> sqlite3.Connection | None:
    """The history, unless there is none or it is damaged. Raises: sqlite3.OperationalError; OSError."""
    if not path.exists():
        return None
    try:
        return _connect(path)
    except sqlite3.OperationalError:  # locked, full, or a broken disk: the file itself may be sound
        raise
    except sqlite3.DatabaseError as error:
        get_logger().error("The history of backups is damaged.", path=str(path), reason=str(error))
        return None


def _open(path: Path) -> sqlite3.Connection:
    if (history := _open_sound(path)) is not None:
        return history
    if not path.exists():
        return _connect(path)
    kept_path = beside(path, f".damaged-{utc_now():%Y%m%d_%H%M%S}")
    path.replace(kept_path)
    beside(path, "-journal").unlink(missing_ok=True)
    get_logger().error("The history of backups is begun anew.", kept=str(kept_path))
    history = _connect(path)
    history.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", [_BEGUN_ANEW, json.dumps(kept_path.name)])
    return history


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # the journal has the same mode
    history = _connect_to(path)
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


def _connect_to(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)


def _create(history: sqlite3.Connection) -> sqlite3.Connection:
    history.execute("BEGIN IMMEDIATE")
    (version,) = history.execute("PRAGMA user_version").fetchone()
    if version < _VERSION:  # nobody else was quicker
        for statement in filter(str.strip, _SCHEMA.split(";")):
            history.execute(statement)
        history.execute(f"PRAGMA user_version = {_VERSION}")
    history.execute("COMMIT")
    _reserve(history)
    return history


def _reserve(history: sqlite3.Connection) -> None:
    (free_pages,) = history.execute("PRAGMA freelist_count").fetchone()
    if free_pages < _RESERVED_PAGES:
        history.execute("INSERT INTO reserve VALUES (zeroblob(?))", [_RESERVED_BYTES])
        history.execute("DELETE FROM reserve")
