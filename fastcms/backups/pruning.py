"""Remove the backups that the policy does not keep, and say why each stays or goes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

from humanize import naturalsize
from pydantic import BaseModel

from fastcms.backups import backup_notes, history
from fastcms.backups.backup_notes import Notes, VerificationLevel, VerificationOutcome
from fastcms.backups.backup_settings import BackupSettings, read_settings, settings_problem
from fastcms.backups.deletion import find_uses, remove_backup
from fastcms.backups.folder import alone, data_paths
from fastcms.backups.history import RunKind
from fastcms.backups.history_file import damaged_history
from fastcms.backups.job_files import JobError, JobKind, JobState, Trigger, list_jobs
from fastcms.backups.retention import (
    Candidate,
    Decision,
    Policy,
    Reason,
    ReasonCode,
    decide,
    find_excess_bytes,
)
from fastcms.backups.schemas import Backup, BackupKind, format_created
from fastcms.backups.service import (
    CLOCKS_MAY_DIFFER,
    find_newest,
    is_from_the_future,
    list_backups,
)
from fastcms.database import utc_now
from fastcms.errors import BackupNotFoundError, ConflictError, FastCMSError
from fastcms.logs import get_logger
from fastcms.noting import note
from fastcms.site import Site


class RetentionPolicy(BaseModel):
    """The settings that decide: numbers of backups, `max_total_size` in bytes, whose days and weeks count."""

    keep_last: int
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    keep_yearly: int
    max_total_size: int | None
    timezone: str


class RetentionReason(BaseModel):
    """`code` is for programs, `message` for people."""

    code: ReasonCode
    message: str


class PlannedBackup(BaseModel):
    """Whether a backup stays, and why."""

    filename: str
    size_bytes: int
    created: str
    keep: bool
    reasons: list[RetentionReason]


class Retention(BaseModel):
    """What pruning would do now, newest backup first, and the policy that says so.

    `excess_bytes`: by how much what must stay is larger than `max_total_size`. `sentence` says it in words.
    """

    policy: RetentionPolicy
    items: list[PlannedBackup]
    total: int
    kept: int
    kept_bytes: int
    excess_bytes: int
    sentence: str


class Pruned(BaseModel):
    """What was removed, and what could not be, with the reason."""

    removed: list[str]
    removed_bytes: int
    failed: dict[str, str]


def plan(site: Site) -> list[Decision]:
    """What pruning would do now, newest backup first. Raises: BackupError."""
    return _decide(site, read_settings(site))


def describe_retention(site: Site, settings: BackupSettings | None = None) -> Retention:
    """What the API and `fastcms backup prune --dry-run --json` say, or what other settings would do.

    Raises: BackupError.
    """
    settings = settings or read_settings(site)
    decisions = _decide(site, settings)
    kept = [decision for decision in decisions if decision.keep]
    return Retention(
        policy=RetentionPolicy.model_validate(settings, from_attributes=True),
        items=[
            PlannedBackup(**asdict(decision) | {"created": format_created(decision.created)})
            for decision in decisions
        ],
        total=len(decisions),
        kept=len(kept),
        kept_bytes=sum(decision.size_bytes for decision in kept),
        excess_bytes=find_excess_bytes(decisions, policy_of(settings)),
        sentence=_tell(decisions),
    )


def prune(site: Site, requested_by: str, trigger: Trigger = Trigger.MANUAL) -> Pruned:
    """Remove what the policy does not keep; where that was anything, history has a run.

    A backup that cannot be removed keeps no other one. One that was pinned or is used by now stays.
    On disk: each backup is there or gone, and never gone before a newer one is safe.
    Raises: BackupBusyError; BackupError when it cannot be told what must stay: then nothing is removed.
    """
    started = utc_now()
    pruned = Pruned(removed=[], removed_bytes=0, failed={})
    with alone(data_paths(site), "removing old backups"):
        going = [decision for decision in plan(site) if not decision.keep]
        for decision in reversed(going):  # the oldest first
            if site.stopping.is_set():  # the next time
                break
            try:
                backup = remove_backup(site, decision.filename)
            except (BackupNotFoundError, ConflictError) as error:
                get_logger().info(error.message)
            except FastCMSError as error:
                pruned.failed[decision.filename] = error.message
            else:
                pruned.removed.append(backup.filename)
                pruned.removed_bytes += backup.size_bytes
    if pruned.removed or pruned.failed:
        note(removed=", ".join(pruned.removed) or "none")
        _note_run(site, pruned, started, requested_by, trigger)
    return pruned


def _tell(decisions: Sequence[Decision]) -> str:
    going = [decision for decision in decisions if not decision.keep]
    kept = [decision for decision in decisions if decision.keep]
    if going:
        return (
            f"{_count(going)} would be removed ({_size(going)}). {_count(kept)} would stay ({_size(kept)})."
        )
    reasons = (reason for decision in kept for reason in decision.reasons)
    why = next((reason.message for reason in reasons if reason.code is ReasonCode.NOTHING_GOES), None)
    told = (
        f"Nothing would be removed: there are {_count(kept)} ({_size(kept)})."
        if kept
        else "No backup is there."
    )
    return f"{told} Whatever the policy says, {why}." if why else told


def _count(decisions: Sequence[Decision]) -> str:
    return f"{len(decisions):,} backup{'' if len(decisions) == 1 else 's'}"


def _size(decisions: Sequence[Decision]) -> str:
    return naturalsize(sum(decision.size_bytes for decision in decisions))


def _decide(site: Site, settings: BackupSettings) -> list[Decision]:
    return decide(_find_candidates(site), policy_of(settings), settings.timezone)


def policy_of(settings: BackupSettings) -> Policy:
    return Policy(**settings.model_dump(include=set(Policy.__dataclass_fields__)))


def _find_candidates(site: Site) -> list[Candidate]:
    # Not those that the list brings, which has none where they cannot be read: they say what is pinned.
    notes = backup_notes.read_notes(site)
    backups, uses, now = list_backups(site), find_uses(site), utc_now()
    for_all = list(find_reasons_for_all(site, backups))
    return [
        Candidate(
            backup.filename,
            backup.created,
            backup.size_bytes,
            (*_find_reasons(backup, noted, uses, now), *for_all),
            None if noted.verified_outcome is None else noted.verified_outcome == VerificationOutcome.OK,
            noted.verified_level == VerificationLevel.FULL,
        )
        for backup in backups
        for noted in [notes.get(backup.filename, Notes(backup.filename))]
    ]


def _find_reasons(backup: Backup, noted: Notes, uses: dict[str, str], now: datetime) -> Iterator[Reason]:
    if noted.pinned is not None:
        yield Reason(ReasonCode.PINNED, f"pinned by {noted.pinned_by}")
    if backup.kind is BackupKind.UPLOADED:
        yield Reason(ReasonCode.UPLOADED, "brought from another machine")
    if is_from_the_future(backup, now):
        yield Reason(ReasonCode.FUTURE, "dated in the future: the clock is wrong, or was")
    if backup.filename in uses:
        yield Reason(ReasonCode.IN_USE, uses[backup.filename])


def find_reasons_for_all(site: Site, backups: Sequence[Backup]) -> Iterator[Reason]:
    """Why nothing at all may go now."""
    newest = find_newest(backups)
    if newest is not None and newest.notes.verified_outcome == VerificationOutcome.FAILED:
        yield Reason(ReasonCode.NOTHING_GOES, f"the newest backup, {newest.filename}, is damaged")
    if _has_latest_backup_failed(site):
        why = "the latest backup failed: nothing is removed until one succeeds"
        yield Reason(ReasonCode.NOTHING_GOES, why)
    if settings_problem(site) is not None:
        why = "the policy is not known, for the changed settings of backups cannot be read"
        yield Reason(ReasonCode.NOTHING_GOES, why)
    if (damaged_path := damaged_history(site)) is not None:
        why = "the history was damaged, and with it the pins: set them again, and then delete"
        yield Reason(ReasonCode.NOTHING_GOES, f"{why} {damaged_path}")


def _has_latest_backup_failed(site: Site) -> bool:
    """Whether the latest attempt failed; nobody has cancelled it. A killed one may be in no history yet."""
    now = utc_now()
    outcomes: dict[str, JobState] = {
        job.id: job.state
        for job in list_jobs(site)
        if job.kind is JobKind.CREATE
        and job.state in (JobState.SUCCEEDED, JobState.FAILED)
        and job.started <= now + CLOCKS_MAY_DIFFER
    }
    for state in (JobState.SUCCEEDED, JobState.FAILED):
        if (run := history.latest_run(site, RunKind.CREATE, state=state)) is not None:
            outcomes[run.id] = run.state
    return bool(outcomes) and outcomes[max(outcomes)] is JobState.FAILED


def _note_run(site: Site, pruned: Pruned, started: datetime, requested_by: str, trigger: Trigger) -> None:
    error = None
    if pruned.failed:
        reasons = " ".join(pruned.failed.values())
        get_logger().error("Not all old backups could be removed.", reason=reasons)
        error = JobError(
            status=500,
            detail=f"{len(pruned.failed)} of the old backups could not be removed. {reasons}",
            code="prune_incomplete",
            hint="Look at the disk's health and at the rights of the files. The next time it is tried again.",
        )
    history.note_done(
        site,
        RunKind.PRUNE,
        started,
        requested_by,
        trigger=trigger,
        error=error,
        size_bytes=pruned.removed_bytes,
        details={"removed": pruned.removed, "bytes": pruned.removed_bytes, "failed": pruned.failed},
    )
    # Their names are in the history: there may be thousands.
    get_logger().info(
        "old backups removed",
        by=requested_by,
        removed=len(pruned.removed),
        removed_bytes=pruned.removed_bytes,
        failed=len(pruned.failed),
    )
