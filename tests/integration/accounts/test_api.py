"""Login, logout and me, over HTTP."""

from fastapi.testclient import TestClient

from tests.conftest import ADMIN, PASSWORD


def test_login_gives_a_token_that_me_accepts_until_logout(client: TestClient) -> None:
    assert client.get("/api/v1/auth/me").json()["name"] == ADMIN
    assert client.post("/api/v1/auth/logout").status_code == 204
    answer = client.get("/api/v1/auth/me")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "token_invalid"


def test_repeated_wrong_passwords_are_slowed_down(client: TestClient) -> None:
    wrong = {"email": ADMIN, "password": "wrong"}
    for _ in range(5):
        assert client.post("/api/v1/auth/login", json=wrong).status_code == 401
    answer = client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
