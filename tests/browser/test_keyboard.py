"""The dashboard without a mouse: every control is reached, seen and used with the keyboard alone."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.barriers import find_barriers
from tests.browser.dashboard_pages import DOORS
from tests.browser.visiting import DESKTOP, EMAIL, PASSWORD, PHONE, WatchedPage
from tests.e2e.conftest import Server

_MOST_STOPS = 150
# What has the focus: its name, as far as a test has to know it, and whether it can be seen to have it.
_FOCUSED = """() => {
    const focused = document.activeElement;
    const shown = focused.matches('input[type=file]') ? focused.closest('label, .drop-zone') : focused;
    const style = getComputedStyle(shown);
    const labels = [...focused.labels ?? []].map(label => label.innerText);
    const name = [focused.getAttribute('aria-label'), ...labels, focused.textContent].find(Boolean) ?? '';
    return {
        name: name.replace(/\\s+/g, ' ').trim(),
        isPage: focused === document.body,
        // Of a date, the button of its calendar is a part, which the browser itself marks.
        isSeen: style.outlineStyle !== 'none' || style.boxShadow !== 'none' || !focused.matches(':focus'),
        index: [...document.querySelectorAll('*')].indexOf(focused),
    };
}"""
# What people can use on the page as it is: not what is closed, hidden or off. Of radio buttons, one stops.
_CONTROLS = """() => {
    const controls = [...document.querySelectorAll('a[href], button, input, select, textarea, summary')];
    const isUsable = (control) => !control.disabled && control.tabIndex >= 0 && control.type !== 'hidden'
        && control.checkVisibility({ visibilityProperty: true });
    const isStop = (control) => control.type !== 'radio' || control.checked;
    const all = [...document.querySelectorAll('*')];
    return controls.filter(isUsable).filter(isStop).map((control) => all.indexOf(control));
}"""


def tab_to(page: Page, name: str, *, back: bool = False) -> None:
    """Press Tab until something of this name has the focus."""
    passed = []
    for _ in range(_MOST_STOPS):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        focused = page.evaluate(_FOCUSED)
        passed.append(focused["name"])
        if focused["name"].startswith(name):
            return
    pytest.fail(f"Tab never came to {name!r}, but to {passed}")


def test_from_set_up_to_a_deleted_backup(watched: WatchedPage, server: Server) -> None:
    page, keys = watched.page, watched.page.keyboard
    assert find_barriers(page, f"/admin{DOORS['setup']}") == []
    found = re.search(r"^ +([0-9a-f]{4}(?:-[0-9a-f]{4}){2})$", server.terminal, re.MULTILINE)
    assert found is not None, server.terminal
    page.set_viewport_size(DESKTOP)
    page.reload()
    for text in (found[1], EMAIL, PASSWORD):  # the first field has the focus already
        keys.type(text)
        keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Home")).to_be_visible()

    tab_to(page, "Skip to the content")
    keys.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    tab_to(page, "Backups", back=True)
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Backups", exact=True)).to_be_visible()
    tab_to(page, "Create Backup")
    keys.press("Enter")
    name = page.get_by_role("link", name=re.compile(r"^backup_\d+_\d+\.zip$"))
    expect(page.locator("[data-job-outcome]")).to_be_visible()
    filename = name.inner_text()

    tab_to(page, "More")
    keys.press("ArrowDown")
    expect(page.get_by_role("link", name="Details")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("link", name="Details")).to_be_hidden()
    expect(page.get_by_role("button", name=f"More actions for {filename}")).to_be_focused()
    keys.press("Enter")
    keys.press("ArrowUp")
    expect(page.get_by_role("link", name="Delete…")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Delete a backup")).to_be_visible()
    tab_to(page, "To delete it all the same, type its name")
    keys.type(filename)
    tab_to(page, "Delete this backup")
    keys.press("Enter")
    expect(page.get_by_text(f"Deleted {filename}")).to_be_visible()
    expect(name).to_have_count(0)


def test_a_dialog_keeps_the_focus_and_gives_it_back(admin_page: Page) -> None:
    page, keys = admin_page, admin_page.keyboard
    page.goto("/admin/tokens")
    page.get_by_label("Name").focus()
    keys.type("nightly-backup")
    keys.press("Enter")
    expect(page.get_by_role("status").get_by_text("shown only this once")).to_be_visible()
    tab_to(page, "Revoke nightly-backup")
    keys.press("Enter")
    dialog = page.get_by_role("dialog", name="Revoke “nightly-backup”?")
    expect(dialog).to_be_visible()
    for _ in range(6):  # it has three controls
        keys.press("Tab")
        assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    keys.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Revoke nightly-backup")).to_be_focused()
    keys.press("Space")
    expect(dialog).to_be_visible()
    tab_to(page, "Revoke token")
    keys.press("Enter")
    expect(page.get_by_text("Revoked nightly-backup")).to_be_visible()


def test_the_menu_of_a_phone_opens_and_closes(admin_page: Page) -> None:
    page = admin_page
    page.set_viewport_size(PHONE)
    page.goto("/admin/files")
    menu = page.get_by_role("navigation", name="Main")
    toggler = page.get_by_role("button", name="Menu")
    expect(menu).to_be_hidden()
    tab_to(page, "Menu")
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    expect(toggler).to_have_attribute("aria-expanded", "true")
    expect(menu.get_by_role("link", name="Files")).to_have_attribute("aria-current", "page")
    tab_to(page, "Home")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(toggler).to_be_focused()


@pytest.mark.parametrize(
    "path",
    ["backups", "records-members/list", "records-members/create", "records-news/create", "files", "accounts"],
)
def test_tab_reaches_every_control_where_it_can_be_seen(path: str, admin_page: Page) -> None:
    page = admin_page
    page.goto(f"/admin/{path}")
    controls = set(page.evaluate(_CONTROLS))
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(_MOST_STOPS):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused["isPage"]:
            break
        assert focused["isSeen"], focused["name"]
        reached.add(focused["index"])
    outer = "index => [...document.querySelectorAll('*')][index].outerHTML.slice(0, 200)"
    assert [page.evaluate(outer, index) for index in controls - reached] == []
    assert len(reached) > 10
