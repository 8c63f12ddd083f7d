"""What every answer has in common."""

import logging

import pytest
from fastapi.testclient import TestClient

from fastcms import __version__
from fastcms.config import LogFormat
from fastcms.logs import configure_logs, get_logger
from fastcms.restarting import server_id
from fastcms.site import Site
from tests.conftest import PASSWORD


def test_health_says_that_the_server_and_its_database_answer(anonymous: TestClient) -> None:
    health = anonymous.get("/health").json()
    assert health.pop("server_id") == server_id()
    assert health == {"status": "ok", "version": __version__, "database": "ok"}


def test_health_answers_those_who_only_ask_for_the_status(anonymous: TestClient) -> None:
    answer = anonymous.head("/health")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_a_database_that_does_not_answer_is_a_503_in_words(client: TestClient, site: Site) -> None:
    site.database.close()
    for suffix in ("", "-wal", "-shm"):
        site.database.path.with_name(f"app.db{suffix}").unlink(missing_ok=True)
    site.database.path.mkdir()
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "unable to open database file" in answer.json()["detail"]
    site.database.path.rmdir()


def test_the_bare_address_leads_to_the_dashboard(anonymous: TestClient) -> None:
    answer = anonymous.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/admin")
    assert anonymous.get("/").url.path.startswith("/admin")
    assert "/" not in anonymous.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/api/v1/auth/me", "/docs"])
def test_every_answer_has_security_headers_and_a_request_id(anonymous: TestClient, path: str) -> None:
    headers = anonymous.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert len(headers["x-request-id"]) == 32


def test_the_documentation_of_the_api_loads_nothing_from_another_host(anonymous: TestClient) -> None:
    page = anonymous.get("/docs").text
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page
    assert "http://" not in page


def test_no_log_line_holds_a_token_a_password_or_a_query_string(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = client.headers["Authorization"].removeprefix("Bearer ")
    client.post("/api/v1/auth/login", json={"email": "a@example.com", "password": PASSWORD})
    client.get("/api/v1/files", params={"search": "private words"})
    client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}x"})
    logged = "".join(str(record.msg) for record in caplog.records if record.name != "httpx2")  # the client's
    assert "/api/v1/files" in logged
    assert token not in logged
    assert PASSWORD not in logged
    assert "private" not in logged


def test_bad_input_is_not_repeated_in_the_answer(anonymous: TestClient) -> None:
    answer = anonymous.post("/api/v1/auth/login", json={"password": ["my secret"]})
    assert answer.status_code == 422
    assert {problem["field"] for problem in answer.json()["errors"]} == {"body.email", "body.password"}
    assert "my secret" not in answer.text


def test_an_unexpected_error_is_logged_without_the_values_that_led_to_it(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    """Local variables of a request hold cookies and tokens."""

    def fail(session_cookie: str) -> None:
        raise RuntimeError(f"out of {len(session_cookie)}")

    for log_format in LogFormat:
        configure_logs(site.settings.model_copy(update={"log_format": log_format}))
        try:
            fail("a secret " * 2)
        except RuntimeError as error:
            get_logger().error("Unexpected error", exc_info=error)
        logged = capfd.readouterr().err
        assert "out of 18" in logged
        assert "a secret a secret" not in logged
