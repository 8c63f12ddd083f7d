"""Login, logout and me, over HTTP."""

from fastapi.testclient import TestClient

from fastcms.accounts import service
from fastcms.accounts.schemas import Scope
from fastcms.site import Site
from tests.conftest import ADMIN, PASSWORD


def test_login_gives_a_token_that_me_accepts_until_logout(client: TestClient) -> None:
    assert client.get("/api/v1/auth/me").json()["name"] == ADMIN
    assert client.post("/api/v1/auth/logout").status_code == 204
    answer = client.get("/api/v1/auth/me")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "token_invalid"


def test_an_api_token_cannot_log_out_and_is_told_how_to_end(client: TestClient, site: Site) -> None:
    use_token(client, site, Scope.CONTENT_READ)
    answer = client.post("/api/v1/auth/logout")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_login")
    assert "fastcms token revoke" in answer.json()["hint"]
    assert client.get("/api/v1/auth/me").status_code == 200


def test_who_may_write_content_may_read_it(client: TestClient, site: Site) -> None:
    """PATCH answers with the whole record, so anything else would only seem to hide it."""
    use_token(client, site, Scope.CONTENT_WRITE)
    assert client.get("/api/v1/files").status_code == 200
    assert client.get("/api/v1/backups").status_code == 403


def test_who_may_create_backups_may_not_list_them(client: TestClient, site: Site) -> None:
    use_token(client, site, Scope.BACKUPS_CREATE)
    assert client.get("/api/v1/backups").status_code == 403
    assert client.post("/api/v1/backups").status_code == 200


def use_token(client: TestClient, site: Site, scope: Scope) -> None:
    with site.database.write() as session:
        token, _row = service.create_token(session, "program", [scope], None)
    client.headers["Authorization"] = f"Bearer {token}"


def test_repeated_wrong_passwords_are_slowed_down(client: TestClient) -> None:
    wrong = {"email": ADMIN, "password": "wrong"}
    for _ in range(5):
        assert client.post("/api/v1/auth/login", json=wrong).status_code == 401
    answer = client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
