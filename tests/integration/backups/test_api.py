"""The documented routes: fields, shapes, rights and refusals."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.main import create_app
from fastcms.site import Site
from tests.conftest import ADMIN, lasting_paths

BACKUPS = "/api/v1/backups"


def make(client: TestClient) -> str:
    answer = client.post(BACKUPS)
    assert answer.status_code == 200
    return str(answer.json()["filename"])


def test_creating_and_listing_have_the_documented_fields(client: TestClient, site: Site) -> None:
    created = client.post(BACKUPS).json()
    match = re.fullmatch(r"backup_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)\.zip", created["filename"])
    assert match is not None
    assert created["created"] == "{}-{}-{}T{}:{}:{}".format(*match.groups())
    assert created["path"] == str(site.settings.backups_dir / created["filename"])
    assert created["size_bytes"] == Path(created["path"]).stat().st_size
    listing = client.get(BACKUPS).json()
    assert listing["total"] == 1
    [item] = listing["items"]
    assert item["filename"] == created["filename"]
    assert item["name"] == created["filename"].removesuffix(".zip")
    assert item["size_mb"] == pytest.approx(created["size_bytes"] / 1024**2, abs=0.001)
    assert item["created"] == created["created"]


def test_staging_and_cancelling_have_the_documented_fields(client: TestClient) -> None:
    filename = make(client)
    assert client.get(f"{BACKUPS}/restore").json()["state"] == "none"
    assert client.post(f"{BACKUPS}/{filename}/restore").json() == {
        "status": "pending_restart",
        "message": "Backup staged for restore. Please restart the server to complete restoration.",
        "backup_filename": filename,
    }
    status = client.get(f"{BACKUPS}/restore").json()
    assert (status["state"], status["backup_filename"], status["requested_by"]) == (
        "pending",
        filename,
        ADMIN,
    )
    assert client.post(f"{BACKUPS}/{filename}/restore").json()["code"] == "restore_pending"
    assert client.delete(f"{BACKUPS}/restore").json()["status"] == "cancelled"
    assert client.delete(f"{BACKUPS}/restore").status_code == 404
    assert client.get(f"{BACKUPS}/restore").json()["state"] == "none"


def test_a_restart_restores_and_ends_the_sessions_from_before(client: TestClient, site: Site) -> None:
    filename = make(client)
    client.post("/api/v1/collections", json={"name": "later", "schema": [{"name": "a", "type": "text"}]})
    client.post(f"{BACKUPS}/{filename}/restore")
    with site.database.write() as session:
        token, _row = create_token(session, "later", [Scope.ADMIN], None)
    client.__exit__(None, None, None)
    with TestClient(create_app(site.settings)) as restarted:
        restarted.headers["Authorization"] = client.headers["Authorization"]
        assert restarted.get("/api/v1/auth/me").status_code == 401
        login = {"email": ADMIN, "password": "correct horse battery"}
        fresh = restarted.post("/api/v1/auth/login", json=login).json()["access_token"]
        restarted.headers["Authorization"] = f"Bearer {fresh}"
        assert restarted.get("/api/v1/collections/later").status_code == 404
        status = restarted.get(f"{BACKUPS}/restore").json()
        assert (status["state"], status["requested_by"]) == ("restored", ADMIN)
        restarted.headers["Authorization"] = f"Bearer {token}"
        assert restarted.get("/api/v1/auth/me").status_code == 401


def test_a_download_is_the_archive_and_can_be_resumed(client: TestClient, site: Site) -> None:
    filename = make(client)
    content = (site.settings.backups_dir / filename).read_bytes()
    url = f"{BACKUPS}/{filename}/download"
    whole = client.get(url)
    assert whole.content == content
    assert whole.headers["content-type"] == "application/zip"
    assert filename in whole.headers["content-disposition"]
    rest = client.get(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    assert rest.status_code == 206
    assert rest.content == content[100:]
    assert client.head(url).headers["content-length"] == str(len(content))
    beyond = client.get(url, headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")


def test_deleting_removes_the_file(client: TestClient, site: Site) -> None:
    filename = make(client)
    assert client.delete(f"{BACKUPS}/{filename}").json() == {"status": "deleted", "filename": filename}
    assert not (site.settings.backups_dir / filename).exists()
    assert client.delete(f"{BACKUPS}/{filename}").json()["code"] == "backup_not_found"


NAMES_OF_NO_BACKUP = [
    "..",
    "../app.db",
    "%2e%2e",
    "%2e%2e%2fapp.db",
    "..%5capp.db",
    "%2fetc%2fpasswd",
    ".restore_pending",
    "restores.jsonl",
    "backup_20250115_100000.zip%00",
    "backup_20250115_100000.zip%0a",
    "backup_20250115_10000\N{ARABIC-INDIC DIGIT ZERO}.zip",
    "a" * 5000,
]


@pytest.mark.parametrize(("method", "suffix"), [("GET", "/download"), ("POST", "/restore"), ("DELETE", "")])
def test_a_name_that_is_no_backups_name_is_refused_and_touches_nothing(
    client: TestClient, site: Site, method: str, suffix: str
) -> None:
    (site.settings.backups_dir / "restores.jsonl").write_text("")
    before = lasting_paths(site.settings.data_dir)
    for name in NAMES_OF_NO_BACKUP:
        answer = client.request(method, f"{BACKUPS}/{name}{suffix}")
        assert 400 <= answer.status_code < 500, name
    assert lasting_paths(site.settings.data_dir) == before


def routes(filename: str) -> list[tuple[str, str, Scope]]:
    return [
        ("POST", BACKUPS, Scope.BACKUPS_CREATE),
        ("GET", BACKUPS, Scope.BACKUPS_READ),
        ("GET", f"{BACKUPS}/restore", Scope.BACKUPS_READ),
        ("GET", f"{BACKUPS}/{filename}/download", Scope.ADMIN),
        ("POST", f"{BACKUPS}/{filename}/restore", Scope.ADMIN),
        ("DELETE", f"{BACKUPS}/restore", Scope.ADMIN),
        ("GET", f"{BACKUPS}/retention", Scope.BACKUPS_READ),
        ("PUT", f"{BACKUPS}/{filename}/pin", Scope.ADMIN),
        ("DELETE", f"{BACKUPS}/{filename}/pin", Scope.ADMIN),
        ("DELETE", f"{BACKUPS}/{filename}", Scope.ADMIN),
    ]


def test_a_token_may_do_what_its_scope_says_and_nothing_else(client: TestClient, site: Site) -> None:
    filename = make(client)
    for scope in Scope:
        with site.database.write() as session:
            token, _row = create_token(session, f"program with {scope}", [scope], None)
        client.headers["Authorization"] = f"Bearer {token}"
        for method, url, needed in routes(filename):
            status = client.request(method, url).status_code
            assert (status == 403) == (scope not in (needed, Scope.ADMIN)), (scope, method, url, status)


def test_an_editor_and_a_stranger_may_do_nothing_with_backups(client: TestClient, editor: TestClient) -> None:
    filename = make(client)
    for method, url, _needed in routes(filename):
        assert editor.request(method, url).status_code == 403
        assert editor.request(method, url, headers={"Authorization": ""}).status_code in {401, 403}


def test_a_damaged_backup_is_refused_with_one_reason_and_the_site_is_untouched(
    client: TestClient, site: Site
) -> None:
    path = site.settings.backups_dir / make(client)
    path.write_bytes(path.read_bytes()[:-300])
    answer = client.post(f"{BACKUPS}/{path.name}/restore")
    assert answer.status_code == 422
    assert answer.json()["code"] == "archive_truncated"
    assert client.get(f"{BACKUPS}/restore").json()["state"] == "none"
    assert not (site.settings.backups_dir / "restore_staging").exists()


def test_what_a_deletion_would_lose_is_said_and_nothing_changed(client: TestClient, site: Site) -> None:
    name = client.post("/api/v1/backups").json()["filename"]
    loss = client.get(f"/api/v1/backups/{name}/deletion").json()
    assert [reason["code"] for reason in loss["reasons"]] == ["only_backup"]
    assert (loss["needs_name"], loss["used_for"], loss["is_staged"]) == (True, None, False)
    client.post(f"/api/v1/backups/{name}/restore")
    staged = client.get(f"/api/v1/backups/{name}/deletion").json()
    assert (staged["used_for"], staged["is_staged"]) == ("its restore is staged", True)
    assert client.get("/api/v1/backups/backup_20200101_000000.zip/deletion").status_code == 404
