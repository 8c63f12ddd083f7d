"""The pages of restores: what one would mean, how it is prepared, and how it ended."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from fastcms import restarting
from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Role
from fastcms.backups import receiving, restoring, service
from fastcms.backups.engine.process import run_apart
from fastcms.backups.folder import data_paths
from fastcms.backups.job_files import JobState, list_jobs
from fastcms.backups.schemas import Backup
from fastcms.config import Settings
from fastcms.errors import CorruptArchiveError
from fastcms.main import create_app
from fastcms.media import service as media
from fastcms.site import Site
from tests.conftest import ADMIN, PASSWORD, wait_until
from tests.integration.admin.conftest import Browser

STATUS = "/backups/restore"


def form_of(backup: Backup) -> str:
    return f"/backups/{backup.filename}/restore"


def stage(browser: Browser, site: Site, backup: Backup, **form: Any) -> str:
    """Send the form with the name typed, wait until the job has ended, and return the page of restores."""
    browser.send(form_of(backup), {"confirm": backup.name, **form})
    wait_for_jobs(site)
    return browser.open(STATUS).text


def wait_for_jobs(site: Site) -> None:
    wait_until(lambda: not any(job.is_running for job in list_jobs(site)))


@pytest.fixture
def reopened(settings: Settings, password_hash: str) -> Iterator[Any]:
    """Start the application anew, log an admin in; what was staged is restored."""
    clients: list[TestClient] = []

    def reopen() -> tuple[Browser, Site]:
        client = TestClient(create_app(settings))
        client.__enter__()
        clients.append(client)
        browser = Browser(client)
        assert browser.log_in(ADMIN).status_code == 200
        return browser, client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable

    def stop() -> None:
        while clients:
            clients.pop().__exit__(None, None, None)

    reopen.stop = stop  # type: ignore[attr-defined] # for tests that start it twice
    yield reopen
    stop()


def make_admin(site: Site, password_hash: str) -> None:
    with site.database.write() as session:
        session.add(Account(email=ADMIN, password_hash=password_hash, role=Role.ADMIN))


def test_a_restore_is_explained_staged_and_cancelled(
    admin_browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "_CONTAINER_MARKS", ())
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    assert "No restore yet" in admin_browser.open(STATUS).text
    backup = service.create_backup(site)
    media.add_file(site, BytesIO(b"a picture"), "picture.txt")
    page = admin_browser.open(form_of(backup)).text
    for said in (
        "Going by the counts, you lose at least 1 file.",
        "Only you are logged in now.",
        "This backup was never verified.",
        "the present state is kept",
        "about 3 seconds",
        backup.name,
    ):
        assert said in page, said
    assert restoring.restore_status(site).state == "none"
    staged = stage(admin_browser, site, backup)
    assert "Staged: restart the server to complete" in staged
    assert "start it the way you always do" in staged
    assert "Restart now" not in staged
    assert restoring.restore_status(site).requested_by == ADMIN
    for path in ("/", "/backups"):
        assert "A restore is waiting for a restart" in admin_browser.open(path).text
    again = admin_browser.open(form_of(backup)).text
    assert "Another restore waits already" in again
    assert 'name="confirm"' not in again
    cancelled = admin_browser.send(f"{STATUS}/cancel", {}, page=STATUS)
    assert "The site stays as it is." in cancelled.text
    assert cancelled.url.path == "/admin/backups/restore"
    assert "A restore is waiting" not in admin_browser.open("/").text
    assert restoring.restore_status(site).state == "none"
    nothing = admin_browser.send(f"{STATUS}/cancel", {}, page="/backups")
    assert nothing.status_code == 200
    assert "No restore is pending." in nothing.text


@pytest.mark.parametrize("typed", ["", "yes", "backup_20200101_000000.zip"])
def test_without_the_name_of_the_backup_nothing_is_staged(
    admin_browser: Browser, site: Site, typed: str
) -> None:
    backup = service.create_backup(site)
    refused = admin_browser.send(form_of(backup), {"confirm": typed})
    assert "the name that was typed is not that of this backup" in refused.text
    assert refused.url.path == f"/admin{form_of(backup)}"
    assert restoring.restore_status(site).state == "none"
    assert list_jobs(site) == []


def test_the_name_may_be_typed_with_its_ending(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    assert "Staged: restart" in stage(admin_browser, site, backup, confirm=backup.filename)


def test_a_second_click_finds_the_restore_that_is_staged(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    stage(admin_browser, site, backup)
    twice = admin_browser.send(form_of(backup), {"confirm": backup.name}, page=STATUS)
    assert "already staged" in twice.text
    assert restoring.restore_status(site).state == "pending"


def test_what_was_wrong_with_a_backup_is_said_before_the_button(admin_browser: Browser, site: Site) -> None:
    whole = service.create_backup(site)
    file = media.add_file(site, BytesIO(b"a picture"), "picture.txt")
    stored = site.settings.files_dir / file.path
    stored.unlink()
    lacking = service.create_backup(site)
    stored.write_bytes(b"a picture")
    with site.database.write() as session:
        session.execute(text("CREATE TABLE strange (x INTEGER)"))
    refused = service.create_backup(site)
    pages = [admin_browser.open(form_of(backup)).text for backup in (whole, lacking, refused)]
    lacks, button = "This backup lacks something", "Check and prepare this restore"
    assert lacks not in pages[0]
    assert f"files/{file.path} is missing on disk" in pages[1]
    assert pages[1].index(lacks) < pages[1].index(button)
    assert "This backup cannot be restored" in pages[2]
    assert "choose another backup" in pages[2]
    assert button not in pages[2]


def test_a_damaged_backup_shows_why_it_is_refused_and_no_form(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    with open(backup.path, "r+b") as archive:  # noqa: PTH123 - a text path
        archive.truncate(backup.size_bytes // 2)
    page = admin_browser.open(form_of(backup))
    assert page.status_code == 200
    assert "This backup cannot be restored" in page.text
    assert "What to do:" in page.text
    assert 'name="confirm"' not in page.text
    sent = admin_browser.send(form_of(backup), {"confirm": backup.name}, page=STATUS).text
    # On a machine with much to do, the answer does not wait for the refusal: the page of restores has it.
    wait_for_jobs(site)
    told = "This backup cannot be restored" in sent
    assert told or "The restore could not be prepared" in admin_browser.open(STATUS).text
    assert restoring.restore_status(site).state == "none"


def test_damage_that_only_staging_finds_is_told_with_what_to_do(
    admin_browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = service.create_backup(site)

    def fail(work: Any, *arguments: Any, **named: Any) -> Any:
        run_apart(work, *arguments, **named)
        raise CorruptArchiveError("files/x differs from its checksum.", hint="Use another backup.")

    monkeypatch.setattr(restoring, "run_apart", fail)
    page = stage(admin_browser, site, backup)
    assert "The restore could not be prepared" in page
    assert "files/x differs from its checksum. Nothing was changed" in page
    assert "Use another backup." in page
    assert [job.state for job in list_jobs(site)] == [JobState.FAILED]
    assert not data_paths(site).staging_dir.exists()


def test_an_uploaded_backup_asks_for_the_password(admin_browser: Browser, site: Site, tmp_path: Path) -> None:
    made = Path(service.create_backup(site).path).rename(tmp_path / "elsewhere.zip")
    brought = receiving.import_archive(site, made, "somebody@example.org")
    backup = service.find_backup(site, brought.filename)
    page = admin_browser.open(form_of(backup)).text
    assert "comes from another machine" in page
    assert "somebody@example.org" in page
    assert "admin@example.com<br>" in page
    for password in ("", "wrong"):
        refused = admin_browser.send(form_of(backup), {"confirm": backup.name, "password": password})
        assert refused.status_code == 200
        assert "alert-danger" in refused.text
        assert 'name="password"' in refused.text
        assert restoring.restore_status(site).state == "none"
    assert "Staged: restart the server to complete" in stage(admin_browser, site, backup, password=PASSWORD)


def test_a_backup_made_here_asks_for_no_password(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    assert 'name="password"' not in admin_browser.open(form_of(backup)).text


def test_how_a_restore_and_its_undo_ended_stays_on_the_page(
    settings: Settings, password_hash: str, reopened: Any
) -> None:
    with TestClient(create_app(settings)) as client:
        site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
        make_admin(site, password_hash)
        media.add_file(site, BytesIO(b"a picture"), "before.txt")
        backup = service.create_backup(site)
        media.add_file(site, BytesIO(b"a picture"), "after.txt")
        restoring.stage_restore(site, backup.filename, "somebody")

    browser, site = reopened()
    wal = data_paths(site).safety(files_apart=False).wal
    wal.write_bytes(b"changes that are not in the database")
    assert "cannot be counted: the database of then cannot be read" in browser.open(STATUS).text
    wal.write_bytes(b"")  # what stays when another program had the old database open
    page = browser.open(STATUS).text
    wal.unlink()
    for said in (
        "Restored</h2>",
        "somebody",
        "The state before that is kept",
        "At least 1 file comes back",
        "All restores of this site",
    ):
        assert said in page, said
    assert "Restored" in browser.open("/backups").text
    assert "Restored" in browser.open("/").text
    assert "given up: only one is kept" in browser.open(form_of(backup)).text
    undoing = browser.send(f"{STATUS}/undo", {}, page=STATUS)
    assert "Staged: restart the server to complete" in undoing.text
    assert "Cancel undo" in undoing.text
    reopened.stop()

    browser, site = reopened()
    page = browser.open(STATUS).text
    assert "Undone</h2>" in page
    assert "Undo of the restore of" in page
    assert page.count('id="restore-') == 2
    discarded = browser.send(f"{STATUS}/discard", {}, page=STATUS)
    assert "cannot be undone any more" in discarded.text
    assert "The state before that is kept" not in discarded.text
    assert "Undone</h2>" in discarded.text


def test_a_restore_that_was_rolled_back_says_why_and_what_to_do(
    settings: Settings, password_hash: str, reopened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(settings)) as client:
        site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
        make_admin(site, password_hash)
        restoring.stage_restore(site, service.create_backup(site).filename, "somebody")

    def fail(_site: Site) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(restoring, "_bring_up", fail)
    browser, site = reopened()
    page = browser.open(STATUS).text
    assert "Rolled back: the site is as it was" in page
    assert "the disk is gone" in page
    assert "Choose a backup" in page
    assert "The restore did not work, and was rolled back" in browser.open("/backups").text


def test_a_restart_is_offered_where_it_can_be_done_and_completes_only_what_waits(
    admin_browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = service.create_backup(site)
    restarts: list[str] = []
    monkeypatch.setattr(restarting, "_stop", lambda _site, way: restarts.append(way))
    monkeypatch.setattr(restarting, "_SECONDS_UNTIL_STOP", 0)
    stage(admin_browser, site, backup)
    refused = admin_browser.send(f"{STATUS}/restart", {}, page=STATUS)
    assert "This server cannot restart itself" in refused.text
    with restarting.replaceable(lambda: None):
        assert "Restart now" in admin_browser.open(STATUS).text
        waiting = admin_browser.send(f"{STATUS}/restart", {}, page=STATUS)
        assert "The server is restarting" in waiting.text
        assert f'data-server-id="{restarting.server_id()}"' in waiting.text
        admin_browser.send(f"{STATUS}/cancel", {}, page=STATUS)
        again = admin_browser.send(f"{STATUS}/restart", {}, page="/backups")
        assert "Nothing waits for a restart any more." in again.text
    wait_until(lambda: restarts)
    assert restarts == ["by_itself"]


def test_whoever_logs_in_to_see_a_restore_learns_why(browser: Browser, site: Site) -> None:
    page = browser.open(STATUS)
    assert page.url.path == "/admin/login"
    assert "A restore ends every login." in page.text
    assert "A restore ends every login." not in browser.open("/backups").text


def test_only_admins_see_the_pages_of_restores(editor_browser: Browser) -> None:
    assert editor_browser.open(STATUS).status_code == 403
    assert editor_browser.open("/backups/backup_20250115_100000.zip/restore").status_code == 403
