"""What the page of backups says in each state, and what its buttons do."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from fastcms.backups import backup_notes, jobs, pinning, restoring, service
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.folder import data_paths
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import (
    Job,
    JobError,
    JobKind,
    JobState,
    find_job,
    list_jobs,
)
from fastcms.backups.restore_schemas import SafetyCopyInfo
from fastcms.backups.schemas import CreatedBackup
from fastcms.database import utc_now
from fastcms.errors import NotEnoughSpaceError
from fastcms.site import Site
from tests.conftest import wait_until
from tests.integration.admin.conftest import Browser
from tests.runs import add_run

_HALF = Progress("writing the archive", 2_000_000, 4_000_000)


@contextmanager
def running_job(site: Site, kind: JobKind = JobKind.CREATE, filename: str | None = None) -> Iterator[Job]:
    """A job that is half done, and goes on until the end of the block, or until it is cancelled."""
    is_over = threading.Event()

    def work(on_progress: OnProgress) -> CreatedBackup:
        on_progress(_HALF)
        while not is_over.wait(0.05):
            on_progress(_HALF)
        raise NotEnoughSpaceError("There is no space.", hint="Make some: `df`.")

    job = jobs.start(site, jobs.Task(kind, "anna", work, lambda made: made, filename))
    yield job
    is_over.set()
    wait_for(site, job.id)


def wait_for(site: Site, job_id: str) -> Job:
    wait_until(lambda: not find_job(site, job_id).is_running)
    return find_job(site, job_id)


def put_backups(site: Site, *days_ago: int) -> list[str]:
    """Names of backups in the list, newest first, that are not opened."""
    found = [
        service.path_of(data_paths(site), (utc_now() - timedelta(days=days)).replace(microsecond=0))
        for days in days_ago
    ]
    for path in found:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not opened")
    return [path.name for path in found]


def test_a_new_site_waits_for_its_first_backup(admin_browser: Browser, site: Site) -> None:
    page = admin_browser.open("/backups").text
    assert "Waiting for the first backup" in page
    assert "No backups yet" in page
    assert "none so far" in page
    assert "Create Backup" in page
    assert "Waiting for the first backup" in admin_browser.open("/").text


def test_the_top_says_when_what_was_and_what_comes(admin_browser: Browser, site: Site) -> None:
    service.create_backup(site)
    change_settings(site, {"schedule": "0 2 * * *", "timezone": "Europe/Berlin"})
    page = admin_browser.open("/backups").text
    assert "Everything is backed up" in page
    assert "at 02:00 (Europe/Berlin)" in page
    assert "free, the next backup needs about" in page
    assert "Nobody would be told if a backup failed." in page
    assert "Everything is backed up" in admin_browser.open("/").text
    change_settings(site, {"schedule": "off", "notify_urls": ["json://localhost"]})
    page = admin_browser.open("/backups").text
    assert "Backed up, with warnings" in page
    assert "set a schedule" in page
    assert "Open settings" in page
    assert "Nobody would be told" not in page
    assert "No backup is made by itself" in admin_browser.open("/").text


def test_editors_are_not_told_of_backups(editor_browser: Browser, site: Site) -> None:
    service.create_backup(site)
    assert "safety-sentence" not in editor_browser.open("/").text
    assert editor_browser.open("/backups").status_code == 403
    assert editor_browser.open("/backups/jobs").status_code == 403


def test_a_running_job_is_shown_and_cancelled(admin_browser: Browser, site: Site) -> None:
    service.create_backup(site)
    with running_job(site) as job:
        page = admin_browser.open("/backups").text
        piece = admin_browser.open("/backups/jobs").text
        for text in (page, piece):
            assert f'data-job-url="/api/v1/backups/jobs/{job.id}"' in text
            assert "Packing the database and the files" in text
            assert 'aria-valuenow="50"' in text
        assert "<html" not in piece
        assert "Backing up now" in page
        assert "data-create disabled>" in page
        assert "Backing up now" not in piece
        assert "Backing up now" in admin_browser.open("/backups/jobs?with=safety").text
        cancelled = admin_browser.send(f"/backups/jobs/{job.id}/cancel", {}, page="/backups")
    assert "The backup was cancelled." in cancelled.text
    assert "cancelled by admin@example.com" in cancelled.text
    assert list_jobs(site)[0].state is JobState.CANCELLED
    twice = admin_browser.send(f"/backups/jobs/{job.id}/cancel", {}, page="/backups")
    assert "has ended already" in twice.text


def test_a_job_that_failed_meanwhile_is_on_top_and_in_the_list(admin_browser: Browser, site: Site) -> None:
    service.create_backup(site)
    with running_job(site) as job:
        pass
    page = admin_browser.open("/backups").text
    assert "A backup needs attention" in page
    assert "There is no space." in page[page.index("safety-sentence") : page.index('id="list"')]
    assert "There is no space." in _rows(page)
    assert "Make some: <code>df</code>." in page
    assert page.count("Make a backup now") == 1
    told = admin_browser.open(f"/backups?job={job.id}").text
    outcome = told[told.index("data-job-outcome") : told.index("safety-sentence")]
    assert "The backup failed." in outcome
    assert "There is no space." in outcome


def test_a_job_that_nobody_knows_is_no_error(admin_browser: Browser, site: Site) -> None:
    for job_id in ("20200101_000000_000000", "<script>", ""):
        page = admin_browser.open(f"/backups?job={job_id}")
        assert page.status_code == 200
        assert "data-job-outcome" not in page.text
    gone = admin_browser.send("/backups/jobs/20200101_000000_000000/cancel", {}, page="/backups")
    assert "There is no job" in gone.text


def test_the_messages_that_wait_are_not_taken_by_the_piece(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    found = admin_browser.client.post  # without following: the message waits in a cookie
    token = admin_browser.open("/backups").text.split('name="csrftoken" value="')[1].split('"')[0]
    found(f"/admin/backups/{backup.filename}/pin", data={"csrftoken": token}, follow_redirects=False)
    admin_browser.open("/backups/jobs")
    assert f"Pinned {backup.filename}" in admin_browser.open("/backups").text


@pytest.mark.parametrize(("level", "badge"), [("light", "checked"), ("full", "restored as a test")])
def test_a_backup_is_verified_as_a_job(admin_browser: Browser, site: Site, level: str, badge: str) -> None:
    backup = service.create_backup(site)
    assert "not verified</span>" in admin_browser.open("/backups").text
    path = f"/backups/{backup.filename}/verify"
    begun = admin_browser.send(path, {"level": level}, page="/backups")
    job = wait_for(site, begun.url.params["job"])
    assert (job.kind, job.state, job.requested_by) == (
        JobKind.VERIFY,
        JobState.SUCCEEDED,
        "admin@example.com",
    )
    page = admin_browser.open(f"/backups?job={job.id}").text
    assert f"{backup.filename} is sound." in page
    assert f"{badge}</span>" in page
    assert (
        "A verification is light or full."
        in admin_browser.send(path, {"level": "deep"}, page="/backups").text
    )


def test_a_damaged_backup_is_marked_as_that(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    content = bytearray(Path(backup.path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(backup.path).write_bytes(content)
    begun = admin_browser.send(f"/backups/{backup.filename}/verify", {"level": "light"}, page="/backups")
    job = wait_for(site, begun.url.params["job"])
    page = admin_browser.open(f"/backups?job={job.id}").text
    assert f"Verifying {backup.filename} failed." in page
    assert "damaged</span>" in page
    assert backup.filename in admin_browser.open("/backups?show=damaged").text
    assert backup.filename not in _rows(admin_browser.open("/backups?show=verified").text)


def test_a_backup_is_pinned_and_unpinned(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    pinned = admin_browser.send(f"/backups/{backup.filename}/pin", {}, page="/backups").text
    assert "it stays until it is unpinned" in pinned
    assert "admin@example.com wants it kept" in pinned
    assert "/unpin" in pinned
    unpinned = admin_browser.send(f"/backups/{backup.filename}/unpin", {}, page="/backups").text
    assert "the policy decides about it again" in unpinned
    assert service.find_backup(site, backup.filename).notes.pinned is None


def test_a_backup_that_is_no_loss_is_deleted_with_one_more_click(admin_browser: Browser, site: Site) -> None:
    newest, middle, _oldest = put_backups(site, 0, 1, 2)
    page = admin_browser.open(f"/backups/{middle}/delete").text
    assert 'name="confirm"' not in page
    assert "What is lost with it" not in page
    assert "It is the newest backup." in admin_browser.open(f"/backups/{newest}/delete").text
    gone = admin_browser.send(f"/backups/{middle}/delete", {})
    assert f"Deleted {middle}." in gone.text
    assert middle not in [backup.filename for backup in service.list_backups(site)]


def test_the_only_backup_wants_its_name_typed(admin_browser: Browser, site: Site) -> None:
    (name,) = put_backups(site, 0)
    path = f"/backups/{name}/delete"
    assert "It is the only backup." in admin_browser.open(path).text
    for typed in ({}, {"confirm": ""}, {"confirm": "yes"}, {"confirm": name[:-5]}):
        refused = admin_browser.send(path, typed)
        assert "the name that was typed is not that of this backup." in refused.text
        assert 'name="confirm"' in refused.text
    assert len(service.list_backups(site)) == 1
    assert f"Deleted {name}." in admin_browser.send(path, {"confirm": f" {name} "}).text
    assert service.list_backups(site) == []


def test_a_pinned_backup_is_deleted_with_its_pin_once_its_name_is_typed(
    admin_browser: Browser, site: Site
) -> None:
    _newest, name, _oldest = put_backups(site, 0, 1, 2)
    pinning.pin(site, name, "somebody")
    path = f"/backups/{name}/delete"
    assert "somebody wants it kept. Deleting it unpins it." in admin_browser.open(path).text
    assert "the name that was typed is not that" in admin_browser.send(path, {}).text
    assert f"Deleted {name}." in admin_browser.send(path, {"confirm": name}).text
    assert name not in backup_notes.read_notes(site)


def test_a_backup_that_became_grave_while_the_page_was_open_is_not_deleted(
    admin_browser: Browser, site: Site
) -> None:
    _newest, name, _oldest = put_backups(site, 0, 1, 2)
    assert 'name="confirm"' not in admin_browser.open(f"/backups/{name}/delete").text
    backup_notes.note(
        site, name, verified="2026-11-20T00:00:00Z", verified_outcome="ok", verified_level="light"
    )
    refused = admin_browser.send(f"/backups/{name}/delete", {}, page="/backups")
    assert "the name that was typed is not that" in refused.text
    assert "It is the only backup that is known to be sound." in refused.text


def test_a_backup_in_use_says_what_to_wait_for(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    path = f"/backups/{backup.filename}/delete"
    with running_job(site, JobKind.VERIFY, backup.filename):
        page = admin_browser.open(path).text
        assert "It cannot be deleted now" in page
        assert "Show what is going on" in page
        assert "Delete this backup" not in page
    restoring.stage_restore(site, backup.filename, "anna", approved=None)
    page = admin_browser.open(path).text
    assert "Its restore waits for a restart of the server." in page
    assert "Open the restore" in page
    refused = admin_browser.send(path, {"confirm": backup.name}, page="/backups")
    assert "is in use: its restore is staged" in refused.text
    assert len(service.list_backups(site)) == 1


def test_the_list_holds_failures_and_is_filtered(admin_browser: Browser, site: Site) -> None:
    newest, older = put_backups(site, 0, 3)
    started = utc_now() - timedelta(days=1)
    error = JobError(status=507, detail="The <disk> is full.", code="not_enough_space", hint="Make space.")
    add_run(site, started, JobState.FAILED, error=error)
    backup_notes.note(site, older, trigger="scheduled")
    rows = _rows(admin_browser.open("/backups").text)
    assert rows.index(newest) < rows.index("No backup was made") < rows.index(older)
    assert "The &lt;disk&gt; is full. Make space." in rows
    failed = _rows(admin_browser.open("/backups?show=failed").text)
    assert "No backup was made" in failed
    assert newest not in failed
    assert newest not in _rows(admin_browser.open("/backups?show=scheduled").text)
    assert "Nothing to show" in admin_browser.open("/backups?show=pinned").text
    for strange in ("", "everything", "<b>"):
        assert newest in _rows(admin_browser.open(f"/backups?show={strange}").text)


def test_many_backups_come_page_by_page_and_keep_the_filter(admin_browser: Browser, site: Site) -> None:
    names = put_backups(site, *range(51))
    first, last = admin_browser.open("/backups").text, admin_browser.open("/backups?show=manual&page=2").text
    assert names[0] in _rows(first)
    assert names[50] not in _rows(first)
    assert names[50] in _rows(last)
    assert names[0] not in _rows(last)
    assert "51 backups" in last
    assert "show=manual&amp;page=1" in last
    assert "Page 2 of 2" in admin_browser.open("/backups?page=99").text


def test_the_safety_copy_is_a_row_that_leads_to_its_undo(
    admin_browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = put_backups(site, 1)
    assert "safety copy</span>" not in admin_browser.open("/backups").text
    copy = SafetyCopyInfo(before_restore_of=name, replaced=utc_now(), size_bytes=5_000_000)
    status = restoring.restore_status(site).model_copy(update={"safety_copy": copy})
    monkeypatch.setattr(restoring, "restore_status", lambda _site: status)
    for path in ("/backups", "/backups?show=safety"):
        rows = _rows(admin_browser.open(path).text)
        assert "The state before the latest restore" in rows
        assert "5.0 MB" in rows
        assert "Look at it" in rows


def test_backups_that_cannot_be_listed_are_said_to_be_so(
    admin_browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.create_backup(site)
    monkeypatch.setattr(os, "scandir", _refuse)
    page = admin_browser.open("/backups")
    assert page.status_code == 200
    assert "The backups cannot be listed now" in page.text
    assert "A backup needs attention" in page.text
    assert "Listing the backups failed" in page.text


def test_without_its_history_the_page_shows_the_backups(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    history_path(site).unlink(missing_ok=True)
    history_path(site).mkdir()
    page = admin_browser.open("/backups")
    assert page.status_code == 200
    assert backup.filename in _rows(page.text)
    assert "A backup needs attention" in page.text


def _refuse(*_arguments: object) -> None:
    raise PermissionError(13, "Permission denied", "data/backups")


def _rows(page: str) -> str:
    return page[page.index('id="list"') : page.index("data-upload-zone")]
