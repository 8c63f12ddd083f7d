"""A real server and a real browser. A page fails its test when anything goes wrong behind what it shows.

`page` is a stranger on a new and empty site. `admin_page` is an admin, logged in already: on the server
that the tests of a module share, so they have to get on with each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from fastcms.backups import jobs, tasks
from tests.browser.club import copy_elsewhere, found_club
from tests.browser.visiting import EMAIL, WatchedPage, launch_chromium, log_in_admin, open_site, use_session
from tests.e2e.conftest import Server
from tests.e2e.conftest import server as server  # noqa: PLC0414 - a fixture

expect.set_options(timeout=20_000)  # both cores may be busy with other tests


@dataclass(frozen=True)
class SharedSite:
    """A running server with a club's content, its admin's session, some news, and a backup with a copy."""

    server: Server
    token: str
    backup_filename: str
    record_id: str
    destination_id: str


# Not one for all modules: while Playwright runs, no other test of this process can run an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launch_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedSite]:
    folder = tmp_path_factory.mktemp("site")
    with open_site(folder) as site:
        token = log_in_admin(site)
        record_id = found_club(site)
        backup = jobs.run(site, tasks.creation(site, EMAIL))
        destination_id = copy_elsewhere(site, backup, folder / "far")
    running = Server(folder)
    running.start()
    yield SharedSite(running, token, backup.filename, record_id, destination_id)
    running.stop()


@pytest.fixture
def watched(chromium: Browser, server: Server) -> Iterator[WatchedPage]:
    """A stranger's browser on a new site."""
    visit = WatchedPage(chromium, server.url)
    yield visit
    visit.context.close()
    assert visit.problems == []


@pytest.fixture
def page(watched: WatchedPage) -> Page:
    return watched.page


@pytest.fixture
def watched_admin(chromium: Browser, shared_site: SharedSite) -> Iterator[WatchedPage]:
    """An admin's browser on the shared site."""
    visit = WatchedPage(chromium, shared_site.server.url)
    use_session(visit.context, shared_site.server.url, shared_site.token)
    yield visit
    visit.context.close()
    assert visit.problems == []


@pytest.fixture
def admin_page(watched_admin: WatchedPage) -> Page:
    return watched_admin.page
