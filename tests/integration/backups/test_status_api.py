"""Status, space and history over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups import jobs, tasks
from fastcms.backups.history import RunKind
from fastcms.backups.job_files import JobState
from fastcms.site import Site
from tests.runs import add_run

BACKUPS = "/api/v1/backups"
NOON = datetime(2026, 6, 30, 12, tzinfo=UTC)


def add_runs(site: Site, count: int) -> None:
    for number in range(count):
        started = NOON + timedelta(minutes=number)
        state = JobState.FAILED if number % 2 else JobState.SUCCEEDED
        add_run(site, started, state, kind=RunKind.CREATE if number < 4 else RunKind.VERIFY)


def test_the_status_says_what_is_so(client: TestClient, site: Site) -> None:
    answer = client.get(f"{BACKUPS}/status").json()
    assert (answer["state"], answer["is_safe"]) == ("waiting", False)
    filename = client.post(BACKUPS).json()["filename"]
    answer = client.get(f"{BACKUPS}/status").json()
    assert (answer["state"], answer["sentence"], answer["is_safe"]) == ("ok", "Everything is backed up", True)
    assert answer["last_success"]["filename"] == filename
    assert answer["storage"]["backups"] == 1


def test_the_storage_says_what_is_free_and_needed(client: TestClient) -> None:
    answer = client.get(f"{BACKUPS}/storage").json()
    assert answer["disk"]["free_bytes"] > answer["next_backup_bytes"] > 0


def test_the_history_is_given_in_pages_and_by_kind_and_state(client: TestClient, site: Site) -> None:
    add_runs(site, 7)
    answer = client.get(f"{BACKUPS}/history", params={"page": 2, "per_page": 3}).json()
    assert (answer["total"], answer["page"], answer["per_page"]) == (7, 2, 3)
    assert [item["started"] for item in answer["items"]] == [
        f"2026-06-30T12:0{minute}:00Z" for minute in (3, 2, 1)
    ]
    failed = client.get(f"{BACKUPS}/history", params={"kind": "create", "state": "failed"}).json()
    assert (failed["total"], failed["items"][0]["error"]["code"]) == (2, "not_enough_space")
    assert client.get(f"{BACKUPS}/history", params={"page": 10**9}).json()["items"] == []
    assert client.get(f"{BACKUPS}/history", params={"kind": "magic"}).status_code == 422


def test_the_history_remembers_what_a_backup_lacked(client: TestClient, site: Site) -> None:
    for number in range(120):
        (site.settings.files_dir / f"tab\t{number}").write_text("no name for a backup")
    jobs.run(site, tasks.creation(site, "me"))
    (run,) = client.get(f"{BACKUPS}/history").json()["items"]
    assert (len(run["details"]["problems"]), run["details"]["problem_count"]) == (100, 120)


@pytest.mark.parametrize("path", ["status", "storage", "history"])
def test_whoever_may_read_backups_may_see_it(
    anonymous: TestClient, site: Site, editor: TestClient, path: str
) -> None:
    assert anonymous.get(f"{BACKUPS}/{path}").status_code == 401
    assert editor.get(f"{BACKUPS}/{path}").status_code == 403
    with site.database.write() as session:
        token, _ = create_token(session, "reader", [Scope.BACKUPS_READ], None)
    headers = {"Authorization": f"Bearer {token}"}
    assert anonymous.get(f"{BACKUPS}/{path}", headers=headers).status_code == 200


def test_the_last_thirty_days_are_told(client: TestClient) -> None:
    made = client.post("/api/v1/backups")
    assert made.status_code == 200
    days = client.get("/api/v1/backups/days").json()
    assert len(days["items"]) == 30
    assert (days["timezone"], days["items"][-1]["made"]) == ("UTC", 1)
    assert days["items"][-1]["state"] == "ok"
    assert days["counts"] == {"ok": 1, "unknown": 29}
    assert days["sentence"] == "The last 30 days: 1 backed up, 29 no record."
