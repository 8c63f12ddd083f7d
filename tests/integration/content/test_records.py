"""Records over HTTP: create, read, change, delete, list."""

import io
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fastcms.content.service import create_collection, create_record
from fastcms.site import Site

POSTS = "/api/v1/collections/posts/records"
FIELDS: list[dict[str, Any]] = [
    {"name": "title", "type": "text", "required": True},
    {"name": "price", "type": "number"},
    {"name": "body", "type": "editor"},
    {"name": "data", "type": "json"},
    {"name": "picture", "type": "file"},
    {"name": "parent", "type": "relation", "collection": "posts"},
]


@pytest.fixture
def posts(site: Site) -> None:
    with site.database.write() as session:
        create_collection(session, "posts", FIELDS)


def create(client: TestClient, **data: Any) -> dict[str, Any]:
    answer = client.post(POSTS, json={"data": data})
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def titles(client: TestClient, **parameters: Any) -> list[str]:
    answer = client.get(POSTS, params=parameters)
    assert answer.status_code == 200, answer.text
    return [item["data"]["title"] for item in answer.json()["items"]]


def test_a_record_is_created_read_changed_and_deleted(client: TestClient, posts: None) -> None:
    record = create(client, title="a", price=3, data={"ä": [1.5, None]})
    assert record["collection"] == "posts"
    assert record["data"] == {
        "title": "a",
        "price": 3,
        "body": None,
        "data": {"ä": [1.5, None]},
        "picture": None,
        "parent": None,
    }
    url = f"{POSTS}/{record['id']}"
    assert client.get(url).json() == record
    changed = client.patch(url, json={"data": {"price": None}}).json()
    assert changed["data"] == record["data"] | {"price": None}
    assert changed["created"] == record["created"]
    assert changed["updated"] > record["updated"]
    assert client.delete(url).status_code == 204
    for answer in (client.get(url), client.patch(url, json={"data": {}}), client.delete(url)):
        assert answer.status_code == 404
        assert answer.json()["code"] == "record_not_found"


def test_every_field_that_does_not_fit_is_named(client: TestClient, posts: None) -> None:
    answer = client.post(POSTS, json={"data": {"price": "3", "colour": "red", "picture": "x", "parent": "y"}})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert list(errors) == ["colour", "title", "price", "picture", "parent"]
    assert "title, price, body" in errors["colour"]
    assert errors["picture"] == "there is no file with the id x"
    assert errors["parent"] == "there is no record in posts with the id y"
    assert client.get(POSTS).json()["total"] == 0


@pytest.mark.parametrize("value", [None, ""])
def test_a_required_field_cannot_be_emptied(client: TestClient, posts: None, value: str | None) -> None:
    record = create(client, title="a")
    assert client.patch(f"{POSTS}/{record['id']}", json={"data": {"title": value}}).status_code == 422


def test_relations_to_a_deleted_record_become_null(client: TestClient, posts: None) -> None:
    parent = create(client, title="parent")
    child = create(client, title="child", parent=parent["id"])
    assert client.delete(f"{POSTS}/{parent['id']}").status_code == 204
    assert client.get(f"{POSTS}/{child['id']}").json()["data"]["parent"] is None


def test_a_field_that_points_at_a_deleted_file_becomes_null(client: TestClient, posts: None) -> None:
    upload = client.post("/api/v1/files", files={"file": ("a.txt", io.BytesIO(b"hello"))}).json()
    record = create(client, title="a", picture=upload["id"])
    assert record["data"]["picture"] == upload["id"]
    assert client.delete(f"/api/v1/files/{upload['id']}").status_code in (200, 204)
    assert client.get(f"{POSTS}/{record['id']}").json()["data"]["picture"] is None


def test_pages_cover_every_record_once(client: TestClient, site: Site, posts: None) -> None:
    with site.database.write() as session:
        extra = create_collection(session, "many", [{"name": "n", "type": "number"}])
        for number in range(65):
            create_record(session, extra, {"n": number % 3})
    seen = []
    for page in (1, 2, 3, 4):
        answer = client.get("/api/v1/collections/many/records", params={"page": page, "sort": "n"}).json()
        assert (answer["total"], answer["page"], answer["per_page"]) == (65, page, 30)
        seen += [(item["data"]["n"], item["id"]) for item in answer["items"]]
    assert len({record_id for _, record_id in seen}) == 65
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)


def test_lists_are_sorted_by_several_fields(client: TestClient, posts: None) -> None:
    for title, price in (("b", 1), ("a", 1), ("a", 2), ("c", None)):
        create(client, title=title, price=price)
    assert titles(client) == ["c", "a", "a", "b"]  # the newest first
    assert titles(client, sort="created") == ["b", "a", "a", "c"]
    items = client.get(POSTS, params={"sort": "title,-price"}).json()["items"]
    assert [(i["data"]["title"], i["data"]["price"]) for i in items] == [
        ("a", 2),
        ("a", 1),
        ("b", 1),
        ("c", None),
    ]


def test_search_looks_into_every_text_field(client: TestClient, posts: None) -> None:
    create(client, title="Ärger")
    create(client, title="b", body="<p>50% ärgerlich_es</p>")
    create(client, title="50 percent")
    assert titles(client, search="ÄRGER", sort="created") == ["Ärger", "b"]
    assert titles(client, search="50%") == ["b"]
    assert titles(client, search="H_E") == ["b"]
    assert titles(client, search="nowhere") == []


def test_a_filter_joins_conditions(client: TestClient, posts: None) -> None:
    for number in range(5):
        create(client, title=f"t{number}", price=number)
    assert titles(client, filter="price >= 1 && (title = 't1' || title ~ 'T3')", sort="price") == ["t1", "t3"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"page": "0"},
        {"page": str(10**18)},
        {"page": "9" * 5000},
        {"per_page": "501"},
        {"per_page": "0"},
        {"sort": "colour"},
        {"sort": "data"},
        {"sort": "title,price,body,id,created,updated"},
        {"sort": "\0"},
        {"filter": "colour = 1"},
        {"filter": "title ="},
        {"filter": "\0"},
        {"search": "\0"},
        {"serach": "misspelt"},
        {"search": "x" * 1001},
    ],
)
def test_a_list_that_makes_no_sense_is_refused(
    client: TestClient, posts: None, parameters: dict[str, str]
) -> None:
    answer = client.get(POSTS, params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_page_behind_the_last_is_empty(client: TestClient, posts: None) -> None:
    answer = client.get(POSTS, params={"page": 10**12, "per_page": 500})
    assert answer.status_code == 200
    assert answer.json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": {"title": "\\ud800"}}',
        b'{"data": {"title": "a\\u0000"}}',
        b'{"data": {"\\ud800": 1, "title": "a"}}',
        b'{"data": {"title": "a", "price": NaN}}',
        b'{"data": {"title": "a", "price": 1e999}}',
        b'{"data": {"title": "a", "price": ' + b"9" * 400 + b"}}",
        b'{"data": {"title": "a", "data": ["\\ud800"]}}',
        b'{"data": {"title": "a", "data": ' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"data": {"title": "a", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"data": [], "more": 1}',
        b'{"\\ud800": 1}',
        b"\xff",
        b"",
    ],
)
def test_hostile_bodies_are_refused(client: TestClient, posts: None, body: bytes) -> None:
    answer = client.post(POSTS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["nobody", "%00", "%ED%A0%80", "a'b", "x" * 3000])
def test_an_unknown_collection_or_record_is_not_found(client: TestClient, posts: None, name: str) -> None:
    assert client.get(f"/api/v1/collections/{name}/records").status_code == 404
    assert client.get(f"{POSTS}/{name}").status_code == 404
