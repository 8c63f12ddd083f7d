"""The SQL of record lists. Every order ends in the id, and each has an index that already has it."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from fastcms.content.fields import Field
from fastcms.content.filters import contains, filter_to_sql, parse_filter
from fastcms.content.models import Collection
from fastcms.content.schemas import Record, RecordQuery
from fastcms.content.tables import fields_of, records_table
from fastcms.errors import InvalidInputError

_SEARCHED_TYPES = ("text", "editor", "email", "url", "select")
_MAX_SORT_KEYS = 5


def conditions(collection: Collection, query: RecordQuery) -> list[sa.ColumnElement[bool]]:
    """What a record must fulfil to be listed.

    Raises: InvalidInputError.
    """
    table, fields = records_table(collection), fields_of(collection)
    found: list[sa.ColumnElement[bool]] = []
    if query.filter.strip():
        found.append(filter_to_sql(parse_filter(query.filter), table, fields))
    if query.search:
        if "\0" in query.search:
            raise InvalidInputError("search: Text with a NUL character is nowhere.", code="search_invalid")
        texts = [table.c[field.name] for field in fields if field.type in _SEARCHED_TYPES]
        found.append(sa.or_(sa.false(), *(contains(column, query.search) for column in texts)))
    return found


def order(collection: Collection, sort: str) -> list[sa.ColumnElement[Any]]:
    """The columns to order by.

    Equal values come in the order of their creation, in the direction of the last named field: the order
    that the field's index has.

    Raises: InvalidInputError.
    """
    table = records_table(collection)
    keys = [key.strip() for key in sort.split(",") if key.strip()] or ["-created"]
    if len(keys) > _MAX_SORT_KEYS:
        raise InvalidInputError(f"sort: At most {_MAX_SORT_KEYS} fields.", code="sort_invalid")
    names = _sortable_names(fields_of(collection))
    columns: dict[str, sa.ColumnElement[Any]] = {}
    is_descending = False
    for key in keys:
        is_descending, name = key.startswith("-"), key.lstrip("+-")
        if name not in names:
            raise InvalidInputError(
                f"sort: There is no field {name!r} to sort by.",
                hint=f"Fields: {', '.join(names)}.",
                code="sort_invalid",
                errors=[{"field": "sort", "message": "unknown field"}],
            )
        columns.setdefault(name, _directed(table.c[name], is_descending=is_descending))
    for name in ("created", "id"):
        if "id" not in columns:
            columns.setdefault(name, _directed(table.c[name], is_descending=is_descending))
    return list(columns.values())


def to_record(collection: Collection, row: Mapping[Any, Any]) -> Record:
    table = records_table(collection)
    return Record(
        id=row[table.c.id],
        collection=collection.name,
        created=row[table.c.created],
        updated=row[table.c.updated],
        data={field.name: row[table.c[field.name]] for field in fields_of(collection)},
    )


def _sortable_names(fields: tuple[Field, ...]) -> list[str]:
    return ["id", "created", "updated", *(field.name for field in fields if field.type != "json")]


def _directed(column: sa.ColumnElement[Any], *, is_descending: bool) -> sa.ColumnElement[Any]:
    return column.desc() if is_descending else column.asc()
