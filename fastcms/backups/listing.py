"""The list that people look at: backups, what failed to become one, and the safety copy, by time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from fastcms.backups import history
from fastcms.backups.history import Run, RunKind, VerificationLevel, VerificationOutcome
from fastcms.backups.job_files import Job, JobState, job_id_of
from fastcms.backups.schemas import Backup, BackupKind, SafetyCopyInfo
from fastcms.errors import BackupError
from fastcms.site import Site

ROWS_PER_PAGE = 50
# What was to become a backup; other failures are shown where they belong.
_KINDS = (RunKind.CREATE, RunKind.UPLOAD)


class Verdict(StrEnum):
    """checked: every byte was compared. restored: a site was restored from it and started."""

    NONE = "none"
    CHECKED = "checked"
    RESTORED = "restored"
    DAMAGED = "damaged"


class Row(NamedTuple):
    """One line: a backup, a run that has failed, or the state before the latest restore."""

    backup: Backup | None = None
    failure: Run | None = None
    safety_copy: SafetyCopyInfo | None = None


class Shown(StrEnum):
    """What of the list is shown."""

    ALL = "all"
    MANUAL = "manual"
    SCHEDULED = "scheduled"
    UPLOADED = "uploaded"
    SAFETY = "safety"
    VERIFIED = "verified"
    DAMAGED = "damaged"
    PINNED = "pinned"
    FAILED = "failed"


class Listing(NamedTuple):
    """One page of the list; `counts` says how many rows each choice would show."""

    rows: list[Row]
    shown: Shown
    counts: dict[Shown, int]
    page: int
    page_count: int


class _Entry(NamedTuple):
    """Where a row stands: its time as ids and names of backups have it, which sorts as text."""

    time: str
    backup: Backup | None = None
    run_id: str | None = None
    safety_copy: SafetyCopyInfo | None = None


_TESTS: Mapping[Shown, Callable[[_Entry], bool]] = {
    Shown.ALL: lambda _entry: True,
    Shown.MANUAL: lambda entry: _is_kind(entry, BackupKind.MANUAL),
    Shown.SCHEDULED: lambda entry: _is_kind(entry, BackupKind.SCHEDULED),
    Shown.UPLOADED: lambda entry: _is_kind(entry, BackupKind.UPLOADED),
    Shown.SAFETY: lambda entry: entry.safety_copy is not None,
    Shown.VERIFIED: lambda entry: _has_outcome(entry, VerificationOutcome.OK),
    Shown.DAMAGED: lambda entry: _has_outcome(entry, VerificationOutcome.FAILED),
    Shown.PINNED: lambda entry: entry.backup is not None and entry.backup.notes.pinned is not None,
    Shown.FAILED: lambda entry: entry.run_id is not None,
}


def list_rows(
    site: Site,
    backups: Sequence[Backup],
    jobs: Sequence[Job],
    safety_copy: SafetyCopyInfo | None,
    *,
    shown: Shown = Shown.ALL,
    page: int = 1,
) -> Listing:
    """One page of the list, newest first; a page that is not there is the last one. Never raises."""
    abandoned = {run.id: run for run in _find_abandoned(jobs)}
    failed_ids = {*_list_failed(site), *abandoned}
    entries = sorted(_enter(backups, failed_ids, safety_copy), key=lambda entry: entry.time, reverse=True)
    counts = {choice: sum(map(test, entries)) for choice, test in _TESTS.items()}
    page_count = max(-(-counts[shown] // ROWS_PER_PAGE), 1)
    page = min(page, page_count)
    wanted = list(filter(_TESTS[shown], entries))[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE]
    runs = abandoned | _find_runs(site, [entry.run_id for entry in wanted if entry.run_id])
    rows = [Row(entry.backup, runs.get(entry.run_id or ""), entry.safety_copy) for entry in wanted]
    return Listing([row for row in rows if any(row)], shown, counts, page, page_count)


def verdict_of(backup: Backup) -> Verdict:
    notes = backup.notes
    if notes.verified_outcome == VerificationOutcome.FAILED:
        return Verdict.DAMAGED
    if notes.verified_outcome != VerificationOutcome.OK:
        return Verdict.NONE
    return Verdict.RESTORED if notes.verified_level == VerificationLevel.FULL else Verdict.CHECKED


def _enter(
    backups: Sequence[Backup], failed_ids: set[str], safety_copy: SafetyCopyInfo | None
) -> Iterator[_Entry]:
    for backup in backups:
        yield _Entry(backup.name.removeprefix("backup_"), backup)
    for run_id in failed_ids:
        yield _Entry(run_id, run_id=run_id)
    if safety_copy is not None:
        yield _Entry(_time_of(safety_copy.replaced), safety_copy=safety_copy)


def _list_failed(site: Site) -> list[str]:
    """None where the history cannot be read: the backups are shown all the same, and the status says why."""
    try:
        return history.list_ids(site, _KINDS, JobState.FAILED)
    except BackupError:
        return []


def _find_runs(site: Site, ids: Sequence[str]) -> dict[str, Run]:
    try:
        return history.find_runs(site, ids) if ids else {}
    except BackupError:
        return {}


def _time_of(moment: datetime | None) -> str:
    return "" if moment is None else job_id_of(moment)


def _find_abandoned(jobs: Sequence[Job]) -> Iterator[Run]:
    """What was killed: the history has it only later."""
    for job in jobs:
        if job.state is JobState.FAILED and RunKind(job.kind) in _KINDS:
            yield history.run_of(job)


def _is_kind(entry: _Entry, kind: BackupKind) -> bool:
    return entry.backup is not None and entry.backup.kind is kind


def _has_outcome(entry: _Entry, outcome: VerificationOutcome) -> bool:
    return entry.backup is not None and entry.backup.notes.verified_outcome == outcome
