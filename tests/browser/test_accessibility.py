"""Nobody is locked out: axe-core finds no barrier on any page."""

import re

import pytest
from playwright.sync_api import expect

from fastcms.config import Settings
from fastcms.main import create_app
from tests.browser.barriers import find_barriers
from tests.browser.conftest import SharedSite
from tests.browser.dashboard_pages import DOORS, NO_PAGES, PAGES, STATES, addresses
from tests.browser.visiting import PASSWORD, WatchedPage


def test_there_is_an_address_for_every_page_of_the_dashboard() -> None:
    app = create_app(Settings(_env_file=None))
    (dashboard,) = (route for route in app.routes if getattr(route, "path", "") == "/admin")
    routes = {
        route.name
        for route in getattr(dashboard, "routes", [])
        if "GET" in (getattr(route, "methods", ()) or ())
    }
    assert routes - NO_PAGES == PAGES.keys() | DOORS.keys()


@pytest.mark.parametrize("name", [*PAGES, *STATES])
def test_no_page_has_barriers(name: str, watched_admin: WatchedPage, shared_site: SharedSite) -> None:
    watched_admin.expected_statuses = {404} if name.startswith("no such") else set()
    paths = dict(
        addresses(
            PAGES | STATES,
            backup=shared_site.backup_filename,
            record=shared_site.record_id,
            destination=shared_site.destination_id,
        )
    )
    assert find_barriers(watched_admin.page, paths[name]) == []


def test_the_log_in_has_no_barriers(watched_admin: WatchedPage) -> None:
    watched_admin.context.clear_cookies()
    assert find_barriers(watched_admin.page, f"/admin{DOORS['login']}") == []


def test_no_refusal_has_barriers(watched_admin: WatchedPage) -> None:
    watched_admin.expected_statuses = {403}
    page = watched_admin.page
    page.goto("/admin/accounts")
    page.get_by_label("Email address").fill("editor@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("can log in now")).to_be_visible()
    watched_admin.context.clear_cookies()  # logging out would end the session of the other tests
    page.goto("/admin/login")
    page.get_by_label("Email address").fill("editor@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    assert find_barriers(page, "/admin/accounts") == []
    expect(page.get_by_role("heading", name="This page is for admins")).to_be_visible()

    page.goto("/admin/records-news/create")
    watched_admin.context.clear_cookies(name=re.compile("csrf"))
    page.get_by_label("Title").fill("Lost?")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="The form was not accepted")).to_be_visible()
    expect(page.get_by_text("Nothing was saved")).to_be_visible()
