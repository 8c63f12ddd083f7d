"""Compare a database's schema with the only one that FastCMS can have made.

What is compared is what SQLite says about each table, not the text that made it: columns that came and went,
and other releases of SQLAlchemy, leave different text for the same table.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import chain, groupby
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from fastcms.backups.engine.refusals import unsafe
from fastcms.content.fields import Field, RelationField, fields_adapter, is_indexed
from fastcms.content.models import RECORDS_TABLE_PREFIX
from fastcms.content.tables import column_name, create_table
from fastcms.database import upgrade_schema
from fastcms.sqlite import sqlite3

# What there is to know about a table: one row for each column, index and so on, which begins with that word.
# The order of columns tells only a table's history.
_Shape = Counter[tuple[Any, ...]]

_COLLECTION_ID = re.compile("[0-9a-f]{20}", re.ASCII)
# SQLite makes these for ANALYZE and AUTOINCREMENT.
_SQLITE_TABLES = {
    "sqlite_sequence": ["name", "seq"],
    "sqlite_stat1": ["tbl", "idx", "stat"],
    "sqlite_stat4": ["tbl", "idx", "neq", "nlt", "ndlt", "sample"],
}
# Quotations need not end: seeking the end of each of a million brackets in a comment would take an hour.
_TOKEN = re.compile(r"""--|/\*|"[^"]*"?|'[^']*'?|`[^`]*`?|\[[^\]]*\]?|\w+""")
# What no PRAGMA tells about a table.
_TELLTALE = {"--", "/*", "CHECK", "COLLATE", "GENERATED", "AS", "AUTOINCREMENT", "CONFLICT", "DEFERRABLE"}
# Checking as many takes some ten seconds.
_MOST_COLLECTIONS = 10_000
_MOST_FIELDS = 200_000
_COLUMNS = """
    SELECT 'columns', name, upper(type), "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)
"""
_REFERENCES = """
    SELECT 'references', seq, "table", "from", "to", on_update, on_delete, "match"
    FROM pragma_foreign_key_list(?)
"""
# The columns of an index in its own order.
_INDEXES = """
    SELECT index_list.name, origin, "unique", partial, info.name, "desc", coll, key
    FROM pragma_index_list(?) AS index_list, pragma_index_xinfo(index_list.name) AS info
"""
# Stand for names in the tables of models. No name of FastCMS's has such characters.
_MODEL, _FIELD, _TARGET = "<model>", "<field>", "<target>"


def refuse_strange_schema(database: sqlite3.Connection, revision: str) -> None:
    """Refuse tables, columns, indexes and constraints that a FastCMS of this schema revision does not make.

    Raises: UnsafeArchiveError.
    """
    found = _outlines(database)
    for name in found.keys() & _SQLITE_TABLES.keys():
        columns = [
            column for (column,) in database.execute("SELECT name FROM pragma_table_xinfo(?)", (name,))
        ]
        if columns != _SQLITE_TABLES[name]:
            raise _strange(f"its table {name} has columns that SQLite does not make")
        del found[name]
    own = _own_shapes(revision)
    _require_tables(set(found), set(own), may_have_more=True)
    indexes = _compare(database, found, own.items())
    ids = _read_collection_ids(database)
    records = {f"{RECORDS_TABLE_PREFIX}{key}" for key in ids.values()}
    _require_tables(set(found), own.keys() | records)
    indexes += _compare(database, found, _records_shapes(database, ids))
    if indexes != database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone()[0]:
        raise _strange("it holds an index that belongs to no table")


@cache
def _own_shapes(revision: str) -> dict[str, _Shape]:
    with _empty_database() as session:
        upgrade_schema(session.connection(), revision)
        return _shapes(_driver(session))


def _require_tables(present: set[str], expected: set[str], *, may_have_more: bool = False) -> None:
    missing, more = expected - present, present - expected
    if missing:
        raise _strange(f"the table {min(missing)!r} is missing")
    if more and not may_have_more:
        raise _strange(f"it holds a table that FastCMS does not make: {min(more)!r}")


def _compare(
    database: sqlite3.Connection, outlines: dict[str, _Shape], expected: Iterable[tuple[str, _Shape]]
) -> int:
    """Compare some tables with what they should be.

    Returns: how many indexes they have.
    """
    indexes = 0
    for table, shape in expected:
        found = outlines[table] + _details(database, table)
        if found != shape:
            (part, *_) = next(iter((found - shape) or (shape - found)))
            raise _strange(f"the table {table} has {part} that FastCMS does not make")
        indexes += sum(part == "indexes" for part, *_ in found.elements())
    return indexes


def _read_collection_ids(database: sqlite3.Connection) -> dict[str, str]:
    """The collections' ids by their name, which relations are given by, in lower case."""
    ids: dict[str, str] = {}
    for count, (key, name) in enumerate(database.execute("SELECT id, name FROM collections"), start=1):
        if count > _MOST_COLLECTIONS:
            raise _too_large(f"{_MOST_COLLECTIONS:,} collections")
        if not isinstance(key, str) or not isinstance(name, str) or not _COLLECTION_ID.fullmatch(key):
            raise _strange_collection(name)
        if ids.setdefault(name.lower(), key) != key:
            raise _strange_collection(name)
    return ids


def _records_shapes(database: sqlite3.Connection, ids: dict[str, str]) -> Iterator[tuple[str, _Shape]]:
    """What each collection's table should be: what all have, and what each kind of field adds to that."""
    bare = _model_shape()
    added: dict[tuple[str, bool], _Shape] = {}
    fields_total = 0
    for key, name, stored in database.execute("SELECT id, name, fields FROM collections"):
        fields = _parse_fields(name, stored)
        fields_total += len(fields)
        if fields_total > _MOST_FIELDS:
            raise _too_large(f"{_MOST_FIELDS:,} fields")
        shape = _renamed(bare, {_MODEL: key})
        for field in fields:
            kind = (field.type, is_indexed(field))
            if kind not in added:
                added[kind] = _model_shape(field.model_copy(update={"name": _FIELD})) - bare
            names = {_MODEL: key, column_name(_FIELD): column_name(field.name)}
            if isinstance(field, RelationField):
                names[_TARGET] = _target(field, ids)
            shape.update(_renamed(added[kind], names))
        yield f"{RECORDS_TABLE_PREFIX}{key}", shape


def _parse_fields(name: object, stored: Any) -> tuple[Field, ...]:
    try:
        return fields_adapter.validate_json(stored)
    except (ValidationError, TypeError) as error:
        raise _strange_collection(name) from error


def _target(field: RelationField, ids: dict[str, str]) -> str:
    target = ids.get(field.collection.lower())
    if target is None:
        raise _strange(f"a field points into a collection that is missing: {field.collection!r}")
    return target


@lru_cache(maxsize=50)
def _model_shape(*fields: Field) -> _Shape:
    """What a collection with these fields gets for its records."""
    with _empty_database() as session:
        create_table(session, _MODEL, fields, {_FIELD: _TARGET})
        return _shapes(_driver(session))[f"{RECORDS_TABLE_PREFIX}{_MODEL}"]


def _renamed(shape: _Shape, names: dict[str, str]) -> _Shape:
    def rename(cell: Any) -> Any:
        if isinstance(cell, str):
            for old, new in names.items():
                cell = cell.replace(old, new)
        return cell

    return Counter({tuple(map(rename, row)): count for row, count in shape.items()})


def _shapes(database: sqlite3.Connection) -> dict[str, _Shape]:
    return {table: outline + _details(database, table) for table, outline in _outlines(database).items()}


def _outlines(database: sqlite3.Connection) -> dict[str, _Shape]:
    """Of each table what is not to be asked for one by one, which would read the whole schema each time."""
    outlines: dict[str, _Shape] = {}
    for table, sql in database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"):
        if not isinstance(table, str) or not isinstance(sql, str):
            raise _strange("its list of tables holds what is no text")
        words = (word.upper() for word in _TOKEN.findall(sql))
        outlines[table] = Counter(("constraints", word) for word in words if word in _TELLTALE)
    options = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
    for table, *values in database.execute(options):
        if table in outlines:  # not sqlite_schema
            outlines[table]["options", *values] += 1
    return outlines


def _details(database: sqlite3.Connection, table: str) -> _Shape:
    def ask(query: str) -> Iterable[tuple[Any, ...]]:
        return database.execute(query, (table,))

    shape = Counter(ask(_COLUMNS))
    shape.update(ask(_REFERENCES))
    for (index, *about), columns in groupby(ask(_INDEXES), key=lambda row: row[:4]):
        # SQLite numbers the names of its own in the order of the table's text.
        name = index if about[0] == "c" else None
        shape["indexes", name, *about, *chain.from_iterable(row[4:] for row in columns)] += 1
    return shape


@contextmanager
def _empty_database() -> Iterator[Session]:
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


def _strange_collection(name: object) -> Exception:
    return unsafe(
        f"database.db in the backup describes a collection as FastCMS does not: {str(name)[:100]!r}.",
        code="database_rows_strange",
    )


def _too_large(limit: str) -> Exception:
    return unsafe(
        f"database.db in the backup has more than {limit}: FastCMS can read no more.",
        code="database_schema_too_large",
    )
