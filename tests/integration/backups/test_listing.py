"""The list that people look at."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from fastcms.backups import backup_notes, history_file, service
from fastcms.backups.history import RunKind
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import Job, JobKind, JobState
from fastcms.backups.listing import ROWS_PER_PAGE, Listing, Shown, Verdict, list_rows, verdict_of
from fastcms.backups.restore_schemas import SafetyCopyInfo
from fastcms.config import Settings
from fastcms.site import Site, new_site
from tests.runs import add_run, job_of

_NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def site(settings: Settings) -> Site:
    """Not running: the list needs no database."""
    settings.backups_dir.mkdir(parents=True)
    return new_site(settings)


def put_backup(site: Site, created: datetime, **notes: str | float) -> str:
    name = f"backup_{created:%Y%m%d_%H%M%S}.zip"
    (site.settings.backups_dir / name).write_bytes(b"not opened for a list")
    if notes:
        backup_notes.note(site, name, **notes)
    return name


def fail(
    site: Site, started: datetime, kind: RunKind = RunKind.CREATE, state: JobState = JobState.FAILED
) -> str:
    return add_run(site, started, state, kind=kind).id


def show(site: Site, shown: Shown = Shown.ALL, page: int = 1, jobs: list[Job] | None = None) -> Listing:
    return list_rows(site, service.list_backups(site), jobs or [], None, shown=shown, page=page)


def names(listing: Listing) -> list[str]:
    return [
        row.backup.filename if row.backup else row.failure.id if row.failure else "safety copy"
        for row in listing.rows
    ]


def test_what_failed_stands_between_the_backups_by_time(site: Site) -> None:
    older, newer = put_backup(site, _NOON), put_backup(site, _NOON + timedelta(days=2))
    failed = fail(site, _NOON + timedelta(days=1))
    refused = fail(site, _NOON - timedelta(days=1), RunKind.UPLOAD)
    for kind in (RunKind.VERIFY, RunKind.RESTORE, RunKind.PRUNE):
        fail(site, _NOON + timedelta(hours=1, seconds=len(kind)), kind)
    fail(site, _NOON + timedelta(hours=2), state=JobState.CANCELLED)
    listing = show(site)
    assert names(listing) == [newer, failed, older, refused]
    assert listing.rows[1].failure is not None
    assert listing.rows[1].failure.error is not None
    assert listing.rows[1].failure.error.detail == "The disk is full."


def test_a_job_that_was_killed_is_there_before_the_history_has_it(site: Site) -> None:
    killed = job_of(_NOON, JobState.FAILED)
    verifying = job_of(_NOON + timedelta(1), JobState.FAILED, kind=JobKind.VERIFY)
    assert names(show(site, jobs=[verifying, killed])) == [killed.id]
    fail(site, _NOON)
    assert names(show(site, jobs=[killed])) == [killed.id]


def test_the_safety_copy_has_a_row_of_its_own(site: Site) -> None:
    older = put_backup(site, _NOON)
    copy = SafetyCopyInfo(before_restore_of=older, replaced=_NOON + timedelta(hours=1), size_bytes=5)
    newer = put_backup(site, _NOON + timedelta(hours=2))
    backups = service.list_backups(site)
    assert names(list_rows(site, backups, [], copy)) == [newer, "safety copy", older]
    alone = list_rows(site, backups, [], copy, shown=Shown.SAFETY)
    assert [row.safety_copy for row in alone.rows] == [copy]


def test_each_choice_shows_what_it_says_and_counts_it(site: Site) -> None:
    manual = put_backup(site, _NOON)
    scheduled = put_backup(site, _NOON + timedelta(1), trigger="scheduled", pinned="2026", pinned_by="anna")
    light = put_backup(site, _NOON + timedelta(2), verified_outcome="ok", verified_level="light")
    full = put_backup(site, _NOON + timedelta(3), verified_outcome="ok", verified_level="full")
    damaged = put_backup(site, _NOON + timedelta(4), verified_outcome="failed", verified_level="full")
    failed = fail(site, _NOON + timedelta(5))
    expected = {
        Shown.ALL: [failed, damaged, full, light, scheduled, manual],
        Shown.MANUAL: [damaged, full, light, manual],
        Shown.SCHEDULED: [scheduled],
        Shown.UPLOADED: [],
        Shown.SAFETY: [],
        Shown.VERIFIED: [full, light],
        Shown.DAMAGED: [damaged],
        Shown.PINNED: [scheduled],
        Shown.FAILED: [failed],
    }
    assert set(expected) == set(Shown)
    for shown, rows in expected.items():
        listing = show(site, shown)
        assert names(listing) == rows, shown
        assert listing.counts == {choice: len(found) for choice, found in expected.items()}
    verdicts = {backup.filename: verdict_of(backup) for backup in service.list_backups(site)}
    assert verdicts == {
        manual: Verdict.NONE,
        scheduled: Verdict.NONE,
        light: Verdict.CHECKED,
        full: Verdict.RESTORED,
        damaged: Verdict.DAMAGED,
    }


def test_a_long_list_comes_page_by_page(site: Site) -> None:
    made = [put_backup(site, _NOON + timedelta(hours=2 * number)) for number in range(ROWS_PER_PAGE)]
    failed = [fail(site, _NOON + timedelta(hours=2 * number + 1)) for number in range(3)]
    first, last = show(site), show(site, page=2)
    assert first.page_count == last.page_count == 2
    assert len(first.rows) == ROWS_PER_PAGE
    assert names(last) == [made[1], failed[0], made[0]]
    assert [*names(first), *names(last)] == sorted([*names(first), *names(last)], key=_when, reverse=True)
    assert set(names(first)) | set(names(last)) == {*made, *failed}
    assert show(site, page=99).page == 2
    assert show(site, Shown.FAILED, page=2).page == 1


def _when(name: str) -> str:
    return name.removeprefix("backup_")


def test_without_its_history_the_backups_are_listed_all_the_same(site: Site) -> None:
    made = put_backup(site, _NOON)
    history_path(site).unlink(missing_ok=True)
    history_path(site).mkdir()
    assert names(show(site)) == [made]


# 10,000 times the run that is there, an hour apart.
_MANY_RUNS = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
INSERT INTO runs SELECT strftime('%Y%m%d_%H%M%S', 1763640000 - n * 3600, 'unixepoch') || '_000000',
kind, trigger,
state, requested_by, backup_filename, started, finished, size_bytes, error, details FROM runs, number
"""


def test_ten_thousand_backups_and_as_many_failures_stay_quick(site: Site) -> None:
    for number in range(10_000):
        name = f"backup_{_NOON - timedelta(hours=number):%Y%m%d_%H%M%S}.zip"
        (site.settings.backups_dir / name).touch()
    fail(site, _NOON)
    history_file.write(site, "many runs", lambda connection: connection.execute(_MANY_RUNS))
    backups = service.list_backups(site)
    list_rows(site, backups, [], None)  # SQLite reads the file for the first time
    started = time.process_time()
    listing = list_rows(site, backups, [], None, page=200)
    assert time.process_time() - started < 0.4  # 0.1 on an idle machine
    assert listing.counts == listing.counts | {Shown.ALL: 20_001, Shown.FAILED: 10_001}
    assert len(listing.rows) == ROWS_PER_PAGE
