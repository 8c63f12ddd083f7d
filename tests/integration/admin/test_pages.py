"""Every page of the dashboard: who sees it, and how it is protected."""

import re

import pytest

from tests.integration.admin.conftest import Browser

EDITOR_PAGES = ("/", "/collections", "/files")
ADMIN_PAGES = ("/collections/create", "/backups", "/accounts", "/tokens")
FORMS = (
    "/collections/create",
    "/collections/delete",
    "/files/delete",
    "/accounts/create",
    "/accounts/delete",
    "/tokens/create",
    "/tokens/revoke",
    "/backups/create",
    "/backups/backup_20250115_100000.zip/restore",
    "/backups/backup_20250115_100000.zip/delete",
    "/backups/restore/cancel",
)


@pytest.mark.parametrize("path", EDITOR_PAGES + ADMIN_PAGES)
def test_an_admin_sees_every_page(looking_admin: Browser, path: str) -> None:
    assert looking_admin.open(path).status_code == 200


@pytest.mark.parametrize("path", EDITOR_PAGES)
def test_an_editor_sees_content_and_files(looking_editor: Browser, path: str) -> None:
    page = looking_editor.open(path)
    assert page.status_code == 200
    assert "/admin/backups" not in page.text
    assert "/admin/accounts" not in page.text


@pytest.mark.parametrize("path", ADMIN_PAGES)
def test_an_editor_does_not_see_what_is_for_admins(looking_editor: Browser, path: str) -> None:
    page = looking_editor.open(path)
    assert page.status_code == 403
    assert "This page is for admins" in page.text


@pytest.mark.parametrize("path", EDITOR_PAGES + ADMIN_PAGES)
def test_without_a_login_every_page_leads_to_one(stranger: Browser, path: str) -> None:
    assert stranger.open(path).url.path == "/admin/login"


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_its_token_is_refused(looking_admin: Browser, path: str) -> None:
    answer = looking_admin.client.post(f"/admin{path}", data={"name": "x"})
    assert answer.status_code == 403
    assert "The form was open for too long" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", [path for path in FORMS if path != "/files/delete"])
def test_an_editor_cannot_send_the_forms_of_admins(looking_editor: Browser, path: str) -> None:
    answer = looking_editor.send(path, {"name": "x", "email": "x@example.com"}, page="/")
    assert answer.status_code == 403


def test_scripts_run_only_with_the_nonce_of_the_answer(looking_admin: Browser) -> None:
    first, second = looking_admin.open("/backups"), looking_admin.open("/backups")
    policy = first.headers["content-security-policy"]
    assert "script-src 'self' 'nonce-" in policy
    assert "unsafe-inline" not in policy.replace("style-src-attr 'unsafe-inline'", "")
    nonces = set(re.findall(r'<(?:script|style) nonce="([^"]+)"', first.text))
    assert nonces == set(re.findall(r"'nonce-([^']+)'", policy))
    assert policy != second.headers["content-security-policy"]
    assert not re.search(r'\son[a-z]+="', first.text), "an inline handler is left"


@pytest.mark.parametrize("path", [*EDITOR_PAGES, "/backups", "/accounts", "/tokens"])
def test_nothing_is_loaded_from_another_host(looking_admin: Browser, path: str) -> None:
    page = looking_admin.open(path).text
    addresses = re.findall(r"(?:src|href)=\"(https?://[^\"]+)|url\('?(https?://[^')]+)", page)
    assert [
        url for found in addresses for url in found if url and not url.startswith("http://testserver/")
    ] == []


def test_pages_are_kept_out_of_caches(looking_admin: Browser) -> None:
    assert looking_admin.open("/").headers["cache-control"] == "no-store"


def test_an_unknown_page_says_so(looking_admin: Browser) -> None:
    page = looking_admin.open("/records-nothing/list")
    assert page.status_code == 404
    assert "There is no such collection." in page.text
