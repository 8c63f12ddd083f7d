"""Compare a database's schema with the only one that FastCMS can have made.

What is compared is what SQLite says about each table, not the text that made it: columns that came and went,
and other releases of SQLAlchemy, leave different text for the same table.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from fastcms.backups.engine.refusals import unsafe
from fastcms.content.fields import Field, RelationField, fields_adapter
from fastcms.content.models import RECORDS_TABLE_PREFIX
from fastcms.content.tables import create_table
from fastcms.database import upgrade_schema
from fastcms.sqlite import sqlite3

_COLLECTION_ID = re.compile("[0-9a-f]{20}", re.ASCII)
# SQLite makes these for ANALYZE and AUTOINCREMENT.
_SQLITE_TABLES = {
    "sqlite_sequence": ["name", "seq"],
    "sqlite_stat1": ["tbl", "idx", "stat"],
    "sqlite_stat4": ["tbl", "idx", "neq", "nlt", "ndlt", "sample"],
}
_TOKEN = re.compile(r"""--|/\*|"[^"]*"|'[^']*'|`[^`]*`|\[[^\]]*\]|\w+""")
# What no PRAGMA tells about a table.
_TELLTALE = {"--", "/*", "CHECK", "COLLATE", "GENERATED", "AS", "AUTOINCREMENT", "CONFLICT", "DEFERRABLE"}


@dataclass(frozen=True)
class _Collection:
    id: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class _Shape:
    """What there is to know about a table; the order of its columns tells only its history."""

    options: object
    columns: object
    indexes: object
    references: object
    constraints: object


def refuse_strange_schema(database: sqlite3.Connection, revision: str) -> None:
    """Refuse tables, columns, indexes and constraints that a FastCMS of this schema revision does not make.

    Raises: UnsafeArchiveError.
    """
    present = _names(database, "table")
    for name in present & _SQLITE_TABLES.keys():
        columns = [
            column for (column,) in database.execute("SELECT name FROM pragma_table_xinfo(?)", (name,))
        ]
        if columns != _SQLITE_TABLES[name]:
            raise _strange(f"its table {name} has columns that SQLite does not make")
    present -= _SQLITE_TABLES.keys()
    with _empty_session() as session:
        upgrade_schema(session.connection(), revision)
        expected = _names(_driver(session), "table")
        _require_tables(present, expected, may_have_more=True)
        for name in expected:
            _compare(database, _driver(session), name)
    collections = _read_collections(database)
    expected |= {f"{RECORDS_TABLE_PREFIX}{collection.id}" for collection in collections.values()}
    _require_tables(present, expected)
    for collection in collections.values():
        _compare_records(database, collection, collections)
    known = {index for name in present for index, *_ in _index_list(database, name)}
    _require_indexes(_names(database, "index"), known)


def _require_tables(present: set[str], expected: set[str], *, may_have_more: bool = False) -> None:
    missing, more = expected - present, present - expected
    if missing:
        raise _strange(f"the table {min(missing)!r} is missing")
    if more and not may_have_more:
        raise _strange(f"it holds a table that FastCMS does not make: {min(more)!r}")


def _require_indexes(present: set[str], known: set[str]) -> None:
    if present != known:
        raise _strange(f"it holds an index that belongs to no table: {min(present ^ known)!r}")


def _read_collections(database: sqlite3.Connection) -> dict[str, _Collection]:
    """The collections by their name, which relations are given by, in lower case."""
    collections: dict[str, _Collection] = {}
    for key, name, stored in database.execute("SELECT id, name, fields FROM collections"):
        try:
            if not isinstance(name, str) or not _COLLECTION_ID.fullmatch(key):
                raise TypeError("id")  # noqa: TRY301 - the same answer as to what pydantic refuses
            collections[name.lower()] = _Collection(key, fields_adapter.validate_json(stored))
        except (ValidationError, TypeError) as error:
            raise unsafe(
                f"database.db in the backup describes a collection as FastCMS does not: {str(name)[:100]!r}.",
                code="database_rows_strange",
            ) from error
    return collections


def _compare_records(
    database: sqlite3.Connection, collection: _Collection, collections: dict[str, _Collection]
) -> None:
    targets = {}
    for field in collection.fields:
        if isinstance(field, RelationField):
            target = collections.get(field.collection.lower())
            if target is None:
                raise _strange(f"a field points into a collection that is missing: {field.collection!r}")
            targets[field.name] = target.id
    with _empty_session() as session:
        create_table(session, collection.id, collection.fields, targets)
        _compare(database, _driver(session), f"{RECORDS_TABLE_PREFIX}{collection.id}")


def _compare(database: sqlite3.Connection, model: sqlite3.Connection, table: str) -> None:
    found, expected = _shape(database, table), _shape(model, table)
    for part in fields(_Shape):
        if getattr(found, part.name) != getattr(expected, part.name):
            raise _strange(f"the table {table} has {part.name} that FastCMS does not make")


def _shape(database: sqlite3.Connection, table: str) -> _Shape:
    def ask(query: str, name: str = table) -> list[Any]:
        return sorted(database.execute(query, (name,)).fetchall(), key=repr)

    indexes = [
        (
            name if origin == "c" else None,
            unique,
            origin,
            partial,
            # In the order of the index, not of the answer.
            database.execute("SELECT name, desc, coll, key FROM pragma_index_xinfo(?)", (name,)).fetchall(),
        )
        for name, unique, origin, partial in _index_list(database, table)
    ]
    (sql,) = database.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    ).fetchone()
    words = (word.upper() for word in _TOKEN.findall(sql))
    return _Shape(
        options=ask("SELECT type, wr, strict FROM pragma_table_list(?) WHERE schema = 'main'"),
        columns=ask('SELECT name, upper(type), "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'),
        indexes=sorted(indexes, key=repr),
        references=ask(
            'SELECT seq, "table", "from", "to", on_update, on_delete, "match" FROM pragma_foreign_key_list(?)'
        ),
        constraints=Counter(word for word in words if word in _TELLTALE),
    )


def _index_list(database: sqlite3.Connection, table: str) -> list[Any]:
    query = 'SELECT name, "unique", origin, partial FROM pragma_index_list(?)'
    return database.execute(query, (table,)).fetchall()


def _names(database: sqlite3.Connection, kind: str) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))}


@contextmanager
def _empty_session() -> Iterator[Session]:
    """A transaction on an empty database in memory."""
    engine = sa.create_engine("sqlite://", module=sqlite3, poolclass=sa.StaticPool)
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


def _driver(session: Session) -> sqlite3.Connection:
    return session.connection().connection.driver_connection  # type: ignore[return-value] # it is SQLite's


def _strange(what: str) -> Exception:
    return unsafe(
        f"database.db in the backup was not made by FastCMS: {what}.", code="database_schema_strange"
    )
