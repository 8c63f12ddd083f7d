"""No database that FastCMS itself made is taken for a stranger's."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcms.backups import database_schema
from fastcms.backups.contents import refuse_strange_contents
from fastcms.config import Settings
from fastcms.content import service as content
from fastcms.errors import ConflictError, UnsafeArchiveError
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3

TYPES = ["text", "number", "bool", "date", "email", "editor", "url", "json", "file"]


@pytest.fixture
def own_site(settings: Settings) -> Iterator[Site]:
    settings.data_dir.mkdir()
    site = new_site(settings)
    site.database.migrate()
    yield site
    site.database.close()


@contextmanager
def opened(site: Site) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(site.settings.database_path, isolation_level=None)) as connection:
        yield connection


def check(site: Site) -> None:
    with opened(site) as connection:
        refuse_strange_contents(connection)


def change(site: Site, name: str, fields: list[dict[str, Any]]) -> None:
    with site.database.write() as session:
        content.update_collection(session, content.find_collection(session, name), fields=fields)


def test_a_new_site_passes(own_site: Site) -> None:
    check(own_site)


def test_collections_that_were_changed_in_every_way_pass(own_site: Site) -> None:
    all_types: list[dict[str, Any]] = [{"name": f"A_{kind}", "type": kind} for kind in TYPES]
    all_types.append({"name": "Choice", "type": "select", "values": ["a", "b"]})
    with own_site.database.write() as session:
        content.create_collection(session, "Authors", [{"name": "name", "type": "text"}])
        content.create_collection(session, "all", all_types)
    check(own_site)
    change(own_site, "all", [field for field in reversed(all_types) if field["name"] != "A_text"])
    check(own_site)
    relations: list[dict[str, Any]] = [{"name": "author", "type": "relation", "collection": "authors"}]
    relations.append({"name": "itself", "type": "relation", "collection": "all"})
    change(own_site, "all", [*relations, *({**f, "indexed": True} for f in all_types if f["type"] != "file")])
    check(own_site)
    change(
        own_site, "all", [*relations, *({**f, "indexed": False} for f in all_types if f["type"] != "file")]
    )
    change(own_site, "Authors", [{"name": "best", "type": "relation", "collection": "all"}])
    check(own_site)
    with own_site.database.write() as session:
        content.update_collection(session, content.find_collection(session, "Authors"), name="people")
        content.update_collection(session, content.find_collection(session, "all"), name="ALL")
    check(own_site)
    change(own_site, "all", [{"name": "author", "type": "relation", "collection": "people"}])
    change(own_site, "people", [])
    with own_site.database.write() as session:
        content.delete_collection(session, content.find_collection(session, "all"))
    check(own_site)


def test_what_sqlite_itself_adds_passes(own_site: Site) -> None:
    with opened(own_site) as connection:
        connection.execute("ANALYZE")
        connection.execute("VACUUM")
    check(own_site)


def test_a_strange_database_is_refused(own_site: Site) -> None:
    with opened(own_site) as connection:
        connection.execute("CREATE TABLE more (a)")
    with pytest.raises(UnsafeArchiveError, match="a table that FastCMS does not make: 'more'"):
        check(own_site)


def test_names_of_fields_are_not_taken_for_others(own_site: Site) -> None:
    names = ["field", "f_field", "model", "records_model", "target", "records_target", "a" * 64]
    fields: list[dict[str, Any]] = [{"name": name, "type": "text"} for name in names]
    with own_site.database.write() as session:
        content.create_collection(session, "records", fields)
        content.create_collection(
            session, "more", [{**field, "type": "relation", "collection": "records"} for field in fields]
        )
    check(own_site)


def test_an_index_that_another_table_should_have_is_refused(own_site: Site) -> None:
    with own_site.database.write() as session:
        content.create_collection(session, "one", [{"name": "a", "type": "text"}])
        content.create_collection(session, "two", [{"name": "a", "type": "text"}])
    with opened(own_site) as connection:
        one, two = (key for (key,) in connection.execute("SELECT id FROM collections ORDER BY name"))
        connection.execute(f"DROP INDEX ix_records_{one}_f_a")
        connection.execute(f"CREATE INDEX ix_records_{one}_f_a ON records_{two} (f_a, created, id)")
    with pytest.raises(UnsafeArchiveError, match="has indexes that FastCMS does not make"):
        check(own_site)


def test_a_comment_that_looks_like_a_million_quotations_is_refused_without_a_wait(own_site: Site) -> None:
    with opened(own_site) as connection:
        connection.execute(f"CREATE TABLE more (a /* {'[' * 1_000_000} */)")
    with pytest.raises(UnsafeArchiveError, match="'more'"):
        check(own_site)


@pytest.mark.parametrize("column", ["name", "sql"])
def test_a_schema_that_is_no_text_is_refused(own_site: Site, column: str) -> None:
    with opened(own_site) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            f"UPDATE sqlite_master SET {column} = CAST({column} AS BLOB) WHERE name = 'accounts'"
        )
    with pytest.raises(UnsafeArchiveError, match="no text"):
        check(own_site)


def test_two_collections_of_one_name_are_refused(own_site: Site) -> None:
    with own_site.database.write() as session:
        content.create_collection(session, "one", [])
    with opened(own_site) as connection:
        connection.execute("UPDATE collections SET name = 'É'")
        connection.execute(
            "INSERT INTO collections SELECT '00000000000000000000', 'é', '[]', 0, '', '' FROM collections"
        )
    with pytest.raises(UnsafeArchiveError) as refused:
        check(own_site)
    assert refused.value.code == "database_rows_strange"


def test_more_collections_than_can_be_checked_are_refused(own_site: Site) -> None:
    with opened(own_site) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= 10000) "
            "INSERT INTO collections SELECT printf('%020x', i), 'c' || i, '[]', 0, '', '' FROM n"
        )
    with pytest.raises(UnsafeArchiveError, match="more than 10,000 collections") as refused:
        check(own_site)
    assert refused.value.code == "database_schema_too_large"


def test_more_fields_than_can_be_checked_are_refused(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_site.database.write() as session:
        for name in ("one", "two"):
            content.create_collection(session, name, [{"name": kind, "type": kind} for kind in TYPES])
    monkeypatch.setattr(database_schema, "_MOST_FIELDS", 2 * len(TYPES))
    check(own_site)
    monkeypatch.setattr(database_schema, "_MOST_FIELDS", 2 * len(TYPES) - 1)
    with pytest.raises(UnsafeArchiveError, match="fields") as refused:
        check(own_site)
    assert refused.value.code == "database_schema_too_large"


@st.composite
def some_fields(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from("abcdeF"), unique_by=str.lower, max_size=6))
    return [draw(field(name)) for name in names]


def field(name: str) -> st.SearchStrategy[dict[str, Any]]:
    plain = st.fixed_dictionaries(
        {"name": st.just(name), "type": st.sampled_from([t for t in TYPES if t != "file"])},
        optional={"indexed": st.booleans(), "required": st.booleans()},
    )
    other = st.sampled_from(
        [
            {"name": name, "type": "file"},
            {"name": name, "type": "relation", "collection": "one"},
            {"name": name, "type": "relation", "collection": "two"},
        ]
    )
    return plain | other


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), some_fields()), max_size=6))
def test_any_history_of_changes_passes(
    own_site: Site, history: list[tuple[str, list[dict[str, Any]]]]
) -> None:
    with own_site.database.write() as session:
        if not content.list_collections(session):
            content.create_collection(session, "one", [])
            content.create_collection(session, "two", [])
    for name, fields in history:
        try:
            change(own_site, name, fields)
        except ConflictError:  # a type would change
            change(own_site, name, [])
            change(own_site, name, fields)
    check(own_site)
    with own_site.database.write() as session:
        session.execute(sa.text("PRAGMA optimize"))
