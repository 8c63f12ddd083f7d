"""Collections over HTTP, and what changing their fields does to the records that are there."""

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from fastcms.site import Site

URL = "/api/v1/collections"


def create(client: TestClient, name: str, *fields: dict[str, Any], public: bool = False) -> dict[str, Any]:
    answer = client.post(URL, json={"name": name, "schema": list(fields), "public": public})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def change_schema(client: TestClient, name: str, *fields: dict[str, Any]) -> Any:
    return client.patch(f"{URL}/{name}", json={"schema": list(fields)})


def test_a_collection_is_created_listed_changed_and_deleted(client: TestClient) -> None:
    created = create(client, "posts", {"name": "title", "type": "text", "required": True})
    assert created["schema"] == [{"name": "title", "type": "text", "required": True, "indexed": True}]
    assert created["public"] is False
    assert created["created"].endswith("Z")
    assert client.get(f"{URL}/POSTS").json() == created
    create(client, "authors")
    listed = client.get(URL, params={"per_page": 1, "page": 2}).json()
    assert [item["name"] for item in listed.pop("items")] == ["posts"]
    assert listed == {"total": 2, "page": 2, "per_page": 1}
    changed = client.patch(f"{URL}/posts", json={"name": "articles", "public": True}).json()
    assert (changed["id"], changed["name"], changed["public"]) == (created["id"], "articles", True)
    assert client.delete(f"{URL}/articles").status_code == 204
    assert client.get(f"{URL}/articles").status_code == 404


def test_deleting_a_collection_drops_its_table(client: TestClient, site: Site) -> None:
    create(client, "posts", {"name": "title", "type": "text"})
    client.delete(f"{URL}/posts")
    with site.database.read() as session:
        names = session.scalars(sa.text("SELECT name FROM sqlite_master WHERE name LIKE '%records%'")).all()
    assert names == []


@pytest.mark.parametrize("name", ["", "1st", "a b", "../x", "a" * 65, "a\n", "é"])
def test_a_name_that_does_not_fit_into_a_url_is_refused(client: TestClient, name: str) -> None:
    answer = client.post(URL, json={"name": name, "schema": []})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.name"


def test_a_taken_name_is_a_conflict_whatever_its_case(client: TestClient) -> None:
    create(client, "posts")
    create(client, "authors")
    for answer in (
        client.post(URL, json={"name": "Posts", "schema": []}),
        client.patch(f"{URL}/authors", json={"name": "POSTS"}),
    ):
        assert answer.status_code == 409
        assert answer.json()["code"] == "collection_exists"
    assert client.patch(f"{URL}/posts", json={"name": "Posts"}).json()["name"] == "Posts"


def test_fields_are_added_and_removed_under_existing_records(client: TestClient, site: Site) -> None:
    title = {"name": "title", "type": "text"}
    create(client, "posts", title, {"name": "old", "type": "number"})
    records = f"{URL}/posts/records"
    record = client.post(records, json={"data": {"title": "a", "old": 1}}).json()
    answer = change_schema(
        client,
        "posts",
        {"name": "Title", "type": "text"},
        {"name": "new", "type": "number", "required": True},
    )
    assert answer.status_code == 200
    kept = client.get(f"{records}/{record['id']}").json()
    assert kept["data"] == {"Title": "a", "new": None}
    refused = client.patch(f"{records}/{record['id']}", json={"data": {"Title": "b"}})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "new", "message": "a value is required"}]
    assert client.patch(f"{records}/{record['id']}", json={"data": {"new": 2}}).status_code == 200
    with site.database.read() as session:
        indexes = session.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'index'")).all()
    assert not [name for name in indexes if name.endswith("_f_old")]
    assert [name for name in indexes if name.endswith("_f_new")]


def test_every_type_of_field_can_be_removed_again(client: TestClient) -> None:
    every: list[dict[str, Any]] = [
        {"name": name, "type": name}
        for name in ("text", "editor", "number", "bool", "date", "email", "url", "json", "file")
    ]
    every.append({"name": "select", "type": "select", "values": ["a"]})
    every.append({"name": "relation", "type": "relation", "collection": "posts"})
    create(client, "posts", *every)
    assert change_schema(client, "posts").json()["schema"] == []
    assert change_schema(client, "posts", *every).status_code == 200
    assert client.post(f"{URL}/posts/records", json={"data": {"select": "a"}}).status_code == 201


@pytest.mark.parametrize(
    "changed", [{"name": "x", "type": "text"}, {"name": "x", "type": "relation", "collection": "others"}]
)
def test_a_changed_type_is_refused_and_nothing_changes(client: TestClient, changed: dict[str, Any]) -> None:
    create(client, "others")
    before = create(client, "posts", {"name": "x", "type": "relation", "collection": "posts"})
    answer = change_schema(client, "posts", changed, {"name": "y", "type": "text"})
    assert answer.status_code == 409
    assert answer.json()["code"] == "field_type_fixed"
    assert client.get(f"{URL}/posts").json() == before


def test_an_index_is_made_and_dropped_with_its_option(client: TestClient, site: Site) -> None:
    def indexes() -> list[str]:
        with site.database.read() as session:
            sql = sa.text("SELECT name FROM sqlite_master WHERE name LIKE 'ix_records%f_x'")
            return list(session.scalars(sql))

    create(client, "posts", {"name": "x", "type": "text", "indexed": False})
    assert indexes() == []
    change_schema(client, "posts", {"name": "x", "type": "text", "indexed": True})
    assert len(indexes()) == 1
    change_schema(client, "posts", {"name": "x", "type": "text", "indexed": False})
    assert indexes() == []


def test_a_relation_to_no_collection_is_refused(client: TestClient) -> None:
    answer = client.post(
        URL, json={"name": "posts", "schema": [{"name": "a", "type": "relation", "collection": "nobody"}]}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "schema.0.collection"


def test_relations_follow_a_renamed_collection_and_keep_it_from_deletion(client: TestClient) -> None:
    create(client, "authors")
    create(client, "posts", {"name": "author", "type": "relation", "collection": "authors"})
    client.patch(f"{URL}/authors", json={"name": "people"})
    assert client.get(f"{URL}/posts").json()["schema"][0]["collection"] == "people"
    author = client.post(f"{URL}/people/records", json={"data": {}}).json()["id"]
    post = client.post(f"{URL}/posts/records", json={"data": {"author": author}})
    assert post.status_code == 201
    answer = client.delete(f"{URL}/people")
    assert answer.status_code == 409
    assert answer.json()["code"] == "collection_in_use"
    client.delete(f"{URL}/posts")
    assert client.delete(f"{URL}/people").status_code == 204
