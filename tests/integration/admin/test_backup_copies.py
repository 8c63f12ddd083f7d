"""Where the copies of backups are, on the pages that show backups."""

import re
import shutil
import threading
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import pytest
from httpx2 import Response
from pyrage.x25519 import Identity

from fastcms.backups import backup_notes, jobs, receiving, service
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.copies import CopyState, forget_copies, list_copies
from fastcms.backups.copying import copy_missing
from fastcms.backups.destinations import list_destinations
from fastcms.backups.elsewhere import add_destination, remove_destination, try_destination
from fastcms.backups.schemas import Backup
from fastcms.backups.stores.base import PutResult
from fastcms.backups.stores.folder import FolderStore
from fastcms.config import Settings
from fastcms.errors import StoreError
from fastcms.site import Site
from tests.integration.admin.conftest import Browser


@pytest.fixture
def near(tmp_path: Path) -> Path:
    folder = tmp_path / "near"
    folder.mkdir()
    return folder


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """A folder that is not there, such as that of a drive that is not mounted."""
    return tmp_path / "away"


@pytest.fixture
def settings(tmp_path: Path, near: Path, away: Path) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path / "data", backup_destinations=f"file://{near} file://{away}"
    )


@pytest.fixture
def backup(site: Site) -> Backup:
    return service.create_backup(site)


def text_of(answer: Response) -> str:
    """What the page says, without its markup."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text)))


def test_the_list_and_the_top_say_where_each_backup_is(
    admin_browser: Browser, site: Site, backup: Backup, near: Path
) -> None:
    before = text_of(admin_browser.open("/backups"))
    assert "No backup is copied yet." in before
    assert f"{near} : waiting to be copied waiting" in before
    copy_missing(site)
    page = text_of(admin_browser.open("/backups"))
    assert re.search(rf"{near} : copied copied [^,]+, not encrypted", page)
    assert f"failed: The folder of {near.parent}/away does not exist." in page
    assert re.search(rf"Copied, not encrypted, to {near} .*, but not yet to {near.parent}/away\.", page)
    assert "Open the destinations" in page


def test_an_open_page_learns_of_what_failed(
    admin_browser: Browser, site: Site, backup: Backup, near: Path
) -> None:
    def mark() -> str:
        found = re.search(r'data-copies-mark="(\w+)"', admin_browser.open("/backups/jobs").text)
        assert found
        return found[1]

    copy_missing(site)
    before = mark()
    assert mark() == before
    shutil.rmtree(near)
    (destination,) = [found for found in list_destinations(site) if found.place == near.as_uri()]
    with pytest.raises(StoreError):
        try_destination(site, destination.id)
    assert mark() != before


def test_the_page_says_whether_copies_are_encrypted(admin_browser: Browser, site: Site, near: Path) -> None:
    page = admin_browser.open("/backups")
    assert "Encrypt copies" in page.text
    assert "/admin/backups/keys" in page.text
    change_settings(site, {"encrypt_to": [str(Identity.generate().to_public())]})
    service.create_backup(site)
    copy_missing(site)
    said = text_of(admin_browser.open("/backups"))
    assert re.search(rf"Copied, encrypted, to {near}", said)
    assert re.search(rf"{near} : copied copied [^,]+, encrypted", said)
    assert "See the keys" in said


def test_the_page_of_a_backup_says_why_it_is_not_copied_and_tries_again(
    admin_browser: Browser, site: Site, backup: Backup, away: Path
) -> None:
    copy_missing(site)
    here = f"/backups/{backup.filename}"
    page = text_of(admin_browser.open(here))
    assert "every byte was read back" in page
    assert f"The folder of {away} does not exist." in page
    (copy,) = [copy for copy in list_copies(site) if copy.state == CopyState.FAILED]
    again = f"{here}/copies/{copy.destination}/try-again"
    assert (
        "does not exist. Create it."
        in text_of(admin_browser.send(again, {}, page=here)).partition("What is in it")[0]
    )
    away.mkdir()
    assert "can be used. Copying goes on" in text_of(admin_browser.send(again, {}, page=here))
    copy_missing(site)
    page = admin_browser.open(here).text
    assert page.count("every byte was read back") == 2
    assert f"{copy.destination}/backups/{backup.filename}" in page
    assert "try-again" not in page
    assert "There is no destination" in text_of(
        admin_browser.send(f"{here}/copies/ffffffff/try-again", {}, page="/backups")
    )


def test_before_it_is_deleted_or_restored_it_is_said_where_it_is_too(
    admin_browser: Browser, site: Site, backup: Backup, near: Path
) -> None:
    delete = f"/backups/{backup.filename}/delete"
    waiting = text_of(admin_browser.open(delete))
    assert "never will be then: it waits to be copied to" in waiting
    assert "Without it there is no way back." in waiting
    copy_missing(site)
    copied = text_of(admin_browser.open(delete))
    assert f"It can be fetched again from {near}. Deleting it here leaves it there." in copied
    assert "the way back is its copy elsewhere" in copied
    assert "never will be" not in copied
    restore = f"/backups/{backup.filename}/restore"
    assert f"on this machine, and at {near}" in text_of(admin_browser.open(restore))
    backup_notes.note(site, backup.filename, verified_outcome="failed", verified="2026-11-20T03:00:00Z")
    assert f"A copy of it is at {near}." in text_of(admin_browser.open(restore))
    Path(backup.path).write_bytes(b"damaged")
    assert f"A copy of it is at {near}." in text_of(admin_browser.open(restore))


def test_what_is_not_copied_says_why(
    admin_browser: Browser, site: Site, backup: Backup, tmp_path: Path
) -> None:
    brought = Path(backup.path).rename(tmp_path / "brought.zip")
    receiving.import_archive(site, brought, "somebody")
    copy_missing(site)
    assert "On this machine only" in admin_browser.open("/backups").text
    assert (
        "What was brought from another machine is not copied."
        in admin_browser.open(f"/backups/{backup.filename}").text
    )


def test_a_copy_that_is_being_made_is_shown_and_can_be_cancelled(
    admin_browser: Browser, site: Site, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    original = FolderStore.put

    def put(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        begun.set()
        go_on.wait()
        return original(store, name, chunks, size_bytes)

    monkeypatch.setattr(FolderStore, "put", put)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN", 0)
    copying = threading.Thread(target=copy_missing, args=[site])
    copying.start()
    begun.wait()
    page = admin_browser.open("/backups").text
    (job_id,) = re.findall(r'data-job-id="([^"]+)" data-job-done=""', page)
    assert f'<span data-percent-of="{job_id}">0 %</span>' in page
    threading.Timer(1, go_on.set).start()
    cancelled = admin_browser.send(f"/backups/jobs/{job_id}/cancel", {}, page="/backups")
    copying.join()
    assert f"Copying {backup.filename} to" in cancelled.text
    assert "was cancelled" in text_of(cancelled)
    assert "It was cancelled by" in text_of(admin_browser.open(f"/backups/{backup.filename}"))


def test_a_copy_at_a_former_destination_is_told_where_it_is_the_only_one(
    admin_browser: Browser, site: Site, backup: Backup, near: Path, tmp_path: Path
) -> None:
    former = tmp_path / "former"
    former.mkdir()
    added = add_destination(site, f"file://{former}", {}, "somebody")
    copy_missing(site)
    remove_destination(site, added.id, "somebody")
    assert str(former) not in text_of(admin_browser.open("/backups"))
    assert f"{former} no destination any more" in text_of(admin_browser.open(f"/backups/{backup.filename}"))
    forget_copies(site, [copy for copy in list_copies(site) if copy.place == f"file://{near}"])
    assert re.search(
        rf"{former} : copied copied .*, no destination any more", text_of(admin_browser.open("/backups"))
    )
    assert "fetched again" not in admin_browser.open(f"/backups/{backup.filename}/delete").text
