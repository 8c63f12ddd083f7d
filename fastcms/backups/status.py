"""Whether the site is safe, and why: found out here and nowhere else."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from fastcms.backups import history, notifications, restoring, schedule
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.backup_settings import read_settings, settings_problem
from fastcms.backups.elsewhere import Elsewhere, describe_elsewhere
from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.pending import Kind, RestoreReceipt
from fastcms.backups.folder import explained, were_backups_made
from fastcms.backups.history import Run, RunKind
from fastcms.backups.history_file import damaged_history
from fastcms.backups.job_files import Job, JobKind, JobState, list_jobs
from fastcms.backups.origin import read_origin
from fastcms.backups.reasons import (
    Facts,
    Failure,
    Reason,
    ReasonLevel,
    attention,
    find_reasons,
    find_verified,
    warning,
)
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.schedule import Duty
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import CLOCKS_MAY_DIFFER, is_from_the_future, list_backups
from fastcms.backups.storage import Storage, measure_storage
from fastcms.database import utc_now
from fastcms.errors import ArchiveError, ConflictError, FastCMSError
from fastcms.site import Site

Found = TypeVar("Found")


class SafetyState(StrEnum):
    """How the site stands, in one word."""

    OK = "ok"
    WARNINGS = "warnings"
    ATTENTION = "attention"
    RUNNING = "running"
    WAITING = "waiting"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    SafetyState.OK: "Everything is backed up",
    SafetyState.WARNINGS: "Backed up, with warnings",
    SafetyState.ATTENTION: "A backup needs attention",
    SafetyState.RUNNING: "Backing up now",
    SafetyState.WAITING: "Waiting for the first backup",
}


class Success(BaseModel):
    """A backup of this site that is there."""

    filename: str
    created: datetime
    size_bytes: int
    seconds: float | None
    problems: list[str]


class Verified(BaseModel):
    """A backup that is known to be sound."""

    filename: str
    level: VerificationLevel
    verified: datetime
    age_seconds: int


class Status(BaseModel):
    """Whether the site is safe, and why; times are UTC.

    `is_safe` is about the backups that are there, also while the next one is being made. `verified` is the
    newest backup that is known to be sound, `verified_in_full` the newest that was restored as a test.
    `elsewhere` says where there are copies.
    """

    state: SafetyState
    sentence: str
    is_safe: bool
    reasons: list[Reason]
    last_success: Success | None
    last_failure: Failure | None
    next_run: datetime | None
    overdue_since: datetime | None
    verified: Verified | None
    verified_in_full: Verified | None
    storage: Storage | None
    elsewhere: Elsewhere | None


class _Remembered(NamedTuple):
    """What the history knows."""

    succeeded: Run | None = None
    failed: Run | None = None
    pruned: Run | None = None
    next_run: datetime | None = None
    overdue_since: datetime | None = None
    undelivered: str | None = None
    damaged_history: Path | None = None


class _NewestContents(NamedTuple):
    """What the newest backup says of itself, and why it cannot be read."""

    problems: Sequence[str] = ()
    problem_count: int = 0
    damage: str | None = None


def describe_status(
    site: Site, now: datetime | None = None, backups: Sequence[Backup] | None = None
) -> Status:
    """Find out whether the site is safe; whoever has listed the backups already need not do it twice.

    Never raises: what cannot be looked at is a reason, too.
    """
    now = now or utc_now()
    unseen: list[Reason] = []
    listed = backups
    if listed is None:
        listed = _try(unseen, attention, "the backups", lambda: list_backups(site), list[Backup]())
    jobs = _try(unseen, warning, "the jobs", lambda: list_jobs(site), list[Job]())
    # Without it nobody knows what is due: no backup is made by itself.
    remembered = _try(unseen, attention, "the history", lambda: _remember(site, now), _Remembered())
    restores = _try(unseen, warning, "the restores", lambda: _list_restores(site), list[RestoreReceipt]())
    storage = _try(unseen, warning, "the space", lambda: measure_storage(site, now, listed), None)
    own = [backup for backup in listed if backup.kind is not BackupKind.UPLOADED]
    counted = [backup for backup in own if not is_from_the_future(backup, now)]
    has_made_any = remembered.succeeded is not None or were_backups_made(site)
    brought = [] if own or has_made_any else _find_restored(listed, restores)
    newest = next(iter(counted or brought), None)
    elsewhere = _try(unseen, warning, "the copies", lambda: describe_elsewhere(site, counted, now), None)
    contents = _look_into(newest, remembered.succeeded)
    facts = Facts(
        now=now,
        settings=read_settings(site),
        storage=storage,
        backups=counted or brought,
        future=own[: len(own) - len(counted)],
        problems=contents.problems,
        problem_count=contents.problem_count,
        damage=contents.damage,
        failure=_find_failure(
            newest, remembered, [job for job in jobs if job.started <= now + CLOCKS_MAY_DIFFER]
        ),
        overdue_since=remembered.overdue_since,
        settings_problem=settings_problem(site),
        undelivered=remembered.undelivered,
        latest_restore=restores[0] if restores else None,
        has_made_any=has_made_any,
        prune_error=remembered.pruned.error.detail if remembered.pruned and remembered.pruned.error else None,
        damaged_history=remembered.damaged_history,
        elsewhere=elsewhere,
    )
    is_running = any(job.is_running and job.kind is JobKind.CREATE for job in jobs)
    return _describe(facts, find_reasons(facts, unseen), remembered.next_run, is_running=is_running)


def _describe(facts: Facts, reasons: list[Reason], next_run: datetime | None, *, is_running: bool) -> Status:
    standing = _standing(facts, reasons)
    state = SafetyState.RUNNING if is_running else standing
    return Status(
        state=state,
        sentence=state.sentence,
        is_safe=standing in (SafetyState.OK, SafetyState.WARNINGS),
        reasons=reasons,
        last_success=_describe_success(facts),
        last_failure=facts.failure,
        next_run=next_run,
        overdue_since=facts.overdue_since,
        verified=_describe_verified(find_verified(facts.backups), facts.now),
        verified_in_full=_describe_verified(find_verified(facts.backups, VerificationLevel.FULL), facts.now),
        storage=facts.storage,
        elsewhere=facts.elsewhere,
    )


def _standing(facts: Facts, reasons: Sequence[Reason]) -> SafetyState:
    if any(reason.level is ReasonLevel.ATTENTION for reason in reasons):
        return SafetyState.ATTENTION
    if facts.newest is None:
        return SafetyState.WAITING
    return SafetyState.WARNINGS if reasons else SafetyState.OK


def _try(
    unseen: list[Reason],
    make: Callable[[str, str, str], Reason],
    what: str,
    look: Callable[[], Found],
    otherwise: Found,
) -> Found:
    """Look at something; if that is not possible, it is a reason."""
    try:
        with explained(f"Looking at {what}"):
            return look()
    except FastCMSError as error:
        unseen.append(make("cannot_look", error.message, error.hint))
        return otherwise


def _find_restored(backups: Sequence[Backup], restores: Sequence[RestoreReceipt]) -> list[Backup]:
    """What a new site was restored from, if it is here: until it has made a backup, it is this one's."""
    latest = next((one for one in restores if one.outcome == RestoreState.RESTORED), None)
    if latest is None or latest.kind is not Kind.BACKUP:
        return []
    named = [backup for backup in backups if backup.filename == latest.backup_filename]
    return [backup for backup in named if _has_origin(backup, latest.archive_sha256)]


def _has_origin(backup: Backup, sha256: str) -> bool:
    with suppress(ConflictError, OSError):  # its record cannot be read, or has just been deleted
        origin = read_origin(Path(backup.path))
        return origin is not None and origin.sha256 == sha256
    return False


def _list_restores(site: Site) -> list[RestoreReceipt]:
    restoring.restore_status(site)  # a pending one that cannot be read is worth a warning, too
    return restoring.list_restores(site)


def _remember(site: Site, now: datetime) -> _Remembered:
    return _Remembered(
        succeeded=history.latest_run(site, RunKind.CREATE, state=JobState.SUCCEEDED),
        failed=history.latest_run(site, RunKind.CREATE, state=JobState.FAILED),
        pruned=history.latest_pruning(site),
        next_run=schedule.next_run(site, Duty.BACKUP, now),
        overdue_since=schedule.overdue_since(site, now),
        undelivered=_find_undelivered(site),
        damaged_history=damaged_history(site),
    )


def _find_undelivered(site: Site) -> str | None:
    """Why the latest notification, or call of the heartbeat, did not arrive."""
    settings = read_settings(site)
    deliveries = notifications.latest_deliveries(site) if settings.notify_urls else []
    heartbeat = notifications.latest_heartbeat(site) if settings.heartbeat_url else None
    for delivery in [*deliveries, *([heartbeat] if heartbeat else [])]:
        if not delivery.ok:
            return f"The latest notification to {delivery.address} did not arrive: {delivery.reason}"
    return None


def _find_failure(newest: Backup | None, remembered: _Remembered, jobs: Sequence[Job]) -> Failure | None:
    """The latest backup that failed; that of a killed process is in the history only later."""
    candidates = [
        history.run_of(job) for job in jobs if job.kind is JobKind.CREATE and job.state is JobState.FAILED
    ]
    candidates += [remembered.failed] if remembered.failed else []
    failed = max(candidates, key=lambda run: run.id, default=None)
    if failed is None or failed.error is None:
        return None
    return Failure(
        time=failed.finished,
        trigger=failed.trigger,
        requested_by=failed.requested_by,
        reason=failed.error.detail,
        hint=failed.error.hint,
        code=failed.error.code,
        is_current=_is_current(failed, newest, remembered.succeeded),
    )


def _is_current(failed: Run, newest: Backup | None, succeeded: Run | None) -> bool:
    """Whether no backup was made since, be it one that the history does not know."""
    if succeeded is not None and succeeded.id > failed.id:
        return False
    if newest is None or (succeeded is not None and succeeded.backup_filename == newest.filename):
        return True
    if failed.error is not None and failed.error.code == "job_abandoned":
        # Perhaps its process was killed when the backup was complete, which is named after the second.
        return newest.created < failed.started.replace(microsecond=0)
    return newest.created <= failed.finished


def _look_into(newest: Backup | None, succeeded: Run | None) -> _NewestContents:
    """What the newest backup says of itself: remembered, or read if somebody else has put it there."""
    if newest is None:
        return _NewestContents()
    if succeeded is not None and succeeded.backup_filename == newest.filename:
        if succeeded.size_bytes != newest.size_bytes:
            return _NewestContents(damage=f"{newest.filename} has another size than it was written in.")
        problems = succeeded.details.get("problems", [])
        return _NewestContents(problems, succeeded.details.get("problem_count", 0))
    try:
        return _read_contents(newest.path, Path(newest.path).stat().st_mtime_ns)
    except ArchiveError as error:
        return _NewestContents(damage=error.message)
    except OSError as error:
        return _NewestContents(damage=f"{newest.filename} cannot be read: {error.strerror}.")


@lru_cache(maxsize=4)
def _read_contents(path: str, _mtime_ns: int) -> _NewestContents:
    with open_archive(Path(path)) as archive:
        problems = archive.manifest.problems
    return _NewestContents(problems, len(problems))


def _describe_success(facts: Facts) -> Success | None:
    newest = facts.newest
    if newest is None:
        return None
    return Success(
        filename=newest.filename,
        created=newest.created,
        size_bytes=newest.size_bytes,
        seconds=newest.notes.seconds,
        problems=list(facts.problems) if facts.damage is None else [facts.damage],
    )


def _describe_verified(backup: Backup | None, now: datetime) -> Verified | None:
    if backup is None:
        return None
    verified = datetime.fromisoformat(backup.notes.verified or "")
    return Verified(
        filename=backup.filename,
        level=VerificationLevel(backup.notes.verified_level or VerificationLevel.LIGHT),
        verified=verified,
        age_seconds=int((now - verified).total_seconds()),
    )
