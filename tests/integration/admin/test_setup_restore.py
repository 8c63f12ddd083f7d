"""Restore a backup into a new site in the browser: who may, what is shown, and what is left afterwards."""

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from pyrage.x25519 import Identity

from fastcms.accounts import service as accounts
from fastcms.accounts.dependencies import SESSION_COOKIE
from fastcms.accounts.setup_visit import SETUP_COOKIE
from fastcms.admin.storage_form import open_typed_store
from fastcms.backups import encryption, receiving, restoring, service
from fastcms.backups.backup_settings import change_settings, read_settings
from fastcms.backups.engine.pending import PendingRestore
from fastcms.backups.job_files import Job, list_jobs
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.stores.folder import FolderStore
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import StoreUnreachableError
from fastcms.main import create_app
from fastcms.site import Site, new_site
from fastcms.startup import serve_site
from tests.conftest import ADMIN, PASSWORD
from tests.integration.admin.conftest import Browser

PAGE = "/setup/restore"
KEY = Identity.generate()
SERVICE_ACCOUNT = json.dumps(
    {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
)
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def new(browser: Browser) -> Site:
    """The site without any account that the browser looks at."""
    site: Site = browser.client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    return site


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of another site, with an admin."""
    folder = tmp_path_factory.mktemp("other")
    site = new_site(Settings(_env_file=None, data_dir=folder / "data"))
    with serve_site(site):
        with site.database.write() as session:
            accounts.create_account(session, ADMIN, PASSWORD)
        return Path(service.create_backup(site).path)


@pytest.fixture
def far(archive: Path, tmp_path: Path) -> Path:
    """A folder with that backup, encrypted, and an older one."""
    folder = tmp_path / "far"
    folder.mkdir()
    content = archive.read_bytes()
    with encryption.encrypted([content], len(content), [KEY.to_public()]) as stream:
        (folder / f"{archive.name}.age").write_bytes(b"".join(stream.chunks))
    shutil.copy(archive, folder / "backup_20250115_100000.zip")
    return folder


@pytest.fixture
def proven(browser: Browser, new: Site) -> Browser:
    """A browser whose user has typed the set-up code."""
    done = browser.send(f"{PAGE}/code", {"code": accounts.setup_code(new)}, page=PAGE)
    assert "From where copies are kept" in done.text
    return browser


def wait_for_job(site: Site) -> Job:
    deadline = time.monotonic() + 30
    while (job := list_jobs(site)[0]).is_running:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def restart(browser: Browser, settings: Settings) -> Browser:
    """Another server on the same folder, for a browser with the same cookies."""
    browser.client.__exit__(None, None, None)
    client = TestClient(create_app(settings))
    client.__enter__()
    client.cookies.update(browser.client.cookies)
    return Browser(client)


def test_without_the_code_nothing_is_shown_or_done(browser: Browser, new: Site, far: Path) -> None:
    assert "Restore from a backup" in browser.open("/setup").text
    form = {"kind": "file", "path": str(far), "filename": "backup_20250115_100000.zip"}
    for path in (PAGE, f"{PAGE}/list", f"{PAGE}/start", f"{PAGE}/cancel", f"{PAGE}/restart"):
        shown = browser.open(path) if path == PAGE else browser.send(path, form, page=PAGE)
        assert "Set-up code" in shown.text
        assert "From where copies are kept" not in shown.text
    refused = browser.send(f"{PAGE}/code", {"code": "0000-0000-0000"}, page=PAGE)
    assert refused.status_code == 403
    assert "The set-up code is wrong." in refused.text
    assert browser.client.get("/api/v1/backups").status_code == 401
    assert list_jobs(new) == []


def test_guessing_the_code_is_slowed_down(browser: Browser) -> None:
    answers = [browser.send(f"{PAGE}/code", {"code": "guess"}, page=PAGE) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert "retry-after" in answers[-1].headers


def test_the_code_opens_the_backups_for_an_hour_and_until_there_is_an_admin(
    proven: Browser, new: Site
) -> None:
    client = proven.client
    assert client.get("/api/v1/backups").json()["total"] == 0
    assert client.get("/api/v1/collections").status_code == 401
    assert client.get("/api/v1/auth/me").status_code == 401
    assert client.post("/api/v1/backups").status_code == 403  # from another site's page
    assert client.post("/api/v1/backups", headers=SAME_ORIGIN).status_code == 200
    good = client.cookies[SETUP_COOKIE]
    forger = TestClient(client.app, headers={"Cookie": f"{SETUP_COOKIE}={good}x"})
    assert forger.get("/api/v1/backups").status_code == 401
    with time_machine.travel(utc_now().timestamp() + 3700):
        assert client.get("/api/v1/backups").status_code == 401
        assert "Set-up code" in proven.open(PAGE).text
    with new.database.write() as session:
        accounts.create_account(session, ADMIN, PASSWORD)
    assert client.get("/api/v1/backups").status_code == 401
    assert proven.open(PAGE).url.path == "/admin/login"


def test_a_session_of_the_lost_machine_is_not_in_the_way(proven: Browser) -> None:
    """A browser that was logged in there, at the same address, still has its cookie."""
    proven.client.cookies.set(SESSION_COOKIE, "left-over")
    assert proven.client.get("/api/v1/backups/jobs").status_code == 200
    assert proven.client.post("/api/v1/backups", headers=SAME_ORIGIN).status_code == 200
    assert proven.client.get("/api/v1/collections").status_code == 401


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(browser: Browser, new: Site) -> None:
    done = browser.send(f"{PAGE}/code", {"code": accounts.setup_code(new)}, page=PAGE)
    cookie = next(v for v in done.history[0].headers.get_list("set-cookie") if SETUP_COOKIE in v).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_newer_plain_one_is_doubted_and_with_a_key_not_suggested(
    proven: Browser, far: Path, archive: Path
) -> None:
    name = f"backup_{utc_now() + timedelta(minutes=1):%Y%m%d_%H%M%S}.zip"
    shutil.copy(archive, far / name)
    for key, suggested in (("", name), (str(KEY), f"{archive.name}.age")):
        fields = {"kind": "file", "path": str(far), "identity": key, "filename": name}
        listed = proven.send(f"{PAGE}/list", fields, page=PAGE).text
        assert re.findall(r'value="(backup_[^"]*)" checked', listed) == [suggested]
        assert listed.count("Not encrypted, and older ones are") == 1
    (far / name).unlink()
    assert "and older ones are" not in proven.send(f"{PAGE}/list", fields, page=PAGE).text


def test_an_encrypted_backup_is_listed_fetched_prepared_and_after_a_restart_one_logs_in(
    proven: Browser, new: Site, far: Path, archive: Path
) -> None:
    fields = {"kind": "file", "path": str(far), "identity": str(KEY)}
    listed = proven.send(f"{PAGE}/list", fields, page=PAGE)
    chosen = re.search(r'value="(backup_[^"]*)" checked', listed.text)
    assert chosen is not None
    assert chosen[1] == f"{archive.name}.age"
    assert "2 backups in" in listed.text
    started = proven.send(f"{PAGE}/start", fields | {"filename": chosen[1]}, page=PAGE)
    assert started.url.path == "/admin/setup/restore"
    job = wait_for_job(new)
    assert (job.state, job.kind, job.requested_by) == ("succeeded", "restore", "the set-up page")
    assert str(KEY) not in job.model_dump_json()
    ready = proven.open(PAGE)
    assert "Ready: restart the server to complete it" in ready.text
    assert str(KEY) not in ready.text
    after = restart(proven, new.settings)
    assert after.open(PAGE).url.path == "/admin/login"
    home = after.log_in(ADMIN)
    assert home.url.path == "/admin/"
    for page in (home, after.open("/backups"), after.open("/backups/restore")):
        assert f"Copies were encrypted to {KEY.to_public()}: use that key again." in page.text
        assert "Backups are copied nowhere" in page.text
        assert "Nobody would be told if a backup failed: say whom to tell." in page.text
    after.send("/backups/keys/add", {"public_key": str(KEY.to_public())}, page="/backups")
    assert read_settings(new).encrypt_to == (str(KEY.to_public()),)
    change_settings(new, {"notify_urls": ["json://localhost:9"]})
    still = after.open("/backups").text
    assert "Copies were encrypted to" not in still
    assert "say whom to tell." not in still
    assert "Backups are copied nowhere" in still
    log = (new.settings.data_dir / "activity.db").read_bytes()
    assert f"the restore of {archive.name}.age".encode() in log
    assert str(KEY).encode() not in log
    after.client.__exit__(None, None, None)


def test_of_four_clicks_one_fetches(proven: Browser, new: Site, far: Path, archive: Path) -> None:
    form = {"kind": "file", "path": str(far), "identity": str(KEY), "filename": f"{archive.name}.age"}
    token = re.search(r'name="csrftoken" value="([^"]+)"', proven.open(PAGE).text)
    assert token is not None

    def click(_number: int) -> int:
        data = form | {"csrftoken": token[1]}
        return proven.client.post(f"/admin{PAGE}/start", data=data, follow_redirects=False).status_code

    with ThreadPoolExecutor(4) as clicks:
        assert list(clicks.map(click, range(4))) == [303] * 4
    assert wait_for_job(new).state == "succeeded"
    assert len(list_jobs(new)) == 1
    assert len(service.list_backups(new)) == 1


@pytest.mark.parametrize("is_here", [True, False])
def test_nothing_is_prepared_once_there_is_an_admin(
    proven: Browser, new: Site, far: Path, monkeypatch: pytest.MonkeyPatch, *, is_here: bool
) -> None:
    stage = restoring.stage_restore

    def be_overtaken(*arguments: Any, **options: Any) -> PendingRestore:
        pending = stage(*arguments, **options)
        with new.database.write() as session:
            accounts.create_account(session, "first@example.com", PASSWORD)
        return pending

    form = {"kind": "file", "path": str(far), "filename": "backup_20250115_100000.zip"}
    if is_here:
        receiving.import_archive(new, far / "backup_20250115_100000.zip", "me")
        form = {"filename": service.list_backups(new)[0].filename, "is_here": "yes"}
    monkeypatch.setattr(restoring, "stage_restore", be_overtaken)
    proven.send(f"{PAGE}/start", form, page=PAGE)
    job = wait_for_job(new)
    assert job.error is not None
    assert job.error.code == "already_set_up"
    assert restoring.restore_status(new).state is RestoreState.NONE


def test_a_key_in_a_field_of_the_storage_is_noticed_and_not_repeated(proven: Browser, far: Path) -> None:
    for name in ("path", "endpoint", "access_key", "secret_key", "sas_token"):
        form = {"kind": "file", "path": str(far), name: str(KEY).lower()}
        shown = proven.send(f"{PAGE}/list", form, page=PAGE).text
        assert "A field of the storage holds the key to decrypt with." in shown
        assert str(KEY).lower() not in shown.lower().replace("&#45;", "-")


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ({"kind": "s3", "folder": "site", "endpoint": "https://s3.example.com"}, "s3://copies/site"),
        ({"kind": "gs", "secret_key": SERVICE_ACCOUNT}, "gs://copies"),
        ({"kind": "az", "account": "mystorage", "secret_key": "a2V5"}, "az://copies"),
    ],
)
def test_what_is_typed_names_a_place(typed: dict[str, str], place: str) -> None:
    assert place in open_typed_store({"bucket": "copies", **typed}).place


def test_words_are_those_of_a_page_where_a_key_is_missing(
    proven: Browser, new: Site, far: Path, archive: Path
) -> None:
    fields = {"kind": "file", "path": str(far), "filename": f"{archive.name}.age"}
    assert "Those marked as encrypted need their key" in proven.send(f"{PAGE}/list", fields, page=PAGE).text
    refused = proven.send(f"{PAGE}/start", fields, page=PAGE).text
    assert "Fill in the field &#39;Key to decrypt with&#39;" in refused
    assert "--identity" not in refused
    with_key = fields | {"identity": str(KEY)}
    assert "need their key" not in proven.send(f"{PAGE}/list", with_key, page=PAGE).text


def test_the_servers_own_key_is_used_where_none_is_typed(
    proven: Browser, new: Site, far: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_path = far.parent / "key.txt"
    key_path.write_text(str(KEY))
    key_path.chmod(0o600)
    monkeypatch.setitem(new.settings.__dict__, "backup_identity", key_path)
    assert "Without one, the server's own is used" in proven.open(PAGE).text
    fields = {"kind": "file", "path": str(far), "filename": f"{archive.name}.age"}
    proven.send(f"{PAGE}/start", fields, page=PAGE)
    assert wait_for_job(new).state == "succeeded"


def test_who_types_keys_is_warned_where_others_could_read_them(proven: Browser) -> None:
    assert "did not come by <code>https://" in proven.open(PAGE).text


def test_a_store_that_does_not_answer_is_not_asked_twice(
    proven: Browser, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(_store: FolderStore, *_arguments: object) -> None:
        asked.append(1)
        raise StoreUnreachableError("No connection.", hint="Wait.")

    monkeypatch.setattr(FolderStore, "list", fail)
    assert "No connection." in proven.send(f"{PAGE}/list", {"kind": "file", "path": str(far)}, page=PAGE).text
    assert len(asked) == 1


def test_of_many_the_newest_are_shown_and_none_from_the_future_is_suggested(
    proven: Browser, far: Path, archive: Path
) -> None:
    for number in range(100):
        (far / f"backup_20200101_0000{number:02}.zip").write_bytes(b"PK\x03\x04")
        (far / f"backup_20200101_0001{number:02}.zip").write_bytes(b"PK\x03\x04")
    (far / "backup_99981231_235959.zip").write_bytes(b"PK\x03\x04")
    shown = proven.send(f"{PAGE}/list", {"kind": "file", "path": str(far)}, page=PAGE).text
    assert len(re.findall(r'type="radio" name="filename"', shown)) == 100
    assert "These are the newest 100." in shown
    assert re.findall(r'value="(backup_[^"]*)" checked', shown) == [f"{archive.name}.age"]


def test_what_goes_wrong_is_said_on_the_page_and_nothing_is_left(
    proven: Browser, new: Site, far: Path, archive: Path
) -> None:
    fields = {"kind": "file", "path": str(far), "filename": f"{archive.name}.age"}

    def said(path: str, form: dict[str, str]) -> str:
        return proven.send(f"{PAGE}/{path}", form, page=PAGE).text

    assert "Folder: write the whole path of a folder" in said("list", {"kind": "file", "path": "nonsense"})
    assert "Bucket or container: write its name only" in said("list", {"bucket": "s3://my-backups"})
    assert "What was typed as the key holds no secret key" in said("list", fields | {"identity": "age1x"})
    assert "there is no key to decrypt it with" in said("start", fields)
    assert "There is no backup" in said("start", fields | {"filename": "backup_20200101_000000.zip"})
    assert f'value="{archive.name}.age" checked' in said("start", fields)  # to choose again
    older = fields | {
        "filename": "backup_20250115_100000.zip",
        "identity": "age1x",
        "secret_key": "typed-secret",
    }
    again = said("start", older)
    assert 'value="backup_20250115_100000.zip" checked' in again
    assert not any(secret in again for secret in ("age1x", "typed-secret"))
    assert list_jobs(new) == []
    said("start", fields | {"identity": str(Identity.generate())})
    assert wait_for_job(new).error is not None
    assert "and not to this key" in proven.open(PAGE).text
    assert service.list_backups(new) == []


def test_a_backup_that_is_uploaded_or_on_this_machine_is_prepared_and_cancelled(
    proven: Browser, new: Site, archive: Path, far: Path
) -> None:
    with (far / f"{archive.name}.age").open("rb") as file:
        uploaded = proven.client.post(
            "/api/v1/backups/upload",
            data={"identity": str(KEY)},
            files={"file": ("from elsewhere", file)},
            headers=SAME_ORIGIN,
        )
    assert uploaded.status_code == 200, uploaded.text
    assert "On this machine" in proven.open(PAGE).text
    proven.send(f"{PAGE}/start", {"filename": uploaded.json()["filename"], "is_here": "yes"}, page=PAGE)
    assert wait_for_job(new).state == "succeeded"
    assert "Ready: restart" in proven.open(PAGE).text
    cancelled = proven.send(f"{PAGE}/cancel", {}, page=PAGE)
    assert "On this machine" in cancelled.text
