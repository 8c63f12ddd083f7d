"""What is in the log after somebody has used the API."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from fastcms.activity import service
from fastcms.backups import service as backups
from fastcms.site import Site
from tests.conftest import ADMIN, EDITOR, PASSWORD

API = "/api/v1"


def entries(client: TestClient, **asked: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{API}/activity", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def told(client: TestClient, **asked: Any) -> list[tuple[str, str]]:
    """Who and what, the oldest first; logging in is left out."""
    found = entries(client, **asked)
    return [(e["who"], e["sentence"]) for e in reversed(found) if not e["action"].startswith("login.")]


def test_what_is_done_to_content_is_told_with_its_subject(client: TestClient) -> None:
    client.post(f"{API}/collections", json={"name": "posts", "schema": [{"name": "title", "type": "text"}]})
    record = client.post(f"{API}/collections/posts/records", json={"data": {"title": "Summer"}}).json()
    client.patch(f"{API}/collections/posts/records/{record['id']}", json={"data": {"title": "Autumn"}})
    client.delete(f"{API}/collections/posts/records/{record['id']}")
    file = client.post(f"{API}/files", files={"file": ("a.txt", b"a")}).json()
    client.delete(f"{API}/files/{file['id']}")
    client.delete(f"{API}/collections/posts")
    assert told(client) == [
        (ADMIN, "Created the collection posts"),
        (ADMIN, "Created “Summer” in posts"),
        (ADMIN, "Changed “Autumn” in posts"),
        (ADMIN, "Deleted “Autumn” from posts"),
        (ADMIN, "Uploaded the file a.txt"),
        (ADMIN, "Deleted the file a.txt"),
        (ADMIN, "Deleted the collection posts with its records"),
    ]
    (deleted,) = entries(client, action="record.delete")
    assert deleted["subject"] == f"record:posts/{record['id']}"
    assert (deleted["kind"], deleted["outcome"], deleted["address"]) == ("account", "done", None)


def test_what_is_refused_is_told_of_backups_and_not_of_content(
    client: TestClient, editor: TestClient
) -> None:
    client.delete(f"{API}/collections/nothing")
    client.delete(f"{API}/backups/backup_20250115_100000.zip")
    editor.delete(f"{API}/backups/backup_20250115_100000.zip")
    name = "Tried to delete the backup backup_20250115_100000.zip"
    assert told(client) == [(ADMIN, name), (EDITOR, name)]
    of_editor, of_admin = entries(client, action="backup")
    assert (of_admin["outcome"], of_admin["reason"]) == (
        "refused",
        "There is no backup backup_20250115_100000.zip.",
    )
    assert "needs the scope admin" in of_editor["reason"]


def test_making_and_taking_along_a_backup_is_told(client: TestClient, site: Site) -> None:
    backup = client.post(f"{API}/backups").json()["filename"]
    client.get(f"{API}/backups/{backup}/download")
    client.head(f"{API}/backups/{backup}/download")
    client.get(f"{API}/backups")
    client.put(f"{API}/backups/{backup}/pin")
    client.put(
        f"{API}/backups/settings", json={"keep_last": 3, "notify_urls": ["json://user:secret@localhost"]}
    )
    assert told(client) == [
        (ADMIN, "Started a backup"),
        (ADMIN, f"Downloaded the backup {backup}"),
        (ADMIN, f"Pinned the backup {backup}"),
        (ADMIN, "Changed the settings of backups: keep_last, notify_urls"),
    ]
    assert backups.list_backups(site)


def test_logging_in_is_told_with_its_address_and_without_passwords(
    anonymous: TestClient, client: TestClient
) -> None:
    login = f"{API}/auth/login"
    anonymous.post(login, json={"email": ADMIN.upper(), "password": PASSWORD})
    anonymous.post(login, json={"email": ADMIN, "password": "guessed-secret"})
    anonymous.post(login, json={"email": "typed-my-secret-here", "password": "x"})
    nobody, guess, logged_in = entries(client, action="login")[:3]
    assert (logged_in["who"], logged_in["sentence"], logged_in["address"]) == (
        ADMIN,
        "Logged in",
        "testclient",
    )
    assert (guess["who"], guess["kind"], guess["sentence"]) == (ADMIN, "unknown", "Tried to log in")
    assert guess["reason"] == "The email address or the password is wrong."
    assert nobody["who"] == "somebody"


def test_guessing_passwords_under_many_names_fills_no_log(client: TestClient) -> None:
    for number in range(25):
        client.post(f"{API}/auth/login", json={"email": f"{number}@example.com", "password": "wrong"})
    found = entries(client, action="login.open")
    assert found[0]["sentence"] == "Tried to log in 15 more times"
    assert found[0]["count"] == 15


def test_no_secret_is_in_the_log(client: TestClient, site: Site) -> None:
    client.post(f"{API}/auth/login", json={"email": "me-secret", "password": "secret"})
    client.put(f"{API}/backups/settings", json={"notify_urls": ["json://user:secret@localhost"]})
    client.put(f"{API}/backups/settings", json={"heartbeat_url": "no address: secret"})
    client.post(f"{API}/backups/x/restore", json={"password": "secret"})
    assert entries(client)
    content = service.activity_file(site).path.read_bytes()
    assert b"secret" not in content
    assert client.headers["Authorization"].split()[1].encode() not in content


def test_a_stranger_leaves_no_trace_but_for_logging_in(anonymous: TestClient, site: Site) -> None:
    stranger = TestClient(anonymous.app)
    assert stranger.delete(f"{API}/backups/x").status_code == 401
    assert stranger.post(f"{API}/backups").status_code == 401
    assert service.list_entries(site).total == 0


def test_only_admins_read_it_and_what_is_no_number_is_refused(client: TestClient, editor: TestClient) -> None:
    assert editor.get(f"{API}/activity").status_code == 403
    assert client.get(f"{API}/activity", params={"page": 0}).status_code == 422
    assert client.get(f"{API}/activity", params={"since": "0001-01-01T00:00:00+14:00"}).status_code == 200


@pytest.mark.parametrize("asked", [{"who": ADMIN}, {"action": "record"}, {"search": "posts"}])
def test_the_list_is_narrowed(client: TestClient, editor: TestClient, asked: dict[str, str]) -> None:
    client.post(f"{API}/collections", json={"name": "posts", "schema": [{"name": "title", "type": "text"}]})
    editor.post(f"{API}/collections/posts/records", json={"data": {"title": "Summer"}})
    found = told(client, **asked)
    expected = {
        "who": [(ADMIN, "Created the collection posts")],
        "action": [(EDITOR, "Created “Summer” in posts")],
        "search": [(ADMIN, "Created the collection posts"), (EDITOR, "Created “Summer” in posts")],
    }
    assert found == expected[next(iter(asked))]
