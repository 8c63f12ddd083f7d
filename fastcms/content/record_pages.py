"""The dashboard's pages of a collection's records."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette_admin import BaseModelView
from starlette_admin.exceptions import ActionFailed, FormValidationError
from starlette_admin.filters.base import FilterGroup

from fastcms.accounts.schemas import Scope
from fastcms.content import service
from fastcms.content.fields import FileField, RelationField
from fastcms.content.models import Collection
from fastcms.content.record_filters import filters_for, write_filter
from fastcms.content.record_forms import changed_values, form_fields, record_data, records_key
from fastcms.content.schemas import MAX_SEARCH_LENGTH, Record, RecordQuery
from fastcms.content.tables import fields_of
from fastcms.errors import FastCMSError, InvalidInputError, NotFoundError
from fastcms.media import service as media
from fastcms.media.content_types import is_inline
from fastcms.pages import get_visitor, in_read, in_words, in_write

_MOST_PER_QUERY = 500
_LAST_PAGE = 10**12


@dataclass(frozen=True)
class PickedFile:
    """A file as lists and forms show it."""

    id: str
    filename: str
    url: str
    is_picture: bool

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "filename": self.filename, "url": self.url, "is_picture": self.is_picture}


@dataclass(frozen=True)
class Row:
    """A record as the dashboard shows it; `values` has its files and relations looked up."""

    label: str
    values: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.values["id"])

    def __admin_repr__(self, _request: Request) -> str:
        return self.label


class RecordsView(BaseModelView):
    """Lists and edits the records of one collection; made anew for each request."""

    pk_attr = "id"
    icon = "fa-solid fa-table-list"
    page_size = 25
    search_highlight = False
    fields_default_sort = (("created", True),)
    list_template = "records_list.html"
    detail_template = "records_detail.html"
    create_template = "records_create.html"
    edit_template = "records_edit.html"

    def __init__(self, collection: Collection, find_view: Callable[[str | None], BaseModelView]) -> None:
        self.collection = collection
        self.collection_fields = fields_of(collection)
        self.key = records_key(collection.name)
        self.menu_label = collection.name
        self.display_name = "record"
        self.fields = form_fields(self.collection_fields)
        self.sortable_fields = [
            "created",
            "updated",
            *(field.name for field in self.collection_fields if field.type != "json"),
        ]
        self._find_foreign_view = find_view
        self._totals: dict[tuple[str, str], int] = {}
        super().__init__()

    def is_accessible(self, request: Request) -> bool:
        return get_visitor(request).may(Scope.CONTENT_READ)

    def can_create(self, request: Request) -> bool:
        return get_visitor(request).may(Scope.CONTENT_WRITE)

    can_edit = can_delete = can_import = can_create

    async def find_all(  # noqa: PLR0917 - starlette-admin's signature
        self,
        request: Request,
        skip: int = 0,
        limit: int = 100,
        q: str | None = None,
        sorts: Sequence[tuple[str, str]] | None = None,
        filters: FilterGroup | None = None,
    ) -> Sequence[Row]:
        query = self._query(q, sorts, filters)
        return await in_read(request, self._list, query, skip, limit)

    async def count(self, request: Request, q: str | None = None, filters: FilterGroup | None = None) -> int:
        query = self._query(q, None, filters)
        if (query.filter, query.search) not in self._totals:  # else the list has counted already
            await in_read(request, self._list, query, 0, 1)
        return self._totals[query.filter, query.search]

    async def find_by_pk(self, request: Request, pk: Any) -> Row | None:
        found = await in_read(request, self._find, [str(pk)])
        return found[0] if found else None

    async def find_by_pks(self, request: Request, pks: list[Any]) -> Sequence[Row]:
        return await in_read(request, self._find, [str(pk) for pk in pks])

    async def create(self, request: Request, data: dict[str, Any]) -> Row:
        values = record_data(self.collection_fields, data)
        with _errors_beside_fields():
            return await in_write(request, self._create, values)

    async def edit(self, request: Request, pk: Any, data: dict[str, Any]) -> Row:
        values = record_data(self.collection_fields, data)
        with _errors_beside_fields():
            return await in_write(request, self._update, str(pk), values)

    async def delete(self, request: Request, pks: list[Any]) -> int:
        try:
            await in_write(request, self._delete, [str(pk) for pk in pks])
        except FastCMSError as error:
            raise ActionFailed(in_words(error)) from error
        return len(pks)

    def _query(
        self, q: str | None, sorts: Sequence[tuple[str, str]] | None, filters: FilterGroup | None
    ) -> RecordQuery:
        known = {field.name: filters_for(field) for field in self.collection_fields}
        order = ",".join(f"{'-' if direction == 'desc' else ''}{name}" for name, direction in sorts or ())
        # Not validated here: the service refuses what is too long with an error for people.
        return RecordQuery.model_construct(
            sort=order or "-created",
            filter=write_filter(filters, known),
            search=(q or "")[:MAX_SEARCH_LENGTH],
        )

    def _list(self, session: Session, query: RecordQuery, skip: int, limit: int) -> list[Row]:
        """One page of rows; all rows when `limit` is negative, as an export asks."""
        per_page = limit if limit > 0 else _MOST_PER_QUERY
        number = min(skip // per_page + 1, _LAST_PAGE)
        found: list[Record] = []
        while True:
            page = query.model_copy(update={"page": number, "per_page": per_page})
            answer = service.list_records(session, self.collection, page)
            self._totals[query.filter, query.search] = answer.total
            found += answer.items
            number += 1
            if limit >= 0 or not answer.items:
                return _as_rows(session, self.collection, found)

    def _find(self, session: Session, pks: list[str]) -> list[Row]:
        found = [record for pk in pks if (record := _find_record(session, self.collection, pk)) is not None]
        return _as_rows(session, self.collection, found)

    def _create(self, session: Session, values: dict[str, Any]) -> Row:
        record = service.create_record(session, self.collection, values)
        return _as_rows(session, self.collection, [record])[0]

    def _update(self, session: Session, pk: str, values: dict[str, Any]) -> Row:
        current = service.find_record(session, self.collection, pk).data
        changes = changed_values(self.collection_fields, current, values)
        record = service.update_record(session, self.collection, pk, changes)
        return _as_rows(session, self.collection, [record])[0]

    def _delete(self, session: Session, pks: list[str]) -> None:
        for pk in pks:
            service.delete_record(session, self.collection, pk)


def _find_record(session: Session, collection: Collection, record_id: str) -> Record | None:
    try:
        return service.find_record(session, collection, record_id)
    except NotFoundError:
        return None


def _as_rows(session: Session, collection: Collection, records: list[Record]) -> list[Row]:
    """Rows whose files and relations are looked up, each once."""
    references: list[tuple[str, Callable[[str], Any]]] = []
    for field in fields_of(collection):
        if isinstance(field, FileField):
            references.append((field.name, cache(partial(_picked_file, session))))
        elif isinstance(field, RelationField):
            target = service.find_collection(session, field.collection)
            references.append((field.name, cache(partial(_related_row, session, target))))
    rows = []
    for record in records:
        values = dict(record.data)
        for name, look_up in references:
            values[name] = look_up(values[name]) if values[name] else None
        rows.append(_row(collection, record, values))
    return rows


def _row(collection: Collection, record: Record, values: dict[str, Any]) -> Row:
    own = {"id": record.id, "created": record.created, "updated": record.updated}
    return Row(label=service.label_of(collection, record), values=values | own)


def _related_row(session: Session, target: Collection, record_id: str) -> Row | None:
    record = _find_record(session, target, record_id)
    if record is None:
        return None
    # What it points at itself is not looked up.
    references = {field.name for field in fields_of(target) if isinstance(field, FileField | RelationField)}
    return _row(target, record, {k: None if k in references else v for k, v in record.data.items()})


def _picked_file(session: Session, file_id: str) -> PickedFile | None:
    try:
        file = media.find_file(session, file_id)
    except NotFoundError:
        return None
    is_picture = file.content_type.startswith("image/") and is_inline(file.content_type)
    return PickedFile(file.id, file.filename, media.file_url(file), is_picture)


@contextmanager
def _errors_beside_fields() -> Iterator[None]:
    """Show what is wrong with a value beside its input."""
    try:
        yield
    except InvalidInputError as error:
        raise FormValidationError(
            {problem["field"]: problem["message"] for problem in error.errors}
        ) from error
