"""One table per collection, made and altered at run time in the transaction that changes the collection."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from fastcms.content.fields import Field, FileField, RelationField, fields_adapter, is_indexed
from fastcms.content.models import RECORDS_TABLE_PREFIX, Collection
from fastcms.database import UtcDateTime


class Number(sa.types.UserDefinedType[int | float]):
    """A number that keeps whole numbers whole."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "NUMERIC"


class JsonText(sa.types.TypeDecorator[Any]):
    """JSON as readable text, so that a filter can look for "ä"; null is SQL's NULL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


_TYPES: dict[str, sa.types.TypeEngine[Any]] = {"number": Number(), "bool": sa.Boolean(), "json": JsonText()}


def fields_of(collection: Collection) -> tuple[Field, ...]:
    return fields_adapter.validate_python(collection.fields)


def column_name(field_name: str) -> str:
    """The prefix keeps clear of SQL's and our own words; names that differ only in case are one to SQLite."""
    return f"f_{field_name.lower()}"


def records_table(collection: Collection) -> sa.Table:
    """The table of a collection's records."""
    return _query_table(collection.id, fields_of(collection))


@lru_cache(maxsize=200)  # SQLAlchemy reuses compiled statements only for the very same table
def _query_table(collection_id: str, fields: tuple[Field, ...]) -> sa.Table:
    return _table(collection_id, [_column(field) for field in fields])


def create_table(
    session: Session, collection_id: str, fields: Sequence[Field], targets: Mapping[str, str]
) -> None:
    """Create the table and its indexes. `targets` has the collection id of each relation field's target."""
    table = _table(collection_id, [])
    session.execute(CreateTable(table))
    session.execute(CreateIndex(sa.Index(f"ix_{table.name}_created", table.c.created, table.c.id)))
    # A column with its own REFERENCES can be dropped again; a table's FOREIGN KEY clause would forbid it.
    # https://www.sqlite.org/lang_altertable.html#alter_table_drop_column
    alter_table(session, collection_id, (), fields, targets)


def alter_table(
    session: Session,
    collection_id: str,
    old: Sequence[Field],
    new: Sequence[Field],
    targets: Mapping[str, str],
) -> None:
    """Add, drop and index columns so that the table fits the new fields."""
    from alembic.operations import Operations  # noqa: PLC0415 - slow to import, and seldom needed
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - as above

    operations = Operations(MigrationContext.configure(session.connection()))
    table = _query_table(collection_id, tuple(new))
    before = {column_name(field.name): field for field in old}
    after = {column_name(field.name): field for field in new}
    for name, field in before.items():
        if is_indexed(field) and (name not in after or not is_indexed(after[name])):
            operations.drop_index(_index_name(table, field), table.name)
        if name not in after:
            operations.drop_column(table.name, name)
    for name, field in after.items():
        if name not in before:
            operations.add_column(table.name, _column(field, targets), inline_references=True)
        if is_indexed(field) and (name not in before or not is_indexed(before[name])):
            session.execute(CreateIndex(_index(table, field)))


def drop_table(session: Session, collection: Collection) -> None:
    session.execute(DropTable(records_table(collection)))


def _table(collection_id: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
    return sa.Table(
        f"{RECORDS_TABLE_PREFIX}{collection_id}",
        sa.MetaData(),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        *columns,
    )


def _column(field: Field, targets: Mapping[str, str] | None = None) -> sa.Column[Any]:
    """A field's column; with `targets`, also the foreign key that empties it when its target goes."""
    column: sa.Column[Any] = sa.Column(
        column_name(field.name), _TYPES.get(field.type, sa.Text()), key=field.name
    )
    target = None
    if targets is not None and isinstance(field, FileField):
        target = "files"
    if targets is not None and isinstance(field, RelationField):
        target = f"{RECORDS_TABLE_PREFIX}{targets[field.name]}"
    if target is not None:
        stub = sa.Table(target, sa.MetaData(), sa.Column("id", sa.String))
        column.append_foreign_key(sa.ForeignKey(stub.c.id, ondelete="SET NULL"))
    return column


def _index(table: sa.Table, field: Field) -> sa.Index:
    """The index that serves `=` on a field in the default order, sorting by it, and counting."""
    return sa.Index(_index_name(table, field), table.c[field.name], table.c.created, table.c.id)


def _index_name(table: sa.Table, field: Field) -> str:
    return f"ix_{table.name}_{column_name(field.name)}"
