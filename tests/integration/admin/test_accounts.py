"""Accounts and API tokens in the dashboard."""

import re

from fastcms.accounts import service
from fastcms.site import Site
from tests.conftest import ADMIN, EDITOR
from tests.integration.admin.conftest import Browser


def test_an_account_is_created_and_removed_with_its_sessions(
    admin_browser: Browser, editor_browser: Browser
) -> None:
    form = {"email": "new@example.com", "password": "long enough password", "role": "editor"}
    assert (
        "new@example.com can log in now."
        in admin_browser.send("/accounts/create", form, page="/accounts").text
    )
    twice = admin_browser.send("/accounts/create", form, page="/accounts")
    assert "There is already an account" in twice.text
    gone = admin_browser.send("/accounts/delete", {"email": EDITOR}, page="/accounts")
    assert f"Removed {EDITOR}" in gone.text
    assert editor_browser.open("/").url.path == "/admin/login"


def test_the_last_admin_stays(admin_browser: Browser, site: Site) -> None:
    refused = admin_browser.send("/accounts/delete", {"email": ADMIN}, page="/accounts")
    assert "is the only admin" in refused.text
    with site.database.read() as session:
        assert service.has_admin(session)


def test_a_role_or_scope_that_there_is_not_is_refused_in_words(admin_browser: Browser) -> None:
    form = {"email": "new@example.com", "password": "long enough password", "role": "king"}
    assert "Choose a role" in admin_browser.send("/accounts/create", form, page="/accounts").text
    for wrong in (
        {"name": "x"},
        {"name": "x", "scope": "all"},
        {"name": "x", "scope": "admin", "expires": "7"},
    ):
        refused = admin_browser.send("/tokens/create", wrong, page="/tokens")
        assert refused.status_code == 422
        assert "Choose" in refused.text


def test_a_token_is_shown_once_works_and_is_revoked(admin_browser: Browser, site: Site) -> None:
    form = {"name": "nightly", "scope": "backups:create", "expires": "90"}
    made = admin_browser.send("/tokens/create", form, page="/tokens").text
    found = re.search(r'id="new-token" value="([^"]+)"', made)
    assert found is not None
    token = found[1]
    assert service.authenticate(site.database, token).name == "nightly"
    assert token not in admin_browser.open("/tokens").text
    gone = admin_browser.send("/tokens/revoke", {"name": "nightly"}, page="/tokens")
    assert "Revoked nightly" in gone.text
    assert "No tokens yet" in gone.text
