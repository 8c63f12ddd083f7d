"""Check a record's values against its collection's fields."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from fastcms.content.fields import Field, FileField, RelationField, describe_fields, validate_value
from fastcms.content.models import RECORDS_TABLE_PREFIX, Collection
from fastcms.content.tables import fields_of
from fastcms.errors import InvalidInputError, NotFoundError
from fastcms.media.service import find_file

Problem = dict[str, str]


def validate_data(
    session: Session,
    collection: Collection,
    data: Mapping[str, Any],
    current: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The values to store, one for every field that `data` has.

    `current` has the record's values before a change: a required field must have a value afterwards, given
    now or before.

    Raises: InvalidInputError, naming each field that does not fit.
    """
    fields = fields_of(collection)
    names = {field.name for field in fields}
    problems: list[Problem] = [
        {"field": _printable(name), "message": f"unknown field; there are: {describe_fields(fields)}"}
        for name in data
        if name not in names
    ]
    values: dict[str, Any] = {}
    for field in fields:
        value = data.get(field.name, (current or {}).get(field.name))
        if value is None or value == "":
            if field.required:
                problems.append({"field": field.name, "message": "a value is required"})
            elif value == "" and field.type not in ("text", "editor", "json"):
                problems.append({"field": field.name, "message": "must be null, or left out, to be empty"})
        if field.name in data:
            values[field.name] = None if value is None else _validate(session, field, value, problems)
    if problems:
        message = "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems)
        raise InvalidInputError(message[:2000], errors=problems, code="record_invalid")
    return values


def _validate(session: Session, field: Field, value: Any, problems: list[Problem]) -> Any:
    try:
        value = validate_value(field, value)
    except ValidationError as error:
        if value != "":
            problems += [{"field": field.name, "message": problem["msg"]} for problem in error.errors()]
        return None
    if isinstance(field, FileField | RelationField) and not _exists(session, field, value):
        where = "file" if isinstance(field, FileField) else f"record in {field.collection}"
        problems.append({"field": field.name, "message": f"there is no {where} with the id {value[:64]}"})
    return value


def _exists(session: Session, field: FileField | RelationField, value: str) -> bool:
    if isinstance(field, FileField):
        try:
            find_file(session, value)
        except NotFoundError:
            return False
        return True
    target_id = session.scalar(sa.select(Collection.id).where(Collection.name == field.collection))
    table = sa.table(f"{RECORDS_TABLE_PREFIX}{target_id}", sa.column("id", sa.String))
    return session.scalar(sa.select(table.c.id).where(table.c.id == value)) is not None


def _printable(name: str) -> str:
    return name[:64].encode("utf-8", "backslashreplace").decode()
