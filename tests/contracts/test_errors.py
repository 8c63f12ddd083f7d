"""One tree of errors, one table of statuses, one JSON shape."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from fastcms import errors
from fastcms.errors import STATUS, FastCMSError, status_of


def all_classes(root: type[FastCMSError] = FastCMSError) -> Iterator[type[FastCMSError]]:
    yield root
    for child in root.__subclasses__():
        yield from all_classes(child)


@pytest.mark.parametrize("error_class", list(all_classes()))
def test_every_error_has_a_status_an_exit_code_and_a_place_in_the_tree(
    error_class: type[FastCMSError],
) -> None:
    status, exit_code = next(STATUS[parent] for parent in error_class.__mro__ if parent in STATUS)
    assert 400 <= status < 600
    assert 1 <= exit_code < 10
    assert error_class.__module__ == "fastcms.errors"
    assert re.search(rf"\b{error_class.__name__}\b", errors.__doc__ or "")


def test_the_drawn_tree_names_no_error_that_does_not_exist() -> None:
    drawn = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    assert drawn == {error_class.__name__ for error_class in all_classes()}


def test_no_two_errors_share_a_code() -> None:
    codes = [error_class.code for error_class in all_classes()]
    assert len(set(codes)) == len(codes)


def test_a_class_that_is_not_listed_has_the_status_of_its_parent() -> None:
    assert status_of(errors.CorruptArchiveError("x")) == STATUS[errors.ArchiveError]


def test_every_kind_of_refusal_has_the_same_json_shape(
    anonymous: TestClient, client: TestClient, editor: TestClient
) -> None:
    stranger = TestClient(anonymous.app)
    answers = {
        404: client.get("/no/such/page"),
        405: client.put("/api/v1/auth/login"),
        422: client.post("/api/v1/auth/login", json={"email": 1}),
        401: stranger.get("/api/v1/auth/me"),
        403: editor.post("/api/v1/backups"),
    }
    answers_without_a_body = {404: client.get("/api/v1/backups/backup_20250115_100000.zip/download")}
    for expected, answer in [*answers.items(), *answers_without_a_body.items()]:
        problem = answer.json()
        assert answer.status_code == problem["status"] == expected
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["detail"]
        assert re.fullmatch("[a-z_]+", problem["code"])
        assert isinstance(problem["hint"], str)
        assert answer.headers["x-request-id"]
    assert answers[401].headers["www-authenticate"] == "Bearer"
    assert "POST" in answers[405].headers["allow"]
    assert answers[422].json()["errors"][0]["field"] == "body.email"


def test_a_refused_request_does_not_repeat_a_password(anonymous: TestClient) -> None:
    answer = anonymous.post("/api/v1/auth/login", json={"email": 1, "password": ["do not repeat me"]})
    assert answer.status_code == 422
    assert "do not repeat me" not in answer.text
