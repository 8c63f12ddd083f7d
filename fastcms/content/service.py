"""Collections and their records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.orm import Session

from fastcms.content import tables
from fastcms.content.fields import MAX_FIELDS, Field, RelationField
from fastcms.content.filters import allow_text_search
from fastcms.content.models import Collection
from fastcms.content.queries import conditions, order, to_record
from fastcms.content.schemas import CollectionChanges, NewCollection, Record, RecordPage, RecordQuery
from fastcms.content.tables import fields_of, records_table
from fastcms.content.validation import validate_data
from fastcms.database import new_id, utc_now
from fastcms.errors import ConflictError, InvalidInputError, NotFoundError
from fastcms.noting import count_one, note

_Model = TypeVar("_Model", bound=BaseModel)
_NAMES = "Names have up to 64 letters, digits and _ (a collection's also -), and begin with a letter"
_AnyField = Field | Mapping[str, Any]
_LABEL_TYPES = ("text", "email", "select", "url")
_LABEL_LENGTH = 80


def list_collections(session: Session) -> list[Collection]:
    """All collections, by name."""
    return list(session.scalars(sa.select(Collection).order_by(Collection.name)))


def find_collection(session: Session, name: str) -> Collection:
    """The collection of this name, whatever its case.

    Raises: NotFoundError.
    """
    collection = get_collection(session, name)
    if collection is None:
        raise NotFoundError(
            f"There is no collection named {name!r}.",
            hint="`fastcms content list` and GET /api/v1/collections list those there are.",
            code="collection_not_found",
        )
    return collection


def get_collection(session: Session, name: str) -> Collection | None:
    return session.scalar(sa.select(Collection).where(Collection.name == name))


def create_collection(
    session: Session, name: str, fields: Iterable[_AnyField] = (), *, is_public: bool = False
) -> Collection:
    """Create a collection and the table of its records.

    Raises: InvalidInputError; ConflictError when the name is taken.
    """
    new = _checked(NewCollection, name=name, schema=_as_dicts(fields), public=is_public)
    _refuse_taken_name(session, new.name)
    note(name=new.name)
    now = utc_now()
    collection = Collection(
        id=new_id(),
        name=new.name,
        is_public=new.public,
        fields=_as_dicts(new.fields_),
        created=now,
        updated=now,
    )
    session.add(collection)
    session.flush()
    tables.create_table(session, collection.id, new.fields_, _relation_targets(session, new.fields_))
    return collection


def update_collection(
    session: Session,
    collection: Collection,
    *,
    name: str | None = None,
    fields: Iterable[_AnyField] | None = None,
    is_public: bool | None = None,
) -> Collection:
    """Change a collection; what is None stays. `fields` is the whole new list.

    A new field is empty in existing records, also when it is required; a field that is left out is deleted
    with its values. A field keeps its type for good.

    Raises: InvalidInputError; ConflictError when the name is taken, or a type would change.
    """
    changes = _checked(
        CollectionChanges,
        name=name,
        schema=None if fields is None else _as_dicts(fields),
        public=is_public,
    )
    if changes.name is not None and changes.name != collection.name:
        _rename(session, collection, changes.name)
    if changes.fields_ is not None:
        old = fields_of(collection)
        _refuse_changed_types(old, changes.fields_)
        targets = _relation_targets(session, changes.fields_)
        tables.alter_table(session, collection.id, old, changes.fields_, targets)
        collection.fields = _as_dicts(changes.fields_)
    if changes.public is not None:
        collection.is_public = changes.public
    collection.updated = utc_now()
    session.flush()
    return collection


def delete_collection(session: Session, collection: Collection) -> None:
    """Delete a collection with all its records.

    Raises: ConflictError when another collection has a relation to it.
    """
    for other in list_collections(session):
        if other.id != collection.id and _relations_to(other, collection.name):
            raise ConflictError(
                f"The collection {other.name} has a relation to {collection.name}.",
                hint=f"Remove that field of {other.name} first.",
                code="collection_in_use",
            )
    tables.drop_table(session, collection)
    session.delete(collection)
    session.flush()


def list_records(session: Session, collection: Collection, query: RecordQuery | None = None) -> RecordPage:
    """A page of a collection's records.

    Raises: InvalidInputError for a filter or sort that does not fit the collection.
    """
    query = query or RecordQuery()
    table = records_table(collection)
    where = conditions(collection, query)
    ordered = order(collection, query.sort)
    allow_text_search(session.connection())
    total = session.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0
    page = sa.select(table).where(*where).order_by(*ordered)
    rows = session.execute(page.limit(query.per_page).offset((query.page - 1) * query.per_page)).mappings()
    return RecordPage(
        items=[to_record(collection, row) for row in rows],
        total=total,
        page=query.page,
        per_page=query.per_page,
    )


def count_records(session: Session, collection: Collection) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(records_table(collection))) or 0


def find_record(session: Session, collection: Collection, record_id: str) -> Record:
    """One record.

    Raises: NotFoundError.
    """
    table = records_table(collection)
    row = session.execute(sa.select(table).where(table.c.id == record_id)).mappings().first()
    if row is None:
        raise NotFoundError(
            f"There is no record {record_id!r} in {collection.name}.", code="record_not_found"
        )
    return to_record(collection, row)


def create_record(session: Session, collection: Collection, data: Mapping[str, Any]) -> Record:
    """Create a record.

    Raises: InvalidInputError, naming each field that does not fit.
    """
    values = validate_data(session, collection, data)
    now = utc_now()
    record_id = new_id()
    table = records_table(collection)
    session.execute(table.insert().values({"id": record_id, "created": now, "updated": now} | values))
    return _noted(collection, find_record(session, collection, record_id))


def update_record(
    session: Session, collection: Collection, record_id: str, data: Mapping[str, Any]
) -> Record:
    """Change the fields that `data` has; the others stay.

    Raises: NotFoundError; InvalidInputError, naming each field that does not fit.
    """
    current = find_record(session, collection, record_id)
    values = validate_data(session, collection, data, current.data)
    table = records_table(collection)
    session.execute(table.update().where(table.c.id == record_id).values({"updated": utc_now()} | values))
    return _noted(collection, find_record(session, collection, record_id))


def delete_record(session: Session, collection: Collection, record_id: str) -> None:
    """Delete a record; relations that point at it become null.

    Raises: NotFoundError.
    """
    record = find_record(session, collection, record_id)
    table = records_table(collection)
    session.execute(table.delete().where(table.c.id == record_id))
    _noted(collection, record)


def label_of(collection: Collection, record: Record) -> str:
    """What a person calls the record: its first text, or else its id."""
    texts = (record.data[field["name"]] for field in collection.fields if field["type"] in _LABEL_TYPES)
    return next((text[:_LABEL_LENGTH] for text in texts if text), record.id)


def _noted(collection: Collection, record: Record) -> Record:
    note(name=collection.name, record_id=record.id, record=label_of(collection, record))
    count_one("records")
    return record


def _checked(model: type[_Model], **values: Any) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [
            {"field": ".".join(str(part) for part in problem["loc"]), "message": _in_words(problem)}
            for problem in error.errors()
        ]
        message = "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems)
        raise InvalidInputError(message, errors=problems, code="collection_invalid") from error


def _in_words(problem: ErrorDetails) -> str:
    """What pydantic says with a regular expression or the name of a Python type, for people."""
    if problem["type"] == "string_pattern_mismatch":
        return _NAMES
    if problem["type"] == "too_long" and problem["loc"][-1] == "schema":
        return f"A collection has at most {MAX_FIELDS} fields"
    return problem["msg"]


def _as_dicts(fields: Iterable[_AnyField]) -> list[dict[str, Any]]:
    return [
        field.model_dump(mode="json") if isinstance(field, BaseModel) else dict(field) for field in fields
    ]


def _refuse_taken_name(session: Session, name: str) -> None:
    if get_collection(session, name) is not None:
        raise ConflictError(
            f"There is already a collection named {name}.",
            hint="Choose another name.",
            code="collection_exists",
        )


def _refuse_changed_types(old: Sequence[Field], new: Sequence[Field]) -> None:
    before = {field.name.lower(): field for field in old}
    for field in new:
        was = before.get(field.name.lower(), field)
        is_same = was.type == field.type and not (
            isinstance(was, RelationField)
            and isinstance(field, RelationField)
            and was.collection.lower() != field.collection.lower()
        )
        if not is_same:
            raise ConflictError(
                f"The field {field.name} cannot change its type or the collection that it points into.",
                hint="Add a field of another name, copy the values, then remove this one.",
                code="field_type_fixed",
            )


def _relation_targets(session: Session, fields: Sequence[Field]) -> dict[str, str]:
    """Collection ids by the names of the relation fields that point into them."""
    targets = {}
    for number, field in enumerate(fields):
        if not isinstance(field, RelationField):
            continue
        target = get_collection(session, field.collection)
        if target is None:
            names = ", ".join(collection.name for collection in list_collections(session))
            raise InvalidInputError(
                f"{field.name}: There is no collection named {field.collection!r}.",
                hint=f"Collections: {names}.",
                code="collection_invalid",
                errors=[{"field": f"schema.{number}.collection", "message": "there is no such collection"}],
            )
        targets[field.name] = target.id
    return targets


def _relations_to(collection: Collection, name: str) -> list[RelationField]:
    return [
        field
        for field in fields_of(collection)
        if isinstance(field, RelationField) and field.collection.lower() == name.lower()
    ]


def _rename(session: Session, collection: Collection, name: str) -> None:
    """Rename a collection, also in the relations that point into it."""
    if name.lower() != collection.name.lower():
        _refuse_taken_name(session, name)
    for other in list_collections(session):
        pointing = {field.name for field in _relations_to(other, collection.name)}
        if pointing:
            other.fields = [
                field | {"collection": name} if field["name"] in pointing else field for field in other.fields
            ]
    collection.name = name
    session.flush()
