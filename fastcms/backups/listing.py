"""The list that people look at: backups, what failed to become one, and the safety copy, by time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from fastcms.backups import history
from fastcms.backups.backup_notes import VerificationLevel, VerificationOutcome
from fastcms.backups.folder import try_to_see
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import Job, JobState, job_id_of
from fastcms.backups.restore_schemas import SafetyCopyInfo
from fastcms.backups.schemas import Backup, BackupKind
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


_CHOICES_OF_FAILURE = frozenset({Shown.ALL, Shown.FAILED})
_CHOICES_OF_SAFETY_COPY = frozenset({Shown.ALL, Shown.SAFETY})


class _Entry(NamedTuple):
    """Where a row stands: its time as ids and names of backups have it, and the choices that show it.

    The time sorts as text.
    """

    time: str
    choices: frozenset[Shown]
    backup: Backup | None = None
    run_id: str | None = None
    safety_copy: SafetyCopyInfo | None = None


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
    # Where the history cannot be read, the backups are shown all the same.
    failed_ids = {*(try_to_see(history.list_ids, site, _KINDS, JobState.FAILED) or []), *abandoned}
    entries = sorted(_enter(backups, failed_ids, safety_copy), key=lambda entry: entry.time, reverse=True)
    counts = _count(entries)
    page_count = max(-(-counts[shown] // ROWS_PER_PAGE), 1)
    page = min(page, page_count)
    shown_entries = [entry for entry in entries if shown in entry.choices]
    wanted = shown_entries[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE]
    run_ids = [entry.run_id for entry in wanted if entry.run_id]
    runs = abandoned | (try_to_see(history.find_runs, site, run_ids) or {})
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
        notes = backup.notes
        choices = _choices_of(backup.kind, notes.verified_outcome, is_pinned=notes.pinned is not None)
        yield _Entry(backup.filename.removeprefix("backup_"), choices, backup)
    for run_id in failed_ids:
        yield _Entry(run_id, _CHOICES_OF_FAILURE, run_id=run_id)
    if safety_copy is not None:
        yield _Entry(_time_of(safety_copy.replaced), _CHOICES_OF_SAFETY_COPY, safety_copy=safety_copy)


@cache
def _choices_of(kind: BackupKind, outcome: str | None, *, is_pinned: bool) -> frozenset[Shown]:
    """Which choices show such a backup: worked out once for the thousands that are alike."""
    tests = {
        Shown.ALL: True,
        Shown(kind): True,
        Shown.VERIFIED: outcome == VerificationOutcome.OK,
        Shown.DAMAGED: outcome == VerificationOutcome.FAILED,
        Shown.PINNED: is_pinned,
    }
    return frozenset(choice for choice, shows in tests.items() if shows)


def _count(entries: Sequence[_Entry]) -> dict[Shown, int]:
    alike = Counter(entry.choices for entry in entries)
    return {choice: sum(alike[choices] for choices in alike if choice in choices) for choice in Shown}


def _time_of(moment: datetime | None) -> str:
    return "" if moment is None else job_id_of(moment)


def _find_abandoned(jobs: Sequence[Job]) -> Iterator[Run]:
    """What was killed: the history has it only later."""
    for job in jobs:
        if job.state is JobState.FAILED and RunKind(job.kind) in _KINDS:
            yield history.run_of(job)
