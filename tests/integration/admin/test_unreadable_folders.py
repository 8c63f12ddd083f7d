"""Pages whose folders do not answer: they say so, and show all the rest."""

import pytest
from fastapi.testclient import TestClient

from fastcms.site import Site
from tests.integration.admin.conftest import Browser


@pytest.fixture
def strange_marker(site: Site) -> None:
    site.settings.backups_dir.mkdir(exist_ok=True)
    (site.settings.backups_dir / ".restore_pending").write_text("no marker of ours")


@pytest.fixture
def unreadable_jobs(site: Site) -> None:
    """Nobody can list it: as if the permissions were wrong, which do not count for root."""
    site.settings.backups_dir.mkdir(exist_ok=True)
    (site.settings.backups_dir / ".jobs").write_text("no folder")


@pytest.mark.usefixtures("strange_marker")
def test_a_pending_restore_that_cannot_be_read_is_told_to_admins_and_keeps_nobody_out(
    admin_browser: Browser, editor_browser: Browser
) -> None:
    for path in ("", "/backups"):
        page = admin_browser.open(path)
        assert page.status_code == 200
        assert ".restore_pending cannot be read" in page.text
    home = editor_browser.open("")
    assert home.status_code == 200
    assert ".restore_pending" not in home.text


@pytest.mark.usefixtures("unreadable_jobs")
def test_jobs_that_cannot_be_listed_are_told_and_the_page_shows_the_rest(admin_browser: Browser) -> None:
    page = admin_browser.open("/backups")
    assert page.status_code == 200
    assert "Looking at the jobs failed: Not a directory" in page.text


@pytest.mark.usefixtures("unreadable_jobs")
def test_a_folder_that_cannot_be_used_is_refused_in_words_where_nobody_expects_it(
    admin_browser: Browser, client: TestClient
) -> None:
    page = admin_browser.open("/backups/restore")
    assert page.status_code == 500
    assert "cannot be used: Not a directory" in page.text
    answer = client.get("/api/v1/backups/jobs")
    assert answer.json()["code"] == "data_folder_unusable"
