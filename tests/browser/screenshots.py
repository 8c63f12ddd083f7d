"""Photograph the dashboard in each of its states: `make screenshots` puts the pictures into screenshots/.

On a phone and a desktop, light and dark. The best three are also kept in docs/images.
"""

import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import requests
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

from fastcms.accounts import service as accounts
from fastcms.backups import jobs, service, tasks
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.folder import data_paths
from fastcms.backups.job_files import JobKind
from fastcms.backups.jobs import Task
from fastcms.backups.schemas import Backup
from fastcms.config import Settings
from fastcms.errors import JobCancelledError, NotEnoughSpaceError
from fastcms.site import Site, new_site
from tests.browser.club import copy_elsewhere
from tests.browser.month import full_disk, live_a_month
from tests.browser.visiting import DESKTOP, EMAIL, PASSWORD, PHONE, WatchedPage, launch_chromium, use_session
from tests.e2e.conftest import REPOSITORY, OwnServer

_TARGET = REPOSITORY / "screenshots"
# What the README and the user guide show: the picture's name there, and what it is taken from.
_KEPT = {
    "backups": "backups-ok-desktop-light",
    "restore": "restore-plan-desktop-light",
    "backups-phone": "backups-ok-phone-dark",
}
_KEPT_HEIGHT = 1000
_MOST_COLOURS = 256  # a palette: a third of the bytes, and nobody sees a difference
_LOOKS: dict[str, tuple[ViewportSize, Literal["light", "dark"]]] = {
    "desktop-light": (DESKTOP, "light"),
    "desktop-dark": (DESKTOP, "dark"),
    "phone-light": (PHONE, "light"),
    "phone-dark": (PHONE, "dark"),
}


_numbers = itertools.count(1)


class Photographer:
    """Four browsers that look at one site."""

    def __init__(self, browser: Browser, url: str, target: Path) -> None:
        self._url = url
        self._target = target
        self._visits = {
            look: WatchedPage(browser, url, viewport=viewport, color_scheme=scheme)
            for look, (viewport, scheme) in _LOOKS.items()
        }
        for visit in self._visits.values():
            visit.expected_statuses = {401, 403, 404, 422}

    def log_in(self, token: str) -> None:
        for visit in self._visits.values():
            use_session(visit.context, self._url, token)

    def take(self, name: str, path: str, *steps: Callable[[Page], object]) -> None:
        """Open the page in each look, do the steps, and keep a picture of all of it."""
        for visit in self._visits.values():
            visit.page.goto(f"/admin{path}")
        self.take_again(name, *steps)

    def take_again(self, name: str, *steps: Callable[[Page], object]) -> None:
        """Do the steps on the page that is open in each look, and keep a picture of it."""
        for look, visit in self._visits.items():
            for step in steps:
                step(visit.page)
            is_whole = visit.page.get_by_role("dialog").count() == 0  # a dialog covers the window only
            picture = Image.open(BytesIO(visit.page.screenshot(full_page=is_whole)))
            picture.quantize(_MOST_COLOURS).save(self._target / f"{name}-{look}.png", optimize=True)
            if visit.problems:
                sys.exit(f"{name}, {look}: {visit.problems}")

    def expect_restart(self) -> None:
        for visit in self._visits.values():
            visit.expects_restart = True

    def leave(self) -> None:
        for visit in self._visits.values():
            visit.page.goto("about:blank")

    def close(self) -> None:
        for visit in self._visits.values():
            visit.context.close()


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else _TARGET
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="fastcms-screenshots-") as folder, launch_chromium() as browser:
        print("A new site")
        _photograph_new_site(browser, Path(folder, "new"), target)
        print("A month of a club's site, lived in a minute")
        token = live_a_month(Path(folder, "club"))
        _photograph_club(browser, Path(folder, "club"), token, target)
    if target == _TARGET:
        for name, source in _KEPT.items():
            _keep(target / f"{source}.png", REPOSITORY / "docs" / "images" / f"{name}.png")
    print(f"{len(list(target.iterdir()))} pictures are in {target}")


@contextmanager
def _photographing(browser: Browser, server: OwnServer, target: Path) -> Iterator[Photographer]:
    server.folder.mkdir(exist_ok=True)
    server.start()
    photographer = Photographer(browser, server.url, target)
    yield photographer
    photographer.close()
    server.stop()


def _photograph_new_site(browser: Browser, folder: Path, target: Path) -> None:
    server = OwnServer(folder)
    with _photographing(browser, server, target) as photographer:
        photographer.take("set-up", "/setup")
        site = new_site(_settings_of(server))
        with site.database.write() as session:
            accounts.create_account(session, EMAIL, PASSWORD)
        photographer.take("log-in", "/login")
        photographer.take("log-in-refused", "/login", _try_a_wrong_password)
        photographer.log_in(_log_in(site))
        for name in ("collections", "files", "backups", "tokens", "activity"):
            photographer.take(f"{name}-empty", f"/{name}")
        photographer.take("destinations-empty", "/backups/destinations")
        photographer.take("home-empty", "/")


def _photograph_club(browser: Browser, folder: Path, token: str, target: Path) -> None:
    server = OwnServer(folder)
    with _photographing(browser, server, target) as photographer:
        photographer.log_in(token)
        site = new_site(_settings_of(server))
        _work_a_morning(server.url)
        _take_content(photographer)
        _take_backups(photographer, site)
        _take_destinations(photographer, site, folder)
        _take_jobs(photographer, site)
        _take_restores(photographer, site, server)


def _work_a_morning(url: str) -> None:
    """Do what the log of activity is to show."""
    for email in (EMAIL, "tomas@example.com"):
        with requests.Session() as browser:
            login = {"email": email, "password": PASSWORD}
            answer = browser.post(f"{url}/api/v1/auth/login", json=login).json()
            browser.headers["Authorization"] = f"Bearer {answer['access_token']}"
            _edit_news(browser, f"{url}/api/v1")
    requests.post(f"{url}/api/v1/auth/login", json={"email": EMAIL, "password": "wrong"})


def _edit_news(browser: requests.Session, api: str) -> None:
    news = browser.get(f"{api}/collections/news/records").json()["items"]
    data = {"title": "Boathouse closed for painting until Friday"}
    browser.patch(f"{api}/collections/news/records/{news[0]['id']}", json={"data": data})
    browser.delete(f"{api}/collections/news/records/{news[-1]['id']}")
    browser.post(f"{api}/files", files={"file": ("Minutes.txt", b"We agreed on cake.")})


def _take_content(photographer: Photographer) -> None:
    photographer.take("home", "/")
    photographer.take("menu", "/", _open_menu)
    photographer.take("records", "/records-members/list")
    photographer.take(
        "records-filter",
        "/records-members/list",
        lambda page: page.get_by_role("button", name="Filters").click(),
    )
    photographer.take("record-new", "/records-news/create")
    photographer.take("record", "/records-news/list", lambda page: page.locator(".record-link").first.click())
    photographer.take(
        "record-edit", "/records-news/list", lambda page: page.get_by_title("Edit").first.click()
    )
    photographer.take(
        "record-delete",
        "/records-news/list",
        lambda page: page.get_by_title("Delete").first.click(),
        _see_dialog,
    )
    photographer.take("collections", "/collections")
    photographer.take("collection-edit", "/collections/news/edit")
    photographer.take("files", "/files")
    photographer.take(
        "file-preview",
        "/files?search=jpg",
        lambda page: page.locator(".file-picture").first.click(),
        _see_dialog,
    )
    photographer.take("accounts", "/accounts")
    photographer.take("tokens", "/tokens")
    photographer.take("activity", "/activity")
    photographer.take("not-found", "/nowhere")


def _take_backups(photographer: Photographer, site: Site) -> None:
    backups = service.list_backups(site)
    newest = backups[0].filename
    pinned = next(backup.filename for backup in backups if backup.notes.pinned)
    photographer.take("backups-ok", "/backups", _draw_charts)
    photographer.take("backup-detail", f"/backups/{newest}")
    photographer.take("backup-delete", f"/backups/{backups[3].filename}/delete")
    photographer.take("backup-delete-pinned", f"/backups/{pinned}/delete")
    photographer.take("settings", "/backups/settings")
    photographer.take("restore-plan", f"/backups/{newest}/restore")
    photographer.take("token-new", "/tokens", _make_token)


def _take_destinations(photographer: Photographer, site: Site, folder: Path) -> None:
    newest = service.list_backups(site)[0]
    page = f"/backups/destinations/{copy_elsewhere(site, newest, folder / 'nas')}"
    photographer.take("destinations", "/backups/destinations")
    photographer.take("destination", page, lambda page: page.locator("[data-summary]").wait_for())
    photographer.take("destination-new", "/backups/destinations/new")
    photographer.take("destination-new-refused", "/backups/destinations/new", _try_a_dead_server)
    photographer.take("backup-stored", f"{page}/backups/{newest.filename}.age")


def _take_jobs(photographer: Photographer, site: Site) -> None:
    with _standing_still(site, JobKind.CREATE, "writing the archive"):
        photographer.take("backups-running", "/backups")
        photographer.take("home-running", "/")
    with full_disk():
        try:
            jobs.run(site, tasks.creation(site, EMAIL))
        except NotEnoughSpaceError:
            photographer.take("backups-attention", "/backups")
            photographer.take("home-attention", "/")
    jobs.run(site, tasks.creation(site, EMAIL))


def _take_restores(photographer: Photographer, site: Site, server: OwnServer) -> None:
    backup = service.list_backups(site)[5].filename
    with _standing_still(site, JobKind.RESTORE, "extracting", backup):
        photographer.take("restore-staging", "/backups/restore")
    _stage(site, backup)
    photographer.take("backups-staged", "/backups")
    photographer.take("home-staged", "/")
    photographer.take("restore-staged", "/backups/restore")
    photographer.expect_restart()
    site.database.close()  # or else nobody can count what the safety copy holds
    server.stop()
    photographer.take_again(
        "restore-restarting", lambda page: page.locator("[data-restart-waiting]").wait_for()
    )
    photographer.leave()  # or else the pages go on by themselves
    server.start()
    site = new_site(_settings_of(server))  # another database is open now
    photographer.log_in(_log_in(site))
    photographer.take("restored", "/backups/restore")
    photographer.take("backups-restored", "/backups")
    photographer.take("home-restored", "/")
    _stage(site, service.list_backups(site)[1].filename)
    shutil.rmtree(data_paths(site).staging_dir)
    site.database.close()
    server.restart()
    photographer.take("rolled-back", "/backups/restore")
    photographer.take("backups-rolled-back", "/backups")


def _settings_of(server: OwnServer) -> Settings:
    return Settings(_env_file=None, data_dir=server.folder / "data")


def _log_in(site: Site) -> str:
    return accounts.log_in(site, EMAIL, PASSWORD, "127.0.0.1")[0]


def _stage(site: Site, filename: str) -> None:
    jobs.run(site, tasks.staging(site, filename, EMAIL, approved=None))


@contextmanager
def _standing_still(site: Site, kind: JobKind, phase: str, filename: str | None = None) -> Iterator[None]:
    """A job that works until the picture is taken, and then is cancelled."""
    is_taken = threading.Event()

    def work(on_progress: OnProgress) -> Backup:
        done_bytes = 0
        while not is_taken.wait(0.1):
            done_bytes = min(done_bytes + 31_000_000, 1_340_000_000)
            on_progress(Progress(phase, done_bytes, 2_150_000_000))
        raise JobCancelledError("The picture is taken.")

    jobs.start(site, Task(kind, EMAIL, work, lambda backup: backup, filename))
    time.sleep(5)  # until it knows its rate
    yield
    is_taken.set()
    jobs.stop(site)
    site.stopping.clear()


def _open_menu(page: Page) -> None:
    toggler = page.get_by_role("button", name="Menu")
    if toggler.is_visible():
        toggler.click()
        page.locator("#sidebar-menu.show").wait_for()


def _see_dialog(page: Page) -> None:
    page.get_by_role("dialog").wait_for()
    page.wait_for_timeout(300)


def _draw_charts(page: Page) -> None:
    """They are drawn when they come into sight."""
    page.locator("[data-charts]").scroll_into_view_if_needed()
    page.locator("[data-chart-place] svg").nth(2).wait_for()
    page.wait_for_timeout(500)
    page.evaluate("window.scrollTo(0, 0)")


def _try_a_wrong_password(page: Page) -> None:
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()


def _try_a_dead_server(page: Page) -> None:
    page.get_by_label("Server").fill("http://127.0.0.1:9")
    page.get_by_label("Bucket").fill("club-backups")
    page.get_by_label("Access key ID").fill("the-key")
    page.get_by_label("Secret access key").fill("its secret")
    plainly = page.get_by_label("Copy unencrypted")
    if plainly.count():
        plainly.check()
    page.get_by_role("button", name="Add and test").click()
    page.get_by_role("alert").wait_for()


def _make_token(page: Page) -> None:
    page.get_by_label("Name").fill(f"backup-script-{next(_numbers)}")
    page.get_by_role("button", name="Create token").click()
    page.get_by_role("status").wait_for()


def _keep(source: Path, target: Path) -> None:
    """Keep what a visitor sees first, without what is below."""
    picture = Image.open(source)
    picture.crop((0, 0, picture.width, min(picture.height, _KEPT_HEIGHT))).save(target, optimize=True)


if __name__ == "__main__":
    main()
