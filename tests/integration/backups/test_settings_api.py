"""Settings of backups over the API: what is shown, what is changed, and what nobody sees again."""

from typing import Any

import structlog
from fastapi.testclient import TestClient

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.history_file import history_path
from fastcms.site import Site

SETTINGS = "/api/v1/backups/settings"
MAIL = "mailto://me:hunter2@example.com"
NTFY = "ntfy://secret-topic"


def put(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.put(SETTINGS, json=changes)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def test_the_settings_in_force_are_shown_with_what_follows_from_them(client: TestClient) -> None:
    shown = client.get(SETTINGS).json()
    assert shown["settings"] == {
        "schedule": "0 2 * * *",
        "verify_schedule": "0 4 1 * *",
        "timezone": "UTC",
        "keep_last": 3,
        "keep_daily": 7,
        "keep_weekly": 4,
        "keep_monthly": 12,
        "keep_yearly": 0,
        "max_total_size": None,
        "encrypt_to": [],
        "copy_limit": None,
        "notify_urls": [],
        "notify_success": False,
        "heartbeat_url": "",
    }
    assert (shown["changed"], shown["problem"]) == ([], None)
    assert [run["utc"][11:] for run in shown["next_runs"]] == ["02:00:00Z"] * 5
    assert shown["next_verification"].endswith("-01T04:00:00Z")


def test_what_is_sent_is_changed_and_null_goes_back_to_the_environment(client: TestClient) -> None:
    shown = put(client, schedule="30 2 * * *", timezone="Asia/Kolkata", max_total_size="10GB")
    assert shown["changed"] == ["max_total_size", "schedule", "timezone"]
    assert shown["settings"]["max_total_size"] == 10_000_000_000
    assert shown["next_runs"][0]["utc"].endswith("T21:00:00Z")
    assert shown["next_runs"][0]["local"].endswith("T02:30:00+05:30")
    shown = put(client, schedule=None, keep_last=5)
    assert shown["changed"] == ["keep_last", "max_total_size", "timezone"]
    assert shown == client.get(SETTINGS).json()
    assert put(client, schedule="off")["next_runs"] == []
    assert put(client) == client.get(SETTINGS).json()


def test_what_does_not_fit_changes_nothing_and_is_named(client: TestClient) -> None:
    before = client.get(SETTINGS).json()
    for name, value in {
        "schedule": "daily",
        "timezone": "Mars/Base",
        "keep_last": -1,
        "keep_weekly": True,
        "max_total_size": "much",
        "notify_urls": ["nonsense://hunter2"],
        "heartbeat_url": "hunter2",
        "scedule": "0 2 * * *",
    }.items():
        answer = client.put(SETTINGS, json={name: value, "keep_daily": 1})
        assert answer.status_code == 422
        assert [error["field"].removeprefix("body.") for error in answer.json()["errors"]] == [name]
        assert "hunter2" not in answer.text
    assert client.get(SETTINGS).json() == before


def test_settings_are_shown_and_changed_while_the_history_cannot_be_read(
    client: TestClient, site: Site
) -> None:
    history_path(site).mkdir(parents=True)
    shown = put(client, schedule="30 2 * * *")
    assert (shown["settings"]["schedule"], shown["next_verification"]) == ("30 2 * * *", None)
    assert shown["next_runs"][0]["utc"].endswith("T02:30:00Z")


def test_addresses_are_shown_masked_and_stay_when_they_come_back_so(client: TestClient, site: Site) -> None:
    shown = put(client, notify_urls=[MAIL, NTFY], heartbeat_url="https://hc.example.com/uuid")["settings"]
    assert (len(shown["notify_urls"]), shown["heartbeat_url"]) == (2, "https://hc.example.com")
    for secret in ("hunter2", "secret-topic", "uuid"):
        assert secret not in str(shown)
    assert put(client, **shown)["settings"] == shown
    settings = read_settings(site)
    assert settings.notify_urls == (MAIL, NTFY)
    assert settings.heartbeat_url == "https://hc.example.com/uuid"
    # One goes, one comes, one stays.
    put(client, notify_urls=["json://localhost", shown["notify_urls"][1]])
    assert read_settings(site).notify_urls == ("json://localhost", NTFY)


def test_of_two_addresses_that_look_the_same_each_stays(client: TestClient, site: Site) -> None:
    urls = ["ntfy://one", "ntfy://two"]
    shown = put(client, notify_urls=urls)["settings"]["notify_urls"]
    assert shown[0] == shown[1]
    put(client, notify_urls=shown)
    assert read_settings(site).notify_urls == tuple(urls)


def test_a_masked_address_that_is_none_of_those_set_is_refused(client: TestClient) -> None:
    masked = put(client, notify_urls=[NTFY])["settings"]["notify_urls"]
    put(client, notify_urls=[])
    answer = client.put(SETTINGS, json={"notify_urls": masked})
    assert (answer.status_code, answer.json()["code"]) == (422, "settings_invalid")


def test_readers_may_look_and_only_admins_may_change(
    client: TestClient, editor: TestClient, site: Site
) -> None:
    assert editor.get(SETTINGS).status_code == 403
    with site.database.write() as session:
        token, _row = create_token(session, "monitor", [Scope.BACKUPS_READ], None)
    editor.headers["Authorization"] = f"Bearer {token}"
    assert editor.get(SETTINGS).status_code == 200
    assert editor.put(SETTINGS, json={"keep_last": 1}).status_code == 403


def test_an_unknown_field_is_named_and_a_key_in_its_place_is_not(client: TestClient) -> None:
    assert "body.keep_lastt: " in client.put(SETTINGS, json={"keep_lastt": 1}).json()["detail"]
    for name in ("AGE-SECRET-KEY-1QQQ", "age-secret-key-1qqq", "wJalrXUtnFEMI7KMDENGbPxRfiCYEXAMPLEKEY"):
        answer = client.put(SETTINGS, json={name: 1})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body...."), answer.text
        assert name not in answer.text


def test_a_change_is_logged_without_what_is_secret(client: TestClient) -> None:
    with structlog.testing.capture_logs() as logs:
        put(client, keep_last=9, notify_urls=[MAIL])
    (line,) = [line for line in logs if line["event"] == "settings of backups changed"]
    assert (line["by"], line["keep_last"]) == ("admin@example.com", 9)
    assert "hunter2" not in str(logs)


def test_a_file_of_settings_that_cannot_be_read_is_told(client: TestClient, site: Site) -> None:
    path = site.settings.backups_dir / "settings.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    shown = client.get(SETTINGS).json()
    assert str(path) in shown["problem"]
    assert shown["settings"]["schedule"] == "0 2 * * *"
