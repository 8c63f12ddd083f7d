"""What the API says of retention, and pins."""

import shutil
from pathlib import Path

from fastapi.testclient import TestClient

from fastcms.site import Site
from tests.conftest import ADMIN

BACKUPS = "/api/v1/backups"


def make_two(client: TestClient, site: Site) -> tuple[str, str]:
    """A backup of today, and one of the same content and another name."""
    newest = client.post(BACKUPS).json()["filename"]
    shutil.copy(site.settings.backups_dir / newest, site.settings.backups_dir / "backup_20200101_020000.zip")
    return newest, "backup_20200101_020000.zip"


def test_retention_says_for_each_backup_whether_it_stays_and_why(client: TestClient, site: Site) -> None:
    newest, old = make_two(client, site)
    size_bytes = (site.settings.backups_dir / newest).stat().st_size
    retention = client.get(f"{BACKUPS}/retention").json()
    assert retention["policy"] == {
        "keep_last": 3,
        "keep_daily": 7,
        "keep_weekly": 4,
        "keep_monthly": 12,
        "keep_yearly": 0,
        "max_total_size": None,
        "timezone": "UTC",
    }
    totals = {name: retention[name] for name in ("total", "kept", "kept_bytes", "excess_bytes")}
    assert totals == {"total": 2, "kept": 2, "kept_bytes": 2 * size_bytes, "excess_bytes": 0}
    assert [item["filename"] for item in retention["items"]] == [newest, old]
    assert retention["items"][1] == {
        "filename": old,
        "size_bytes": size_bytes,
        "created": "2020-01-01T02:00:00",
        "keep": True,
        "reasons": [
            {"code": "last", "message": "backup 2 of 3"},
            {"code": "daily", "message": "the newest of 2020-01-01, day 2 of 7"},
            {"code": "weekly", "message": "the newest of 2020-W01, week 2 of 4"},
            {"code": "monthly", "message": "the newest of 2020-01, month 2 of 12"},
        ],
    }


def test_a_pinned_backup_is_shown_as_such_and_cannot_be_deleted(client: TestClient, site: Site) -> None:
    _newest, old = make_two(client, site)
    for _again in range(2):
        answer = client.put(f"{BACKUPS}/{old}/pin")
        assert (answer.status_code, answer.json()) == (200, {"status": "pinned", "filename": old})
    assert client.get(BACKUPS).json()["items"][1]["pinned"] is True
    details = client.get(f"{BACKUPS}/{old}").json()
    assert (details["pinned"], details["pinned_by"], details["verification"]) == (True, ADMIN, None)
    assert client.get(f"{BACKUPS}/retention").json()["items"][1]["reasons"][0]["code"] == "pinned"
    refused = client.delete(f"{BACKUPS}/{old}")
    assert (refused.status_code, refused.json()["code"]) == (409, "backup_pinned")
    for _again in range(2):
        assert client.delete(f"{BACKUPS}/{old}/pin").json() == {"status": "unpinned", "filename": old}
    assert client.delete(f"{BACKUPS}/{old}").status_code == 200


def test_only_a_backup_can_be_pinned(client: TestClient) -> None:
    for method in ("PUT", "DELETE"):
        missing = client.request(method, f"{BACKUPS}/backup_20200101_020000.zip/pin")
        assert (missing.status_code, missing.json()["code"]) == (404, "backup_not_found")
        invalid = client.request(method, f"{BACKUPS}/retention/pin")
        assert (invalid.status_code, invalid.json()["code"]) == (422, "backup_name_invalid")


def test_a_staged_backup_is_not_deleted_before_the_restore_is_cancelled(
    client: TestClient, site: Site
) -> None:
    newest, _old = make_two(client, site)
    client.post(f"{BACKUPS}/{newest}/restore")
    refused = client.delete(f"{BACKUPS}/{newest}")
    assert (refused.status_code, refused.json()["code"]) == (409, "backup_in_use")
    assert Path(site.settings.backups_dir / newest).exists()
    client.delete(f"{BACKUPS}/restore")
    assert client.delete(f"{BACKUPS}/{newest}").status_code == 200
