"""A site comes back in the browser: from the set-up page of a new one, with a folder and a key."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pyrage.x25519 import Identity

from fastcms.backups import encryption, service
from fastcms.media import service as media
from tests.browser.barriers import find_barriers
from tests.browser.club import found_club
from tests.browser.visiting import DESKTOP, EMAIL, PASSWORD, WatchedPage, log_in_admin, open_site
from tests.e2e.conftest import OwnServer

KEY = Identity.generate()


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """Where the backups of a site that is lost are kept, encrypted."""
    (tmp_path / "old").mkdir()
    (tmp_path / "far").mkdir()
    with open_site(tmp_path / "old") as site:
        log_in_admin(site)
        found_club(site)
        media.add_file(site, BytesIO(b"from the old machine"), "old.txt")
        content = Path((backup := service.create_backup(site)).path).read_bytes()
    with encryption.encrypted([content], len(content), [KEY.to_public()]) as stream:
        (tmp_path / "far" / f"{backup.filename}.age").write_bytes(b"".join(stream.chunks))
    return tmp_path / "far"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    (tmp_path / "new").mkdir()
    running = OwnServer(tmp_path / "new")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def page(chromium: Browser, own_server: OwnServer) -> Iterator[Page]:
    visit = WatchedPage(chromium, own_server.url)
    visit.expects_restart = True
    visit.expected_statuses = {422}
    yield visit.page
    visit.context.close()
    assert visit.problems == []


def test_a_site_comes_back_on_the_set_up_page_of_a_new_one(
    page: Page, own_server: OwnServer, far: Path
) -> None:
    page.goto("/admin")
    page.get_by_role("link", name="Restore from a backup").click()
    code = re.search(r"^ +([0-9a-f]{4}(?:-[0-9a-f]{4}){2})$", own_server.terminal, re.MULTILINE)
    assert code is not None, own_server.terminal
    page.get_by_label("Set-up code").fill(code[1])
    page.get_by_role("button", name="Go on").click()
    assert find_barriers(page, "/admin/setup/restore") == []
    page.set_viewport_size(DESKTOP)
    page.get_by_role("link", name="A folder").click()
    page.get_by_label("Folder").fill(str(far))
    page.get_by_role("button", name="Show what is there").click()
    expect(page.get_by_role("radio")).to_be_checked()
    page.get_by_role("button", name="Fetch, check and prepare").click()
    expect(page.get_by_role("alert")).to_contain_text("there is no key to decrypt it with")
    page.get_by_label("Key to decrypt with").fill(str(KEY))
    page.get_by_role("button", name="Show what is there").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_label("Key to decrypt with")).to_have_value(str(KEY))  # which no answer repeats
    page.get_by_role("button", name="Fetch, check and prepare").click()
    page.get_by_role("button", name="Restart now").click()
    expect(page).to_have_url(re.compile("/admin/login$"))
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.goto("/admin/files")
    expect(page.get_by_role("link", name="old.txt").first).to_be_visible()
