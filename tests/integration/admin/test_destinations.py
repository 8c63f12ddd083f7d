"""The pages of destinations: what is shown, added after a test, refused, removed, fetched and restored."""

import shutil
import time
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from fastcms.backups import copying, elsewhere, encryption, service
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.destinations import add_destination, list_destinations
from fastcms.backups.job_files import Job, JobKind, JobState, list_jobs
from fastcms.backups.schemas import Backup
from fastcms.site import Site
from tests.conftest import PASSWORD
from tests.integration.admin.conftest import Browser
from tests.object_servers import ObjectServer

PAGE = "/backups/destinations"
NEW = f"{PAGE}/new"
KEY = Identity.generate()
# Ticked by whoever has no key.
PLAINLY = {"unencrypted": "yes"}


@pytest.fixture
def page(site: Site, far: Path) -> str:
    """The page of a destination that has a copy of a backup."""
    destination = add_destination(site, far.as_uri(), {})
    service.create_backup(site)
    copying.copy_missing(site)
    return f"{PAGE}/{destination.id}"


def encrypt_copy(backup: Backup, far: Path) -> Path:
    """The backup as another machine has put it there, encrypted."""
    content, path = Path(backup.path).read_bytes(), far / f"{backup.filename}.age"
    with encryption.encrypted([content], len(content), [KEY.to_public()]) as stream:
        path.write_bytes(b"".join(stream.chunks))
    return path


def wait_for_job(site: Site, kind: JobKind) -> Job:
    deadline = time.monotonic() + 30
    while (job := next(job for job in list_jobs(site) if job.kind is kind)).is_running:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def test_without_a_destination_the_page_says_what_that_means(admin_browser: Browser) -> None:
    page = admin_browser.open(PAGE).text
    assert "Every backup is on this machine only" in page
    assert all(f"new?kind={kind}" in page for kind in ("s3", "gs", "az", "file"))
    assert "/admin/backups/destinations" in admin_browser.open("/backups").text
    assert "/admin/backups/destinations" in admin_browser.open("/backups/settings").text


def test_a_folder_is_tested_then_added_and_removed_again(
    admin_browser: Browser, site: Site, far: Path
) -> None:
    form = {"kind": "file", "path": str(far), "keeping": "own", "keep_last": "3", "limit": "5 MB"}
    form |= PLAINLY
    added = admin_browser.send(NEW, form).text
    assert f"Added. {far.as_uri()} takes backups, lists them, and gives them back." in added
    assert "the newest 3" in added
    assert "at most 5.0 MB a second" in added
    (destination,) = list_destinations(site)
    again = admin_browser.send(NEW, form)
    assert again.status_code == 422
    assert "is a destination already" in again.text
    tested = admin_browser.send(f"{PAGE}/{destination.id}/test", {}, page=PAGE).text
    assert "takes backups, lists them, and gives them back" in tested
    removed = admin_browser.send(f"{PAGE}/{destination.id}/remove", {}, page=PAGE).text
    assert "What is there stays." in removed
    assert list_destinations(site) == []
    told = admin_browser.open("/activity").text
    assert f"Added {far.as_uri()} as a destination of backups" in told
    assert f"Removed {far.as_uri()} as a destination of backups" in told


def test_copies_leave_unencrypted_only_where_somebody_has_said_so(
    admin_browser: Browser, site: Site, far: Path
) -> None:
    form = {"kind": "file", "path": str(far)}
    assert "Make a key first" in admin_browser.open(PAGE).text
    assert "Encrypt copies before they leave" in admin_browser.open(NEW).text
    refused = admin_browser.send(NEW, form)
    assert refused.status_code == 422
    assert "Make a key first, or tick that copies may leave unencrypted." in refused.text
    assert list_destinations(site) == []
    change_settings(site, {"encrypt_to": [str(KEY.to_public())]})
    assert 'name="unencrypted"' not in admin_browser.open(NEW).text
    assert "Added." in admin_browser.send(NEW, form).text


def test_plain_copies_are_replaced_as_the_page_of_keys_says(
    admin_browser: Browser, site: Site, page: str, far: Path
) -> None:
    change_settings(site, {"encrypt_to": [str(KEY.to_public())]})
    assert "1 copy that was made before is not encrypted" in admin_browser.open("/backups/keys").text
    (plain,) = far.glob("backup_*.zip")
    plain.unlink()
    for _ in range(2):  # nothing is left there: the first one asks whether that is meant
        admin_browser.send(f"{page}/test", {}, page=page)
    copying.copy_missing(site)
    assert [path.name for path in far.glob("backup_*")] == [f"{plain.name}.age"]
    assert "1 copy that was made before" not in admin_browser.open("/backups/keys").text


def test_what_fails_its_test_is_not_added_and_comes_back_without_its_secrets(
    admin_browser: Browser, site: Site, s3_server: ObjectServer
) -> None:
    endpoint = s3_server.address("pages").split("endpoint=")[1].split("&")[0]
    form = {
        "kind": "s3",
        "endpoint": endpoint,
        "bucket": "backups",
        "folder": "pages",
        "access_key": "typed-key-id",
        "secret_key": "typed-secret",
        "keeping": "all",
        **PLAINLY,
    }
    refused = admin_browser.send(NEW, form)
    assert refused.status_code == 422
    assert "does not accept the credentials" in refused.text
    assert all(f'value="{form[name]}"' in refused.text for name in ("endpoint", "folder", "access_key"))
    assert "typed-secret" not in refused.text
    assert list_destinations(site) == []
    assert "typed-secret" not in admin_browser.open("/activity").text
    right = dict(zip(("access_key", "secret_key"), s3_server.credentials.values(), strict=False))
    added = admin_browser.send(NEW, form | right).text
    assert "Added. s3://backups/pages" in added
    assert "everything" in added
    assert "stored here, and never shown" in added
    assert right["secret_key"] not in added
    (destination,) = list_destinations(site)
    assert destination.has_stored_credentials

    change = f"{PAGE}/{destination.id}/change"
    shown = admin_browser.open(change).text
    assert right["secret_key"] not in shown
    assert 'value="all" checked' in shown
    kept = admin_browser.send(change, form | {"access_key": "", "secret_key": "", "keeping": "same"}).text
    assert "Changed. s3://backups/pages" in kept
    assert list_destinations(site)[0].policy is None
    worse = admin_browser.send(change, form).text
    assert "Nothing was changed." in worse
    moved = admin_browser.send(change, form | right | {"bucket": "elsewhere"}).text
    assert "is another place than" in moved
    elsewhere.try_destination(site, destination.id)


@pytest.mark.parametrize(
    ("form", "problems"),
    [
        ({"kind": "file", "path": "backups"}, ["Write the whole path of a folder"]),
        ({"kind": "file", "path": "/b", "limit": "fast"}, ["Write the bytes a second like 5 MB"]),
        (
            {"kind": "s3", "bucket": "s3://b", "endpoint": "s3.example.com", "access_key": "a"},
            ["Write its name only", "Write it like https://s3.example.com", "belong together"],
        ),
        (
            {"kind": "az", "bucket": "backups", "account": "A", "keeping": "own", "keep_daily": "-1"},
            ["3 to 24 small letters", "A whole number is wanted"],
        ),
        ({"kind": "gs", "bucket": "bucket", "folder": "../x"}, ["Leave out . and .."]),
    ],
)
def test_what_makes_no_sense_is_marked_where_it_was_typed(
    admin_browser: Browser, site: Site, form: dict[str, str], problems: list[str]
) -> None:
    refused = admin_browser.send(NEW, form | PLAINLY)
    assert refused.status_code == 422
    assert refused.text.count("invalid-feedback") == len(problems)
    for problem in problems:
        assert problem in refused.text
    assert list_destinations(site) == []


def test_a_place_that_is_gone_is_told_with_what_to_do_and_the_test_says_the_same(
    admin_browser: Browser, site: Site, page: str, far: Path
) -> None:
    assert "It has every backup that belongs there" in admin_browser.open(page).text
    shutil.rmtree(far)
    tested = admin_browser.send(f"{page}/test", {}, page=page).text
    assert "The test failed." in tested
    assert "It cannot be used" in tested
    assert "does not exist" in admin_browser.open(f"{page}/stored").text
    assert elsewhere.show_destination(site, page.rsplit("/", 1)[1]).code == "store_missing"
    far.mkdir()  # without the copy that was in it
    assert "test the connection once more" in admin_browser.send(f"{page}/test", {}, page=page).text
    assert "It cannot be used" not in admin_browser.send(f"{page}/test", {}, page=page).text


def test_what_is_there_is_listed_beside_what_is_here(
    admin_browser: Browser, site: Site, page: str, far: Path
) -> None:
    (backup,) = service.list_backups(site)
    other = encrypt_copy(backup, far)
    piece = admin_browser.open(f"{page}/stored").text
    assert "<html" not in piece
    assert piece.count("only there") == 0
    assert piece.count(">from elsewhere<") == 1
    Path(backup.path).unlink()
    assert admin_browser.open(f"{page}/stored").text.count("only there") == 2
    assert other.name in admin_browser.open(f"{page}?stored=yes").text
    assert other.name not in admin_browser.open(page).text


def test_a_backup_is_fetched_and_verified_from_there(admin_browser: Browser, site: Site, page: str) -> None:
    (backup,) = service.list_backups(site)
    Path(backup.path).unlink()
    started = admin_browser.send(f"{page}/backups/{backup.filename}/fetch", {}, page=page)
    assert f"?job={wait_for_job(site, JobKind.FETCH).id}" in str(started.url)
    ended = admin_browser.open(f"{page}?job={list_jobs(site)[0].id}").text
    assert f"Fetched {backup.filename} from file://" in ended
    assert [backup.filename] == [found.filename for found in service.list_backups(site)]
    admin_browser.send(f"{page}/backups/{backup.filename}/verify", {}, page=page)
    job = wait_for_job(site, JobKind.VERIFY)
    assert job.state is JobState.SUCCEEDED
    assert "is sound" in admin_browser.open(f"{page}?job={job.id}").text


def test_an_encrypted_backup_of_another_machine_is_restored_with_key_and_password(
    admin_browser: Browser, site: Site, page: str, far: Path
) -> None:
    (backup,) = service.list_backups(site)
    one = f"{page}/backups/{encrypt_copy(backup, far).name}"
    Path(backup.path).unlink()
    shown = admin_browser.open(one).text
    assert "This site has no record of having made it" in shown
    form = {"identity": str(KEY), "password": PASSWORD, "confirm": backup.filename}
    for wrong, why in (
        ({"identity": ""}, "there is no key to decrypt it with"),
        ({"identity": "AGE-SECRET-KEY-1NO"}, "What was typed as the key"),
        ({"password": "guessed"}, "The password is wrong."),
        ({"confirm": "yes"}, "the name that was typed is not that of this backup"),
    ):
        refused = admin_browser.send(f"{one}/restore", form | wrong, page=one).text
        assert why in refused.replace("&#39;", "'")
        assert str(KEY) not in refused
    assert not any(job.kind is JobKind.RESTORE for job in list_jobs(site))
    admin_browser.send(f"{one}/restore", form, page=one)
    assert wait_for_job(site, JobKind.RESTORE).state is JobState.SUCCEEDED
    assert backup.filename in admin_browser.open("/backups/restore").text
    told = admin_browser.open("/activity").text
    assert f"the restore of {backup.filename}.age" in told
    for path in site.settings.data_dir.rglob("*"):
        assert not path.is_file() or str(KEY).encode() not in path.read_bytes(), path


def test_what_is_not_there_leads_back_with_the_reason(admin_browser: Browser, page: str) -> None:
    gone = admin_browser.open(f"{page}/backups/backup_20200101_000000.zip")
    assert "There is no backup" in gone.text
    assert str(gone.url).endswith(page)
    unknown = admin_browser.open(f"{PAGE}/00000000")
    assert "There is no destination with this id or address." in unknown.text


def test_an_editor_may_see_and_do_nothing_of_it(editor_browser: Browser, page: str) -> None:
    for path in (PAGE, NEW, page, f"{page}/stored"):
        assert editor_browser.client.get(f"/admin{path}", follow_redirects=True).status_code == 403
