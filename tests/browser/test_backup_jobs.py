"""Long work on the page of backups, as somebody sees it who looks on: the work itself is this test's."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fastcms.backups import jobs
from fastcms.backups.copying import copy_missing
from fastcms.backups.elsewhere import add_destination
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.job_files import Job, JobKind, JobState, find_job
from fastcms.backups.schemas import CreatedBackup
from fastcms.config import Settings
from fastcms.site import Site, new_site
from tests.browser.conftest import SharedSite
from tests.browser.visiting import EMAIL, WatchedPage

_TOTAL_BYTES = 4_000_000_000


class Work:
    """A backup that is as far as the test says."""

    def __init__(self, site: Site, filename: str) -> None:
        self.percent = 10
        self._site = site
        self._filename = filename
        self._is_done = threading.Event()

    def begin(self) -> Job:
        return jobs.start(self._site, jobs.Task(JobKind.CREATE, "the schedule", self._work, self._describe))

    def end(self) -> None:
        self._is_done.set()

    def _work(self, on_progress: OnProgress) -> None:
        while not self._is_done.wait(0.05):
            done_bytes = _TOTAL_BYTES * self.percent // 100
            on_progress(Progress("writing the archive", done_bytes, _TOTAL_BYTES))

    def _describe(self, _result: None) -> CreatedBackup:
        return CreatedBackup(
            filename=self._filename, size_bytes=1, created="", path="", problems=[], counts={"records": 1}
        )


@pytest.fixture
def site(shared_site: SharedSite) -> Site:
    """The site of the server, for this process to work on it, too."""
    return new_site(Settings(_env_file=None, data_dir=shared_site.server.folder / "data"))


@pytest.fixture
def work(site: Site, shared_site: SharedSite) -> Iterator[Work]:
    work = Work(site, shared_site.backup_filename)
    yield work
    work.end()


def test_a_backup_begun_elsewhere_is_followed_in_two_tabs_and_cancelled_in_one(
    admin_page: Page, work: Work, site: Site
) -> None:
    admin_page.goto("/admin/backups")
    expect(admin_page.get_by_role("heading", name="Backing up now")).to_have_count(0)
    job = work.begin()
    progress = admin_page.get_by_role("progressbar", name="Creating a backup")
    expect(progress).to_have_attribute("aria-valuenow", "10")
    expect(admin_page.get_by_role("heading", name="Backing up now")).to_be_visible()
    expect(admin_page.get_by_text("400.0 MB of 4.0 GB")).to_be_visible()

    other_tab = admin_page.context.new_page()
    other_tab.goto("/admin/backups")
    work.percent = 60
    for tab in (admin_page, other_tab):
        expect(tab.get_by_role("progressbar", name="Creating a backup")).to_have_attribute(
            "aria-valuenow", "60"
        )
        expect(tab.get_by_text("2.4 GB of 4.0 GB")).to_be_visible()
    admin_page.reload()
    expect(progress).to_have_attribute("aria-valuenow", "60")

    other_tab.get_by_role("button", name="Cancel: Creating a backup").click()
    for tab in (admin_page, other_tab):
        expect(tab.get_by_role("alert").get_by_text("The backup was cancelled.")).to_be_visible()
        expect(tab.get_by_role("progressbar", name="Creating a backup")).to_have_count(0)
    assert find_job(site, job.id).state is JobState.CANCELLED


def test_numbers_are_not_shown_as_new_while_the_connection_is_lost(
    watched_admin: WatchedPage, work: Work, shared_site: SharedSite
) -> None:
    page = watched_admin.page
    work.begin()
    page.goto("/admin/backups")
    expect(page.get_by_text("400.0 MB of 4.0 GB")).to_be_visible()
    watched_admin.context.set_offline(True)
    expect(page.get_by_text("The connection is lost. The work does not need it")).to_be_visible()
    expect(page.get_by_text("of 4.0 GB")).to_have_count(0)
    work.percent = 80
    watched_admin.context.set_offline(False)
    expect(page.get_by_text("3.2 GB of 4.0 GB")).to_be_visible()
    expect(page.get_by_text("The connection is lost")).to_have_count(0)
    work.end()
    expect(page.get_by_role("alert").get_by_text(f"Created {shared_site.backup_filename}.")).to_be_visible()
    watched_admin.problems = [text for text in watched_admin.problems if "INTERNET_DISCONNECTED" not in text]


def test_an_upload_that_is_refused_says_why_and_the_others_go_on(
    watched_admin: WatchedPage, shared_site: SharedSite, tmp_path: Path
) -> None:
    page = watched_admin.page
    watched_admin.expected_statuses = {422}
    pictures, twin = tmp_path / "holiday pictures.zip", tmp_path / "from the old machine.zip"
    pictures.write_bytes(b"PK\x03\x04" + b"no archive" * 100)
    backups_dir = shared_site.server.folder / "data" / "backups"
    twin.write_bytes((backups_dir / shared_site.backup_filename).read_bytes())
    page.goto("/admin/backups")
    page.get_by_label("Upload a backup", exact=True).set_input_files([pictures, twin])
    expect(page.get_by_text("holiday pictures.zip: The archive is damaged")).to_be_visible()
    expect(page.get_by_text("from the old machine.zip: This very archive is there already")).to_be_visible()
    expect(page.get_by_role("progressbar", name="Uploading")).to_have_count(0)
    page.goto("/admin")  # nothing asks whether to leave: nothing is being sent
    expect(page.get_by_role("heading", name="Home")).to_be_visible()


def test_a_copy_is_seen_as_it_is_made_and_takes_nobody_away(
    admin_page: Page, site: Site, shared_site: SharedSite, tmp_path: Path
) -> None:
    add_destination(site, f"file://{tmp_path}?limit=40kB", {}, EMAIL)
    admin_page.goto("/admin/backups")
    copies = admin_page.locator(f'[data-copies="{shared_site.backup_filename}"]')
    place = copies.locator(".copy-line", has_text=str(tmp_path))
    expect(place).to_contain_text("waiting")
    copying = threading.Thread(target=copy_missing, args=[site])
    copying.start()
    look_again = "document.dispatchEvent(new Event('visibilitychange'))"  # or else it takes five seconds
    box = admin_page.get_by_role("region", name=f"Copying {shared_site.backup_filename} to")
    while not box.count():
        admin_page.evaluate(look_again)
        admin_page.wait_for_timeout(200)
    expect(box.get_by_role("button", name="Cancel")).to_be_visible()
    expect(place).to_contain_text(re.compile(r"being copied\s*\d+ %"))
    copying.join()
    expect(box).to_have_count(0)
    admin_page.evaluate(look_again)
    expect(place).to_contain_text(re.compile(r"copied .*(now|ago)"))
    expect(admin_page.locator("[data-changed], [data-job-outcome]")).to_have_count(0)
