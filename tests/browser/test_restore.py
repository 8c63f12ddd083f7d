"""A restore and its undo, with the mouse alone: the server restarts itself, and the page waits for it."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from fastcms.backups import jobs, tasks
from fastcms.media import service as media
from tests.browser.club import found_club
from tests.browser.visiting import EMAIL, PASSWORD, WatchedPage, log_in_admin, open_site, use_session
from tests.e2e.conftest import OwnServer

STATUS = re.compile("/admin/backups/restore$")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    running = OwnServer(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def page(chromium: Browser, own_server: OwnServer) -> Iterator[Page]:
    """An admin on a site that has a backup, and a file more than that."""
    with open_site(own_server.folder) as site:
        token = log_in_admin(site)
        found_club(site)
        jobs.run(site, tasks.creation(site, EMAIL))
        media.add_file(site, BytesIO(b"made since"), "since.txt")
    own_server.start()
    visit = WatchedPage(chromium, own_server.url)
    use_session(visit.context, own_server.url, token)
    visit.expects_restart = True
    yield visit.page
    visit.context.close()
    assert visit.problems == []


def restart_now(page: Page) -> None:
    """Click, wait without touching anything until the page asks who is there, and log in."""
    expect(page.get_by_role("heading", name="Staged: restart the server to complete")).to_be_visible()
    page.get_by_role("button", name="Restart now").click()
    page.get_by_role("dialog").get_by_role("button", name="Restart now").click()
    expect(page.get_by_role("heading", name="The server is restarting")).to_be_focused()
    expect(page.get_by_text("A restore ends every login.")).to_be_visible()
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(STATUS)


def has_file(page: Page, name: str) -> bool:
    page.goto("/admin/files")
    found = page.get_by_role("link", name=name).count() > 0
    page.goto("/admin/backups/restore")
    return found


def test_a_site_is_restored_and_taken_forward_again_without_a_terminal(
    page: Page, own_server: OwnServer
) -> None:
    page.goto("/admin/backups")
    page.get_by_role("link", name="Restore").first.click()
    expect(page.get_by_text("you lose at least 1 file.")).to_be_visible()
    name = page.get_by_label("To go on, type the name of the backup")
    button = page.get_by_role("button", name="Check and prepare this restore")
    name.fill("backup")
    expect(button).to_be_disabled()
    name.fill(page.locator("#backup-name").inner_text())
    button.click()
    restart_now(page)
    expect(page.get_by_role("heading", name="Restored", exact=True)).to_be_visible()
    assert not has_file(page, "since.txt")

    expect(page.get_by_text("At least 1 file comes back.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Prepare the undo").click()
    restart_now(page)
    expect(page.get_by_role("heading", name="Undone", exact=True)).to_be_visible()
    assert has_file(page, "since.txt")
    assert own_server.terminal.count("Restarting.") == 2

    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Delete it for good").click()
    expect(page.get_by_text("cannot be undone any more")).to_be_visible()
    expect(page.get_by_role("heading", name="The state before that is kept")).to_have_count(0)
