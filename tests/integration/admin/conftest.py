"""A browser without scripts: keeps cookies, and sends each form with the token of the page that it is on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from fastcms.accounts import service as accounts
from fastcms.accounts.schemas import Role
from fastcms.config import Settings
from fastcms.main import create_app
from fastcms.site import Site
from tests.conftest import ADMIN, EDITOR, PASSWORD

_CSRF_INPUT = re.compile(r'name="csrftoken" value="([^"]+)"')


class Browser:
    """Follows redirects, as people's browsers do."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def open(self, path: str) -> Response:
        return self.client.get(f"/admin{path}", follow_redirects=True)

    def send(self, path: str, form: Mapping[str, Any], page: str | None = None) -> Response:
        """Send the form of `page`, or of the page at `path` itself."""
        found = _CSRF_INPUT.search(self.open(page or path).text)
        assert found is not None, "the page has no form"
        return self.client.post(f"/admin{path}", data={"csrftoken": found[1], **form}, follow_redirects=True)

    def log_in(self, email: str) -> Response:
        return self.send("/login", {"email": email, "password": PASSWORD})


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A running application with an admin and an editor, for tests that leave nothing behind."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("admin"))
    with TestClient(create_app(settings)) as client:
        site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
        with site.database.write() as session:
            accounts.create_account(session, ADMIN, PASSWORD)
            accounts.create_account(session, EDITOR, PASSWORD, Role.EDITOR)
        yield client


@pytest.fixture(scope="module")
def looking_admin(shared_site: TestClient) -> Browser:
    browser = Browser(TestClient(shared_site.app))
    browser.log_in(ADMIN)
    return browser


@pytest.fixture(scope="module")
def looking_editor(shared_site: TestClient) -> Browser:
    browser = Browser(TestClient(shared_site.app))
    browser.log_in(EDITOR)
    return browser


@pytest.fixture
def stranger(shared_site: TestClient) -> Browser:
    return Browser(TestClient(shared_site.app))


@pytest.fixture
def browser(anonymous: TestClient) -> Browser:
    """Nobody is logged in, and there is no account."""
    return Browser(anonymous)


@pytest.fixture
def admin_browser(browser: Browser, site: Site) -> Browser:
    assert browser.log_in(ADMIN).status_code == 200
    return browser


@pytest.fixture
def editor_browser(anonymous: TestClient, site: Site) -> Browser:
    """An editor, beside an admin's browser."""
    browser = Browser(TestClient(anonymous.app))
    assert browser.log_in(EDITOR).status_code == 200
    return browser
