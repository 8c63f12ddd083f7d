"""Answers with a job: when one is wanted, what it shows to whom, and how it is cancelled."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Role, Scope
from fastcms.accounts.service import create_token
from fastcms.backups import service
from fastcms.config import Settings
from fastcms.main import create_app
from fastcms.media.service import TRASH_LOCK_NAME
from fastcms.site import Site, new_site
from fastcms.startup import serve_site
from tests.conftest import lasting_paths

BACKUPS = "/api/v1/backups"
ASYNC = {"Prefer": "respond-async"}
STRANGER = "stranger@example.com"


def finished(client: TestClient, answer: Any) -> dict[str, Any]:
    """The job that an answer speaks of, when it has ended."""
    assert answer.status_code == 202, answer.text
    assert answer.headers["Preference-Applied"] == "respond-async"
    location = answer.headers["Location"]
    assert location == f"{BACKUPS}/jobs/{answer.json()['id']}"
    last = events(client, answer.json()["id"])[-1]
    assert client.get(location).json() == last
    return last


def events(client: TestClient, job_id: str) -> list[dict[str, Any]]:
    answer = client.get(f"{BACKUPS}/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def create(client: TestClient) -> dict[str, Any]:
    return finished(client, client.post(BACKUPS, headers=ASYNC))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup that was made on another machine, by somebody else."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("other") / "data")
    with TestClient(create_app(settings)) as client:
        site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
        with site.database.write() as session:
            session.add(Account(email=STRANGER, password_hash="x", role=Role.ADMIN))
        return Path(service.create_backup(site).path)


@pytest.fixture
def as_token(client: TestClient, site: Site) -> Iterator[TestClient]:
    """A client that becomes a token of a scope with `become`."""
    with TestClient(client.app) as other:
        yield other


def become(client: TestClient, site: Site, scope: Scope) -> TestClient:
    with site.database.write() as session:
        token, _row = create_token(session, f"program with {scope}", [scope], None)
    client.headers["Authorization"] = f"Bearer {token}"
    return client


@pytest.mark.parametrize(
    ("prefer", "is_applied"),
    [
        (["respond-async"], True),
        (["Respond-Async, wait=10"], True),
        (['return=minimal; foo="a, respond-async", wait = 5'], False),
        (["return=minimal", "handling=lenient , respond-async ; x=1"], True),
        (["wait=10"], False),
        (["respond-asynchronously"], False),
        (['"respond-async"'], False),
        ([""], False),
        ([",;=,"], False),
    ],
)
def test_a_job_is_given_to_who_prefers_one(client: TestClient, prefer: list[str], is_applied: bool) -> None:
    answer = client.post(BACKUPS, headers=[("Prefer", value) for value in prefer])
    assert answer.status_code == (202 if is_applied else 200)
    assert ("Preference-Applied" in answer.headers) == is_applied


def test_the_result_of_each_kind_of_job_is_what_the_answer_is_without(
    client: TestClient, foreign: Path
) -> None:
    created = create(client)
    assert (created["kind"], created["state"], created["error"]) == ("create", "succeeded", None)
    filename = created["backup_filename"]
    assert created["result"].keys() == client.post(BACKUPS).json().keys()
    assert created["result"]["filename"] == filename

    url = f"{BACKUPS}/{filename}/verify?level=light"
    verified = finished(client, client.post(url, headers=ASYNC))
    assert (verified["kind"], verified["backup_filename"]) == ("verify", filename)
    assert verified["result"].keys() == client.post(url).json().keys()

    url = f"{BACKUPS}/{filename}/restore"
    staged = finished(client, client.post(url, headers=ASYNC))
    assert (staged["kind"], staged["backup_filename"]) == ("restore", filename)
    assert client.delete(f"{BACKUPS}/restore").status_code == 200
    assert staged["result"] == client.post(url).json()

    with foreign.open("rb") as file:
        answer = client.post(f"{BACKUPS}/upload", files={"file": ("any.zip", file)}, headers=ASYNC)
    uploaded = finished(client, answer)
    assert (uploaded["kind"], uploaded["state"]) == ("upload", "succeeded")
    assert uploaded["result"] == client.get(f"{BACKUPS}/{uploaded['backup_filename']}").json()
    assert uploaded["result"]["admins"] == [STRANGER]

    # Those that somebody waited for were jobs, too.
    listed = client.get(f"{BACKUPS}/jobs").json()
    assert [job["kind"] for job in listed["items"]] == [
        *("upload", "restore", "restore", "verify", "verify", "create", "create")
    ]
    assert listed["total"] == 7


def test_what_can_be_refused_at_once_is_refused_and_is_no_job(
    client: TestClient, site: Site, foreign: Path
) -> None:
    with foreign.open("rb") as file:
        uploaded = client.post(f"{BACKUPS}/upload", files={"file": ("any.zip", file)}).json()["filename"]
    made = client.post(BACKUPS).json()["filename"]
    damaged = site.settings.backups_dir / "backup_20200101_000000.zip"
    damaged.write_bytes((site.settings.backups_dir / made).read_bytes()[:-300])
    before = client.get(f"{BACKUPS}/jobs").json()["total"]
    missing = "backup_20250115_100000.zip"
    for path, status, code in [
        (f"/{missing}/restore", 404, "backup_not_found"),
        (f"/{missing}/verify", 404, "backup_not_found"),
        ("/nonsense/verify", 422, "backup_name_invalid"),
        (f"/{uploaded}/restore", 403, "password_required"),
        (f"/{damaged.name}/restore", 422, "archive_truncated"),
        (f"/{damaged.name}/verify", 422, "archive_truncated"),
    ]:
        answer = client.post(f"{BACKUPS}{path}", headers=ASYNC)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
    client.post(f"{BACKUPS}/{made}/restore")
    answer = client.post(f"{BACKUPS}/{made}/restore", headers=ASYNC)
    assert (answer.status_code, answer.json()["code"]) == (409, "restore_pending")
    assert client.get(f"{BACKUPS}/jobs").json()["total"] == before + 1


def test_an_upload_that_is_no_backup_leaves_nothing_also_as_a_job(client: TestClient, site: Site) -> None:
    answer = client.post(f"{BACKUPS}/upload", files={"file": ("any.zip", b"no archive")}, headers=ASYNC)
    assert answer.status_code == 422
    assert client.get(f"{BACKUPS}/jobs").json()["items"] == []
    locks = {".lock", ".receiving", ".verifying_lock", TRASH_LOCK_NAME}
    assert {path.name for path in site.settings.backups_dir.iterdir()} <= locks


def test_a_damaged_backup_is_found_by_its_verification_which_leaves_nothing(
    client: TestClient, site: Site
) -> None:
    made = client.post(BACKUPS).json()
    sound = client.post(f"{BACKUPS}/{made['filename']}/verify?level=light").json()
    assert (sound["status"], sound["filename"], sound["size_bytes"], sound["problems"]) == (
        *("ok", made["filename"], made["size_bytes"]),
        [],
    )
    assert sound["counts"]["accounts"] == 2
    assert sound["database_size_bytes"] > 0
    path = Path(made["path"])
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    before = lasting_paths(site.settings.data_dir)
    answer = client.post(f"{BACKUPS}/{made['filename']}/verify")
    assert answer.status_code == 422
    assert lasting_paths(site.settings.data_dir) == before


def test_a_job_that_is_not_there_is_not_found_anywhere(client: TestClient) -> None:
    for job_id in ("20250115_100000_000000", "%2e%2e%2frestores", "x" * 500):
        for method, suffix in [("GET", ""), ("DELETE", ""), ("GET", "/events")]:
            answer = client.request(method, f"{BACKUPS}/jobs/{job_id}{suffix}")
            assert answer.status_code in (404, 405), (job_id, method)
    answer = client.get(f"{BACKUPS}/jobs/20250115_100000_000000/events")
    assert answer.json()["code"] == "job_not_found"


def test_what_has_ended_cannot_be_cancelled(client: TestClient) -> None:
    answer = client.delete(f"{BACKUPS}/jobs/{create(client)['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_over")


def test_who_may_start_a_kind_of_work_may_see_and_cancel_its_jobs_and_readers_may_look(
    client: TestClient, as_token: TestClient, site: Site
) -> None:
    created = create(client)
    url = f"{BACKUPS}/{created['backup_filename']}"
    verified = finished(client, client.post(f"{url}/verify?level=light", headers=ASYNC))
    restored = finished(client, client.post(f"{url}/restore", headers=ASYNC))
    everything = [job["id"] for job in (restored, verified, created)]
    for scope, seen, cancellable in [
        (Scope.ADMIN, everything, everything),
        (Scope.BACKUPS_READ, everything, []),
        (Scope.BACKUPS_CREATE, everything[1:], everything[1:]),
    ]:
        become(as_token, site, scope)
        assert [job["id"] for job in as_token.get(f"{BACKUPS}/jobs").json()["items"]] == seen
        for job_id in everything:
            status = 200 if job_id in seen else 403
            assert as_token.get(f"{BACKUPS}/jobs/{job_id}").status_code == status
            assert as_token.get(f"{BACKUPS}/jobs/{job_id}/events").status_code == status
            # 409: it has ended; whoever may not cancel it does not get so far.
            status = 409 if job_id in cancellable else 403
            assert as_token.delete(f"{BACKUPS}/jobs/{job_id}").status_code == status
    become(as_token, site, Scope.CONTENT_WRITE)
    assert as_token.get(f"{BACKUPS}/jobs").status_code == 403


def test_only_admins_learn_from_a_job_whom_an_uploaded_backup_lets_in(
    client: TestClient, as_token: TestClient, site: Site, foreign: Path
) -> None:
    with foreign.open("rb") as file:
        answer = client.post(f"{BACKUPS}/upload", files={"file": ("any.zip", file)}, headers=ASYNC)
    job = finished(client, answer)
    become(as_token, site, Scope.BACKUPS_READ)
    shown = as_token.get(f"{BACKUPS}/jobs/{job['id']}").json()
    assert shown["result"]["filename"] == job["backup_filename"]
    assert (shown["result"]["admins"], shown["result"]["admin_tokens"]) == (None, None)
    for text in (
        as_token.get(f"{BACKUPS}/jobs").text,
        as_token.get(f"{BACKUPS}/jobs/{job['id']}/events").text,
    ):
        assert STRANGER not in text


def test_verifying_needs_the_right_to_create(client: TestClient, as_token: TestClient, site: Site) -> None:
    url = f"{BACKUPS}/{create(client)['backup_filename']}/verify?level=light"
    for scope, status in [(Scope.BACKUPS_READ, 403), (Scope.BACKUPS_CREATE, 200)]:
        assert become(as_token, site, scope).post(url).status_code == status


def test_what_a_killed_verification_left_is_removed_at_the_next_start(settings: Settings) -> None:
    left_over = settings.backups_dir / ".verifying"
    left_over.mkdir(parents=True)
    (left_over / "database.db").write_bytes(b"half")
    with serve_site(new_site(settings)):
        assert not left_over.exists()
