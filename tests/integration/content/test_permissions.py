"""Who may do what with content."""

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.content.service import create_collection, create_record
from fastcms.site import Site

URL = "/api/v1/collections"
BODY = {"data": {"title": "a"}}
WHO = ["anonymous", "reader", "writer", "backups", "editor", "admin"]


@pytest.fixture
def clients(
    anonymous: TestClient, client: TestClient, editor: TestClient, site: Site
) -> dict[str, TestClient]:
    """One client of each kind; `client` and `anonymous` are the same object, so that needs a new one."""
    found = {"anonymous": TestClient(anonymous.app), "editor": editor, "admin": client}
    scopes = {"reader": Scope.CONTENT_READ, "writer": Scope.CONTENT_WRITE, "backups": Scope.BACKUPS_CREATE}
    with site.database.write() as session:
        for name, scope in scopes.items():
            token, _ = create_token(session, name, [scope], None)
            found[name] = TestClient(anonymous.app, headers={"Authorization": f"Bearer {token}"})
    return found


@pytest.fixture
def record_id(site: Site) -> str:
    with site.database.write() as session:
        create_record(
            session,
            create_collection(session, "open", [{"name": "title", "type": "text"}], is_public=True),
            {"title": "a"},
        )
        closed = create_collection(session, "closed", [{"name": "title", "type": "text"}])
        return create_record(session, closed, {"title": "secret"}).id


MATRIX = [
    # anonymous, reader, writer, backups, editor, admin
    ("GET", "", (401, 200, 200, 403, 200, 200)),
    ("POST", "", (401, 403, 403, 403, 403, 201)),
    ("GET", "/closed", (401, 200, 200, 403, 200, 200)),
    ("GET", "/open", (200, 200, 200, 200, 200, 200)),
    ("GET", "/closed/records", (401, 200, 200, 403, 200, 200)),
    ("GET", "/open/records", (200, 200, 200, 200, 200, 200)),
    ("GET", "/closed/records/{id}", (401, 200, 200, 403, 200, 200)),
    ("POST", "/closed/records", (401, 403, 201, 403, 201, 201)),
    ("POST", "/open/records", (401, 403, 201, 403, 201, 201)),
    ("PATCH", "/closed/records/{id}", (401, 403, 200, 403, 200, 200)),
    ("DELETE", "/open/records/{id}", (401, 403, 404, 403, 404, 404)),
    ("DELETE", "/closed/records/{id}", (401, 403, 204, 403, 204, 204)),
    ("PATCH", "/closed", (401, 403, 403, 403, 403, 200)),
    ("DELETE", "/closed", (401, 403, 403, 403, 403, 204)),
]


@pytest.mark.parametrize("who", WHO)
def test_the_permission_matrix(clients: dict[str, TestClient], record_id: str, who: str) -> None:
    bodies = {("POST", ""): {"name": "new", "schema": []}, ("PATCH", "/closed"): {"public": True}}
    for method, path, expected in MATRIX:
        body = bodies.get((method, path), BODY) if method in ("POST", "PATCH") else None
        answer = clients[who].request(method, f"{URL}{path.format(id=record_id)}", json=body)
        assert answer.status_code == expected[WHO.index(who)], (method, path)


@pytest.mark.parametrize("who", ["anonymous", "backups"])
def test_a_private_collection_answers_like_one_that_does_not_exist(
    clients: dict[str, TestClient], record_id: str, who: str
) -> None:
    for path in ("", "/records", "/records/x", "/records?filter=colour=1", "/records?sort=colour"):
        private = clients[who].get(f"{URL}/closed{path}")
        missing = clients[who].get(f"{URL}/nothing{path}")
        assert private.status_code in (401, 403)
        assert private.json() == missing.json()


def test_a_collection_that_becomes_private_is_closed_at_once(
    clients: dict[str, TestClient], record_id: str
) -> None:
    assert clients["anonymous"].get(f"{URL}/open/records").json()["total"] == 1
    clients["admin"].patch(f"{URL}/open", json={"public": False})
    assert clients["anonymous"].get(f"{URL}/open/records").status_code == 401
