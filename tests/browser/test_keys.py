"""A key from its making to its use: its sheet is printed and saved, and then it opens an encrypted upload."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect
from pyrage.x25519 import Identity

from fastcms.age_keys import read_identities
from fastcms.backups import encryption
from tests.browser.barriers import find_barriers_here
from tests.browser.conftest import SharedSite
from tests.browser.visiting import WatchedPage


def saved(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_a_key_is_made_and_kept_and_opens_an_encrypted_upload(
    watched_admin: WatchedPage, shared_site: SharedSite, tmp_path: Path
) -> None:
    page = watched_admin.page
    page.goto("/admin/backups/keys")
    page.get_by_role("button", name="Make a key").click()
    sheet = page.frame_locator("iframe[title='Recovery sheet']")
    expect(sheet.get_by_role("heading", name="With FastCMS", exact=True)).to_be_visible()
    assert sheet.locator("svg").evaluate("code => code.clientWidth") < 100  # by the sheet's own style
    assert find_barriers_here(page, "a new key") == []
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == 1
    [key] = read_identities(saved(page, "Save the key file", tmp_path))
    assert str(key) in saved(page, "Save the sheet", tmp_path).read_text()
    page.get_by_label("The last 6 characters").fill(str(key)[-6:])
    page.get_by_role("button", name="Encrypt copies to this key").click()
    expect(page.get_by_role("heading", name="Copies leave this machine encrypted")).to_have_count(1)

    archive = shared_site.server.folder / "data" / "backups" / shared_site.backup_filename
    content = archive.read_bytes()
    archive.unlink()
    with encryption.encrypted([content], len(content), [key.to_public()]) as stream:
        (tmp_path / "brought.zip.age").write_bytes(b"".join(stream.chunks))
    watched_admin.expected_statuses = {422}
    page.goto("/admin/backups")
    page.get_by_label("Upload a backup").set_input_files(tmp_path / "brought.zip.age")
    expect(page.get_by_text("it is encrypted; its key is wanted above")).to_be_visible()
    typed = page.get_by_label("Key to decrypt the upload with")
    expect(typed).to_be_focused()
    typed.fill(str(Identity.generate()))
    page.get_by_role("button", name="Decrypt and upload").click()
    expect(page.get_by_text("The backup is encrypted, and not to this key.")).to_be_visible()
    typed.fill(str(key))
    page.get_by_role("button", name="Decrypt and upload").click()
    expect(page.get_by_role("alert")).to_contain_text("is sound and was added")
