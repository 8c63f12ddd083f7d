"""Lists stay fast however many records there are: SQLite finds them by index and never sorts."""

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from fastcms.content.service import create_collection, create_record
from fastcms.site import Site

FIELDS: list[dict[str, Any]] = [
    {"name": "title", "type": "text"},
    {"name": "price", "type": "number"},
    {"name": "sold", "type": "bool"},
    {"name": "day", "type": "date"},
    {"name": "mail", "type": "email"},
    {"name": "kind", "type": "select", "values": ["a", "b"]},
    {"name": "picture", "type": "file"},
    {"name": "parent", "type": "relation", "collection": "things"},
    {"name": "body", "type": "editor"},
    {"name": "plain", "type": "text", "indexed": False},
    {"name": "link", "type": "url", "indexed": True},
]


def plans_of(client: TestClient, site: Site, **parameters: str) -> list[str]:
    """The query plan of every statement that a list request runs on the records' table."""
    statements: list[tuple[str, object]] = []

    def remember(_connection: object, _cursor: object, sql: str, values: object, *_rest: object) -> None:
        if "FROM records_" in sql:
            statements.append((sql, values))

    engine = site.database._engine
    sa.event.listen(engine, "before_cursor_execute", remember)
    try:
        answer = client.get("/api/v1/collections/things/records", params=parameters)
    finally:
        sa.event.remove(engine, "before_cursor_execute", remember)
    assert answer.status_code == 200
    assert len(statements) == 2  # the count and the page
    with site.database.read() as session:
        driver = session.connection().connection.driver_connection
        assert driver is not None
        explained = [driver.execute(f"EXPLAIN QUERY PLAN {sql}", values) for sql, values in statements]
        return [row[3] for rows in explained for row in rows]


@pytest.fixture
def things(site: Site) -> None:
    with site.database.write() as session:
        collection = create_collection(session, "things", FIELDS)
        for number in range(50):
            create_record(session, collection, {"title": f"t{number}", "price": number, "kind": "a"})


SORTS = ["", "-created", "created", "title", "-title", "price", "-day", "kind", "link", "id"]


@pytest.mark.parametrize("sort", SORTS)
def test_a_sorted_page_is_read_in_the_order_of_an_index(
    client: TestClient, site: Site, things: None, sort: str
) -> None:
    count, page = plans_of(client, site, **({"sort": sort} if sort else {}))
    assert "USING COVERING INDEX" in count
    assert page.startswith("SCAN")
    assert "USING INDEX" in page
    assert "TEMP B-TREE" not in page


@pytest.mark.parametrize(
    "filter_text",
    [
        "title = 't1'",
        "price = 5",
        "sold = true",
        "day = '2025-01-15'",
        "mail = 'a@example.com'",
        "kind = 'a'",
        "picture = 'x'",
        "parent = 'x'",
        "title = null",
    ],
)
def test_an_equals_filter_on_an_indexed_field_searches_its_index_in_the_lists_order(
    client: TestClient, site: Site, things: None, filter_text: str
) -> None:
    count, page = plans_of(client, site, filter=filter_text)
    name = filter_text.split(maxsplit=1)[0]
    for plan in (count, page):
        assert plan.startswith("SEARCH")
        assert f"_f_{name} (f_{name}=?" in plan
    assert "COVERING" in count


def test_a_range_on_an_indexed_field_sorted_by_it_searches_its_index(
    client: TestClient, site: Site, things: None
) -> None:
    _, page = plans_of(client, site, filter="price > 5 && price <= 40", sort="-price")
    assert "_f_price (f_price>? AND f_price<?)" in page


def test_a_field_without_an_index_is_sorted_all_the_same(
    client: TestClient, site: Site, things: None
) -> None:
    assert any("TEMP B-TREE" in plan for plan in plans_of(client, site, sort="plain"))


def test_deleting_a_record_finds_what_points_at_it_by_index(site: Site, things: None) -> None:
    with site.database.read() as session:
        table = session.scalar(sa.text("SELECT 'records_' || id FROM collections"))
        plan = session.execute(
            sa.text(f"EXPLAIN QUERY PLAN UPDATE {table} SET f_parent = NULL WHERE f_parent = 'x'")
        ).all()
    assert "_f_parent (f_parent=?)" in plan[0][3]
