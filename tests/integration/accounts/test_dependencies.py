"""Who may call: tokens in the header, the dashboard's cookie, and other sites' pages."""

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.dependencies import SESSION_COOKIE

POST_URL = "/api/v1/collections"
BODY = {"name": "posts", "schema": [{"name": "title", "type": "text"}]}


@pytest.fixture
def browser(client: TestClient) -> TestClient:
    """A browser that is logged in by its cookie."""
    token = client.headers.pop("Authorization").removeprefix("Bearer ")
    client.cookies.set(SESSION_COOKIE, token)
    return client


def test_the_cookie_of_the_dashboard_is_enough_to_read(browser: TestClient) -> None:
    assert browser.get("/api/v1/auth/me").status_code == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://testserver"}])
def test_the_dashboards_own_pages_may_write_with_the_cookie(
    browser: TestClient, headers: dict[str, str]
) -> None:
    assert browser.post(POST_URL, json=BODY, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_sites_page_may_not_write_with_the_cookie(
    browser: TestClient, headers: dict[str, str]
) -> None:
    answer = browser.post(POST_URL, json=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer wrong", b"Basic YTpi", b"Bearer \xe9"])
def test_what_is_no_token_is_refused_in_one_shape(client: TestClient, header: bytes) -> None:
    del client.headers["Authorization"]
    answer = client.get("/api/v1/auth/me", headers=[(b"Authorization", header)])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
