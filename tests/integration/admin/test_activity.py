"""The dashboard's page of who did what, and what the dashboard's own forms leave there."""

import re

import pytest
from fastapi.testclient import TestClient

from fastcms.activity import service
from fastcms.activity.schemas import CallerKind, Deed, Who
from fastcms.database import utc_now
from fastcms.site import Site
from tests.conftest import ADMIN
from tests.integration.admin.conftest import Browser


def told(site: Site, browser: Browser) -> list[str]:
    """What the log has, the oldest first; opening its page writes what is still to be written."""
    browser.open("/activity")
    found = service.list_entries(site, per_page=500).items
    return [entry.sentence for entry in reversed(found) if entry.action != "login.open"]


def make_posts(browser: Browser) -> None:
    browser.send(
        "/collections/create",
        {"name": "posts", "field-0-name": "title", "field-0-type": "text"},
    )


def test_what_is_done_with_forms_is_told(admin_browser: Browser, site: Site) -> None:
    make_posts(admin_browser)
    admin_browser.send("/records-posts/create", {"field-title": "Summer"})
    admin_browser.send(
        "/accounts/create",
        {"email": "new@example.com", "password": "long enough", "role": "editor"},
        page="/accounts",
    )
    admin_browser.send(
        "/accounts/create",
        {"email": "new@example.com", "password": "long enough", "role": "editor"},
        page="/accounts",
    )
    admin_browser.send("/accounts/delete", {"email": "new@example.com"}, page="/accounts")
    admin_browser.send("/tokens/create", {"name": "cron", "scope": "admin", "expires": ""}, page="/tokens")
    admin_browser.send("/tokens/revoke", {"name": "cron"}, page="/tokens")
    admin_browser.send("/collections/delete", {"name": "posts"}, page="/collections")
    admin_browser.send("/logout", {}, page="/")
    admin_browser.log_in(ADMIN)
    assert told(site, admin_browser) == [
        "Created the collection posts",
        "Created “Summer” in posts",
        "Created the editor new@example.com",
        "Removed the account new@example.com",
        "Created the API token cron",
        "Revoked the API token cron",
        "Deleted the collection posts with its records",
        "Logged out",
    ]


def test_records_are_told_whichever_way_they_are_changed(admin_browser: Browser, site: Site) -> None:
    make_posts(admin_browser)
    for title in ("one", "two", "three"):
        admin_browser.send("/records-posts/create", {"field-title": title})
    page = admin_browser.open("/records-posts/list").text
    pks = sorted(set(re.findall(r"pk=([0-9a-f]{20})", page)))
    assert len(pks) == 3
    admin_browser.send(f"/records-posts/edit?pk={pks[0]}", {"field-title": "changed"})
    query = "&".join(["name=delete", *(f"pks={pk}" for pk in pks[:2])])
    admin_browser.send(f"/_api/records-posts/action?{query}", {}, page="/records-posts/list")
    admin_browser.send(
        f"/_api/records-posts/row-action?name=delete&pk={pks[2]}", {}, page="/records-posts/list"
    )
    sentences = told(site, admin_browser)[4:]
    assert sentences[0] == "Changed “changed” in posts"
    assert sentences[1] == "Deleted 2 records from posts"
    assert re.fullmatch(r"Deleted “(one|two|three)” from posts", sentences[2])


def test_an_import_is_told_once_and_its_preview_is_not(admin_browser: Browser, site: Site) -> None:
    make_posts(admin_browser)
    token = {"X-CSRFToken": admin_browser.client.cookies["starlette_admin_csrftoken"]}
    for preview in ("?preview=1", ""):
        answer = admin_browser.client.post(
            f"/admin/_api/records-posts/import{preview}",
            data={"format": "csv"},
            headers=token,
            files={"file": ("posts.csv", b"Title\none\ntwo\n", "text/csv")},
        )
        assert answer.status_code == 200, answer.text
    assert told(site, admin_browser)[1:] == ["Imported 2 records into posts"]


@pytest.mark.parametrize("field", ["records", "caller", "refusal", "settings", "address"])
def test_a_field_that_no_form_has_changes_nothing_of_what_is_told(
    admin_browser: Browser, site: Site, field: str
) -> None:
    form = {"name": "cron", "scope": "admin", "expires": "", field: "many"}
    assert admin_browser.send("/tokens/create", form, page="/tokens").status_code == 200
    assert told(site, admin_browser) == ["Created the API token cron"]


def test_a_refused_form_about_backups_is_told_with_its_reason(admin_browser: Browser, site: Site) -> None:
    admin_browser.send("/backups/restore/cancel", {}, page="/accounts")
    admin_browser.open("/activity")
    (entry, *_rest) = service.list_entries(site).items
    assert (entry.sentence, entry.outcome) == ("Tried to cancel the pending restore", "refused")
    assert entry.reason is not None
    assert entry.reason.startswith("No restore is pending.")


def test_a_destination_that_was_not_understood_is_told_in_words(admin_browser: Browser, site: Site) -> None:
    admin_browser.send("/backups/destinations/new", {"kind": "s3"}, page="/backups/destinations/new")
    assert told(site, admin_browser) == ["Tried to add a place as a destination of backups"]


def test_logging_in_with_a_wrong_password_and_setting_up_are_told(
    browser: Browser, anonymous: TestClient
) -> None:
    site: Site = anonymous.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    browser.send("/setup", {"code": "secret-code", "email": "first@example.com", "password": "long enough"})
    recorder = anonymous.app.state.recorder  # type: ignore[attr-defined] # as above
    recorder.flush()
    (entry,) = service.list_entries(site).items
    assert (entry.who, entry.sentence) == ("first@example.com", "Tried to set up the site as its first admin")
    assert entry.reason == "The set-up code is wrong."
    assert entry.address == "testclient"


def test_the_page_leads_to_what_is_still_there(admin_browser: Browser) -> None:
    make_posts(admin_browser)
    for title in ("kept", "lost"):
        admin_browser.send("/records-posts/create", {"field-title": title})
    lost = re.search(r"pk=([0-9a-f]{20})", admin_browser.open("/records-posts/list?q=lost").text)
    assert lost is not None
    admin_browser.send(
        f"/_api/records-posts/row-action?name=delete&pk={lost[1]}", {}, page="/records-posts/list"
    )
    page = admin_browser.open("/activity").text
    assert re.search(
        r'<a href="[^"]*/records-posts/detail\?pk=[0-9a-f]{20}">Created “kept” in posts</a>', page
    )
    assert "Created “lost” in posts</a>" not in page
    assert "Deleted “lost” from posts" in page


def test_the_page_narrows_and_pages(admin_browser: Browser, site: Site) -> None:
    for number in range(60):
        deed = Deed(
            utc_now(), Who("cron", CallerKind.TOKEN), "file.upload", f"Uploaded the file {number}.txt"
        )
        service.add(site, deed)
    page = admin_browser.open("/activity?who=cron").text
    assert "60 entries" in page
    assert "Page 1 of 2" in page
    assert "Uploaded the file 59.txt" in page
    assert "Uploaded the file 9.txt" in admin_browser.open("/activity?who=cron&page=2").text
    assert "Nothing found" in admin_browser.open("/activity?search=nowhere").text
    assert "Logged in" in admin_browser.open("/activity?action=login").text
    assert "Uploaded the file 7.txt" in admin_browser.open("/activity?search=+7.txt").text
    assert admin_browser.open("/activity?page=999").status_code == 200


def test_what_somebody_else_has_typed_is_shown_as_text(admin_browser: Browser, site: Site) -> None:
    service.add(site, Deed(utc_now(), Who("<b>x</b>@a", CallerKind.UNKNOWN), "login.open", "<script>"))
    page = admin_browser.open("/activity").text
    assert "<b>x</b>" not in page
    assert "&lt;script&gt;" in page


def test_only_admins_see_it(editor_browser: Browser) -> None:
    refused = editor_browser.open("/activity")
    assert refused.status_code == 403
    assert "activity-list" not in refused.text
    assert "/admin/activity" not in editor_browser.open("/").text
