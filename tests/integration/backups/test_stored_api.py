"""Routes of what destinations keep: who may, what they answer, and that no key is kept."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pyrage.x25519 import Identity

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups import encryption, service
from fastcms.backups.copies import Copy, CopyState, list_copies, save_copies
from fastcms.backups.destinations import add_destination
from fastcms.backups.stores.base import StoredObject
from fastcms.backups.stores.folder import FolderStore
from fastcms.backups.streams import Hashed
from fastcms.site import Site
from tests.conftest import ADMIN, PASSWORD

BACKUPS = "/api/v1/backups"
KEY = Identity.generate()


@pytest.fixture
def far(site: Site, tmp_path: Path) -> Path:
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def url(site: Site, far: Path) -> str:
    return f"{BACKUPS}/destinations/{add_destination(site, far.as_uri(), {}).id}/backups"


@pytest.fixture
def stored(site: Site, far: Path) -> Path:
    """A backup of the site that is only far away by now, encrypted; the site knows nothing of it."""
    backup = service.create_backup(site)
    content = Path(backup.path).read_bytes()
    path = far / f"{backup.filename}.age"
    with encryption.encrypted([content], len(content), [KEY.to_public()]) as stream:
        path.write_bytes(b"".join(stream.chunks))
    shutil.move(backup.path, far / "kept.zip")
    return path


def test_what_is_there_is_listed_for_those_who_may_read(
    client: TestClient, editor: TestClient, site: Site, url: str, stored: Path
) -> None:
    with site.database.write() as session:
        token, _ = create_token(session, "reader", [Scope.BACKUPS_READ], None)
    reader = TestClient(client.app, headers={"Authorization": f"Bearer {token}"})
    (item,) = reader.get(url).json()["items"]
    assert (item["object_name"], item["is_encrypted"]) == (stored.name, True)
    assert reader.get(f"{url}?page=2&per_page=1").json()["items"] == []
    assert reader.get(f"{url}?per_page=501").status_code == 422
    assert editor.get(url).status_code == 403
    assert reader.post(f"{url}/{stored.name}/fetch").status_code == 403
    assert reader.post(f"{url}/{stored.name}/restore").status_code == 403
    missing = client.get(f"{BACKUPS}/destinations/00000000/backups")
    assert (missing.status_code, missing.json()["code"]) == (404, "destination_not_found")


def test_a_backup_is_fetched_with_a_key_that_is_sent_along_and_kept_nowhere(
    client: TestClient, site: Site, url: str, stored: Path
) -> None:
    refused = client.post(f"{url}/{stored.name}/fetch")
    assert (refused.status_code, refused.json()["code"]) == (422, "key_required")
    wrong = client.post(f"{url}/{stored.name}/fetch", json={"identity": "AGE-SECRET-KEY-1NO"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "key_file_invalid")
    assert "AGE-SECRET-KEY-1NO" not in wrong.text
    fetched = client.post(f"{url}/{stored.name}/fetch", json={"identity": str(KEY)})
    assert fetched.status_code == 200, fetched.text
    assert (fetched.json()["filename"], fetched.json()["kind"]) == (stored.name[:-4], "uploaded")
    job = client.get(f"{BACKUPS}/jobs").json()["items"][0]
    assert (job["kind"], job["state"]) == ("fetch", "succeeded")
    activity = client.get("/api/v1/activity").json()["items"]
    assert f"Started to fetch the backup {stored.name} from file://" in activity[0]["sentence"]
    for path in site.settings.data_dir.rglob("*"):
        assert not path.is_file() or str(KEY).encode() not in path.read_bytes(), path
    client.delete(f"{BACKUPS}/{stored.name[:-4]}")
    missing = client.post(f"{url}/backup_20200101_000000.zip/fetch")
    assert (missing.status_code, missing.json()["code"]) == (404, "backup_not_found")


def test_a_backup_of_unknown_origin_is_restored_with_the_callers_password(
    client: TestClient, url: str, stored: Path
) -> None:
    refused = client.post(f"{url}/{stored.name}/restore", json={"identity": str(KEY)})
    assert (refused.status_code, refused.json()["code"]) == (403, "password_required")
    wrong = client.post(f"{url}/{stored.name}/restore", json={"identity": str(KEY), "password": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    assert client.get(BACKUPS).json()["total"] == 0  # not fetched before it is refused
    fetched = client.post(f"{url}/{stored.name}/fetch", json={"identity": str(KEY)})
    assert fetched.json()["admins"] == [ADMIN]
    body = {"identity": str(KEY), "password": PASSWORD}
    staged = client.post(f"{url}/{stored.name}/restore", json=body)
    assert (staged.status_code, staged.json()["backup_filename"]) == (200, stored.name[:-4])
    again = client.post(f"{url}/{stored.name}/restore", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "restore_pending")
    assert client.get(f"{BACKUPS}").json()["total"] == 1


def test_a_silent_store_keeps_only_those_waiting_who_ask_it(
    client: TestClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering, asked = threading.Event(), threading.Semaphore(0)

    def wait(_store: FolderStore) -> list[StoredObject]:
        asked.release()
        assert answering.wait(30)
        return []

    monkeypatch.setattr(FolderStore, "list", wait)
    with ThreadPoolExecutor(60) as people:
        lists = [people.submit(client.get, url) for _ in range(45)]
        try:
            assert all(asked.acquire(timeout=10) for _ in range(8))
            other = people.submit(client.get, BACKUPS)
            assert other.result(timeout=10).status_code == 200
        finally:
            answering.set()
        assert {found.result(timeout=30).status_code for found in lists} == {200}


def test_a_copy_that_the_site_has_made_is_restored_without_a_question(
    client: TestClient, site: Site, url: str, stored: Path
) -> None:
    hashed = Hashed([stored.read_bytes()])
    assert sum(map(len, hashed)) == stored.stat().st_size
    destination = url.split("/")[-2]
    filename = stored.name[:-4]
    copy = Copy(filename, destination, "far", CopyState.COPIED, "", stored.name, sha256=hashed.sha256)
    save_copies(site, [copy._replace(is_encrypted=True)])
    staged = client.post(
        f"{url}/{stored.name}/restore",
        json={"identity": str(KEY)},
        headers={"Prefer": "respond-async"},
    )
    assert staged.status_code == 202
    events = client.get(f"{BACKUPS}/jobs/{staged.json()['id']}/events").text
    assert '"state":"succeeded"' in events.splitlines()[-2]
    assert client.get(f"{BACKUPS}/restore").json()["state"] == "pending"
    assert client.get(f"{BACKUPS}/{filename}").json()["kind"] == "manual"
    assert list_copies(site)[0].sha256 == hashed.sha256


def test_a_backup_is_verified_where_it_is_and_nothing_of_it_stays(
    client: TestClient, site: Site, url: str, stored: Path
) -> None:
    refused = client.post(f"{url}/{stored.name}/verify")
    assert (refused.status_code, refused.json()["code"]) == (422, "key_required")
    verified = client.post(f"{url}/{stored.name}/verify", json={"identity": str(KEY)})
    assert verified.status_code == 200, verified.text
    assert (verified.json()["filename"], verified.json()["level"]) == (stored.name[:-4], "full")
    light = client.post(f"{url}/{stored.name}/verify?level=light", json={"identity": str(KEY)})
    assert light.json()["level"] == "light"
    assert service.list_backups(site) == []
    job = client.get(f"{BACKUPS}/jobs").json()["items"][0]
    assert (job["kind"], job["state"]) == ("verify", "succeeded")
    assert job["place"].startswith("file://")
