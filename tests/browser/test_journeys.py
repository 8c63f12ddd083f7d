"""The dashboard in a real browser on a real server, as a person clicks it."""

import re
import zipfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.visiting import EMAIL, PASSWORD, WatchedPage
from tests.e2e.conftest import Server

_SETUP_CODE = re.compile(r"^ +([0-9a-f]{4}(?:-[0-9a-f]{4}){2})$", re.MULTILINE)


def _set_up(page: Page, server: Server) -> None:
    found = _SETUP_CODE.search(server.terminal)
    assert found is not None, server.terminal
    page.goto("/admin")
    page.get_by_label("Set-up code").fill(found[1])
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("heading", name="Home")).to_be_visible()


def _log_in(page: Page) -> None:
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def _menu(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()


def _prepare_restore(page: Page) -> None:
    button = page.get_by_role("button", name="Check and prepare this restore")
    expect(button).to_be_disabled()
    page.get_by_label("To go on, type the name of the backup").fill(page.locator("#backup-name").inner_text())
    button.click()
    expect(page.get_by_role("heading", name="Staged: restart the server to complete")).to_be_visible()


def _make_collection(page: Page) -> None:
    _menu(page, "Collections")
    page.get_by_role("link", name="New collection").first.click()
    page.locator("#name").fill("articles")
    page.locator("[name=field-0-name]").fill("title")
    page.locator("[name=field-0-required]").check()
    page.get_by_role("button", name="Add a field").click()
    page.locator("[name=field-1-name]").fill("kind")
    page.locator("[name=field-1-type]").select_option(label="One of a list")
    page.locator("[name=field-1-values]").fill("News\nEssay")
    page.get_by_role("button", name="Add a field").click()
    page.locator("[name=field-2-name]").fill("picture")
    page.locator("[name=field-2-type]").select_option(label="File or picture")
    page.get_by_role("button", name="Create collection").click()
    expect(page.get_by_text("Created articles.")).to_be_visible()


def _make_record(page: Page, title: str) -> None:
    _menu(page, "articles")
    page.get_by_role("link", name="New record").first.click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Kind").select_option("Essay")
    page.wait_for_load_state()  # until then, the button has no script
    page.get_by_role("button", name="Choose").click()
    page.locator("[data-pick-list] button", has_text="picture.png").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("cell", name=title, exact=True)).to_be_visible()


def test_from_set_up_to_a_restored_site(watched: WatchedPage, server: Server, tmp_path: Path) -> None:
    page = watched.page
    _set_up(page, server)
    _make_collection(page)

    Image.new("RGB", (320, 200), "teal").save(tmp_path / "picture.png")
    _menu(page, "Files")
    page.locator("#upload-input").set_input_files(tmp_path / "picture.png")
    expect(page.get_by_role("link", name="picture.png")).to_be_visible()
    assert (
        page.locator(".file-grid img").evaluate("image => image.decode().then(() => image.naturalWidth)")
        == 320
    )
    _make_record(page, "Before the backup")

    _menu(page, "Backups")
    page.get_by_role("button", name="Create Backup").click()
    expect(page.get_by_role("alert").get_by_text("Created backup_")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert {"database.db", "metadata.json"} <= set(zipfile.ZipFile(download.value.path()).namelist())

    _make_record(page, "After the backup")
    _menu(page, "Backups")
    page.get_by_role("link", name="Restore").click()
    expect(page.get_by_text("you lose at least 1 record.")).to_be_visible()
    _prepare_restore(page)

    watched.expects_restart = True
    server.restart()  # by hand: the page notices
    expect(page.get_by_text("A restore ends every login.")).to_be_visible()
    _log_in(page)
    expect(page.get_by_role("heading", name="Restored")).to_be_visible()
    _menu(page, "articles")
    expect(page.get_by_role("cell", name="Before the backup", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name="After the backup", exact=True)).to_have_count(0)
    assert (
        page.locator("img.file-thumbnail").evaluate("image => image.decode().then(() => image.naturalWidth)")
        == 320
    )


def test_a_backup_from_another_machine_is_uploaded_and_restored_with_the_password(
    page: Page, server: Server, tmp_path: Path
) -> None:
    _set_up(page, server)
    _menu(page, "Backups")
    page.get_by_role("button", name="Create Backup").click()
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    (made,) = (tmp_path / "data" / "backups").glob("backup_*.zip")
    archive = made.rename(tmp_path / "from another machine.zip")

    page.reload()
    page.locator("#upload-input").set_input_files(archive)
    expect(page.get_by_text("uploaded", exact=True)).to_be_visible()
    page.get_by_role("link", name="Restore").click()
    expect(page.get_by_role("definition").filter(has_text=EMAIL)).to_be_visible()
    page.get_by_label("Your own password").fill(PASSWORD)
    _prepare_restore(page)
