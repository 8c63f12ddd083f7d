"""What happens on the pages of content by script, and that they are of use."""

import re
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import SharedSite


def test_records_are_filtered_and_shown_as_one_likes(admin_page: Page) -> None:
    page = admin_page
    page.goto("/admin/records-members/list")
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Role").uncheck()
    page.locator("[data-apply-columns]").click()
    expect(page.get_by_role("columnheader", name="Role")).to_have_count(0)
    page.get_by_label("Per page").select_option("50")
    expect(page).to_have_url(re.compile("page_size=50"))
    page.get_by_label("Search in list").fill("Mei")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="Mei Lin").first.click()
    expect(page.get_by_role("heading", name="Mei Lin", level=1)).to_be_visible()
    expect(page).to_have_title("Mei Lin · members · FastCMS")


def test_a_record_is_deleted_after_a_question_that_names_it(admin_page: Page) -> None:
    page = admin_page
    page.goto("/admin/records-boats/list")
    page.get_by_role("button", name="Delete Forelle").click()
    dialog = page.get_by_role("dialog", name="Delete “Forelle”?")
    expect(dialog).to_contain_text("Only restoring a backup brings it back.")
    dialog.get_by_role("button", name="Yes, delete").click()
    expect(page.get_by_role("link", name="Forelle")).to_have_count(0)


def test_a_picture_is_dropped_previewed_and_deleted(admin_page: Page, tmp_path: Path) -> None:
    page = admin_page
    page.goto("/admin/files")
    picture = BytesIO()
    Image.new("RGB", (320, 200), "teal").save(picture, "PNG")
    dropped = page.evaluate_handle(
        """bytes => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(bytes)], "teal.png", { type: "image/png" }));
            return dropped;
        }""",
        list(picture.getvalue()),
    )
    page.locator("[data-upload-zone]").dispatch_event("drop", {"dataTransfer": dropped})
    page.get_by_role("link", name="Preview teal.png").click()
    dialog = page.get_by_role("dialog", name="teal.png")
    width = "picture => picture.decode().then(() => picture.naturalWidth)"
    assert dialog.get_by_role("img", name="teal.png").evaluate(width) == 320
    expect(dialog).to_contain_text("image/png")
    address = dialog.get_by_label("Address, for links and pages").input_value()
    assert page.request.get(address).body() == picture.getvalue()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Delete teal.png").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete file").click()
    expect(page.get_by_role("link", name="Preview teal.png")).to_have_count(0)


def test_a_file_that_is_chosen_before_the_script_has_arrived_is_uploaded(
    admin_page: Page, tmp_path: Path
) -> None:
    page, held = admin_page, list[Route]()
    page.route("**/upload.js*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright wants a Python function
    page.goto("/admin/files", wait_until="commit")
    (tmp_path / "early.txt").write_text("early")
    page.locator("#upload-input").set_input_files(tmp_path / "early.txt")
    held[0].continue_()
    expect(page.get_by_role("link", name="early.txt")).to_be_visible()


def test_a_file_is_picked_with_the_keyboard(admin_page: Page) -> None:
    page = admin_page
    page.goto("/admin/records-members/create")
    choose = page.get_by_role("button", name="Choose a file for Portrait")
    choose.press("Enter")
    expect(page.get_by_label("Search files by name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(choose).to_be_focused()
    choose.press("Enter")
    page.keyboard.type("Regatta 2026, start")
    picked = page.get_by_role("button", name="Regatta 2026, start.jpg")
    expect(page.locator("[data-pick-list] button")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(picked).to_be_focused()
    page.keyboard.press("Enter")
    expect(choose).to_be_focused()
    expect(page.locator("[data-picked]")).to_have_text("Regatta 2026, start.jpg")


def test_colours_follow_the_system_until_one_chooses(admin_page: Page) -> None:
    page = admin_page
    page.emulate_media(color_scheme="dark")
    page.goto("/admin/accounts")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    dark = page.get_by_role("button", name="Dark colours")
    expect(dark).to_have_attribute("aria-pressed", "true")
    dark.click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


def test_a_token_is_copied_while_it_is_shown(admin_page: Page) -> None:
    page = admin_page
    page.goto("/admin/tokens")
    page.get_by_label("Name").fill("website")
    page.get_by_role("button", name="Create token").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.goto("/admin/tokens")
    expect(page.get_by_label("The new token")).to_have_count(0)


def test_what_a_destination_keeps_is_asked_when_the_page_is_there_and_brought_here(
    admin_page: Page, shared_site: SharedSite
) -> None:
    page, filename = admin_page, shared_site.backup_filename
    page.goto(f"/admin/backups/destinations/{shared_site.destination_id}")
    expect(page.get_by_role("link", name=f"Fetch {filename}.age")).to_be_visible()
    page.get_by_role("button", name=f"Fetch {filename}", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text=f"Fetched {filename}")).to_be_visible()
    page.get_by_role("link", name=f"Restore {filename}.age").click()
    go_on = page.get_by_role("button", name="Fetch, check and prepare this restore")
    expect(go_on).to_be_disabled()
    page.get_by_label("To go on, type the name of the backup").fill(filename)
    expect(go_on).to_be_enabled()
