"""Log in, log out, and set up a new site, in the dashboard."""

import re

from fastcms.accounts import service
from fastcms.site import Site
from tests.conftest import ADMIN, PASSWORD
from tests.integration.admin.conftest import Browser


def test_a_new_site_leads_to_set_up_and_its_code_makes_the_first_admin(browser: Browser) -> None:
    site: Site = browser.client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    assert browser.open("").url.path == "/admin/setup"
    form = {"code": "0000-0000-0000", "email": ADMIN, "password": PASSWORD}
    refused = browser.send("/setup", form)
    assert refused.status_code == 403
    assert "The set-up code is wrong." in refused.text
    done = browser.send("/setup", form | {"code": service.setup_code(site)})
    assert done.status_code == 200
    assert done.url.path == "/admin/"
    assert ADMIN in done.text
    assert Browser(browser.client).open("/setup").url.path == "/admin/"


def test_setup_refuses_a_short_password_in_words(browser: Browser) -> None:
    site: Site = browser.client.app.state.site  # type: ignore[attr-defined] # as above
    form = {"code": service.setup_code(site), "email": ADMIN, "password": "short"}
    refused = browser.send("/setup", form)
    assert refused.status_code == 422
    assert "at least 10 characters" in refused.text


def test_setup_is_closed_once_there_is_an_admin(browser: Browser, site: Site) -> None:
    assert browser.open("/setup").url.path == "/admin/login"


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(browser: Browser, site: Site) -> None:
    answer = browser.log_in(ADMIN).history[0]
    cookie = next(value for value in answer.headers.get_list("set-cookie") if "fastcms_session" in value)
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert "path=/" in cookie.lower()
    assert "secure" not in cookie.lower()


def test_over_https_the_session_cookie_is_secure(browser: Browser, site: Site) -> None:
    browser.client.base_url = "https://testserver"
    answer = browser.log_in(ADMIN).history[0]
    cookie = next(value for value in answer.headers.get_list("set-cookie") if "fastcms_session" in value)
    assert "secure" in cookie.lower()


def test_a_wrong_password_is_refused_in_words(browser: Browser, site: Site) -> None:
    refused = browser.send("/login", {"email": ADMIN, "password": "wrong"})
    assert refused.status_code == 401
    assert "The email address or the password is wrong." in refused.text
    assert ADMIN in refused.text


def test_too_many_wrong_passwords_are_slowed_down_in_words(browser: Browser, site: Site) -> None:
    for _ in range(5):
        browser.send("/login", {"email": ADMIN, "password": "wrong"})
    refused = browser.log_in(ADMIN)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "Too many wrong passwords" in refused.text


def test_logging_out_ends_the_session_on_the_server(admin_browser: Browser) -> None:
    stolen = admin_browser.client.cookies["fastcms_session"]
    assert admin_browser.send("/logout", {}, page="/").url.path == "/admin/login"
    admin_browser.client.cookies.set("fastcms_session", stolen)
    assert admin_browser.open("/").url.path == "/admin/login"


def test_logging_in_leads_on_to_the_page_that_was_asked_for_but_never_to_another_site(
    browser: Browser, site: Site
) -> None:
    assert browser.open("/backups").url.path == "/admin/login"
    form = {"email": ADMIN, "password": PASSWORD}
    assert browser.send("/login?next=/admin/backups", form).url.path == "/admin/backups"
    browser.send("/logout", {}, page="/")
    assert browser.send("/login?next=https://evil.example/", form).url.host == "testserver"


def test_an_api_token_opens_no_dashboard(browser: Browser, site: Site) -> None:
    with site.database.write() as session:
        token, _row = service.create_token(session, "program", [], None)
    browser.client.cookies.set("fastcms_session", token)
    assert browser.open("/").url.path == "/admin/login"


def test_a_huge_login_form_is_answered_with_a_page(stranger: Browser) -> None:
    text = "x" * 2_000_000
    for answer in (
        stranger.client.post("/admin/login", data={"email": text}),
        stranger.client.post("/admin/login", files={"email": (None, text)}),
    ):
        assert answer.status_code == 403
        assert "The form was not accepted" in answer.text


def test_a_form_that_cannot_be_read_is_refused_with_a_page(stranger: Browser) -> None:
    fields = "&".join(f"field{number}=" for number in range(6000))
    urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = stranger.client.post("/admin/login", content=fields, headers=urlencoded)
    assert answer.status_code == 400
    assert "Nothing was saved" in answer.text
    assert "script-src" in answer.headers["content-security-policy"]


def test_whoever_was_logged_out_while_they_filled_in_a_form_comes_back_to_its_page(
    admin_browser: Browser,
) -> None:
    client = admin_browser.client
    page = str(admin_browser.open("/backups").url)
    token = re.search(r'name="csrftoken" value="([^"]+)"', admin_browser.open("/backups").text)
    assert token is not None
    admin_browser.send("/logout", {}, page="/backups")
    form = {"csrftoken": token[1]}
    sent = client.post("/admin/backups/create", data=form, headers={"Referer": page}, follow_redirects=True)
    assert (sent.url.path, sent.url.params["next"]) == ("/admin/login", page)
    elsewhere = client.post("/admin/backups/create", data=form, follow_redirects=True)
    assert (elsewhere.url.path, dict(elsewhere.url.params)) == ("/admin/login", {})
