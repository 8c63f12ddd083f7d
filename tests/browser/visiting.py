"""Chromium as people's browsers are, and an admin who is logged in without clicking through the set-up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    sync_playwright,
)

from fastcms.accounts import service as accounts
from fastcms.accounts.dependencies import SESSION_COOKIE
from fastcms.config import Settings
from fastcms.site import Site, new_site
from fastcms.startup import serve_site

EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"
PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
_CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launch_chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """The site below `folder`, in this process, before a server has it."""
    site = new_site(Settings(_env_file=None, data_dir=folder / "data"))
    with serve_site(site):
        yield site


def log_in_admin(site: Site) -> str:
    """Make the site's admin; return a session of theirs."""
    with site.database.write() as session:
        accounts.create_account(session, EMAIL, PASSWORD)
    token, _login = accounts.log_in(site, EMAIL, PASSWORD, "127.0.0.1")
    return token


def use_session(context: BrowserContext, url: str, token: str) -> None:
    context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": url}])


class WatchedPage:
    """A page, and everything about it that must not happen.

    Problems are: a message of the console, a script that fails, an answer of 500 and up, and a request
    to another host. The console also names every answer of 400 and up: those a test means to get are
    in `expected_statuses`.
    """

    def __init__(self, browser: Browser, url: str, **context_options: Any) -> None:
        options = {"base_url": url, "viewport": DESKTOP, "reduced_motion": "reduce"} | context_options
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.expected_statuses: set[int] = set()
        self.expects_restart = False
        self.problems: list[str] = []
        self._url = url
        self.context.on("console", self._check_message)
        self.context.on("weberror", lambda error: self.problems.append(str(error.error)))
        self.context.on("request", self._check_request)
        self.context.on("response", self._check_response)

    def _check_message(self, message: ConsoleMessage) -> None:
        is_expected = any(f"with a status of {status} " in message.text for status in self.expected_statuses)
        is_expected |= self.expects_restart and "net::ERR_" in message.text
        if message.type in {"error", "warning"} and not is_expected:
            self.problems.append(message.text)

    def _check_request(self, request: Request) -> None:
        if not request.url.startswith((self._url, "data:", "blob:")):
            self.problems.append(f"asked another host: {request.url}")

    def _check_response(self, response: Response) -> None:
        if response.status >= 500 and response.status not in self.expected_statuses:
            self.problems.append(f"{response.status} from {response.request.method} {response.url}")
