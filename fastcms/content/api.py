"""Routes of collections and records."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from fastcms.accounts.dependencies import AdminCaller, OptionalCaller, check_scope, get_caller, require
from fastcms.accounts.schemas import Scope
from fastcms.content import service
from fastcms.content.models import Collection
from fastcms.content.schemas import (
    CollectionChanges,
    CollectionPage,
    CollectionResponse,
    NewCollection,
    PageQuery,
    Record,
    RecordInput,
    RecordPage,
    RecordQuery,
)
from fastcms.content.tables import fields_of
from fastcms.web import ReadSession, WriteSession

router = APIRouter()
_collections = APIRouter(prefix="/collections", tags=["collections"])
_records = APIRouter(prefix="/collections/{name}/records", tags=["records"])

_reader = Depends(require(Scope.CONTENT_READ))
_writer = Depends(require(Scope.CONTENT_WRITE))


def _readable_collection(name: str, caller: OptionalCaller, session: ReadSession) -> Collection:
    """The collection, for those who may read it; others do not learn whether it exists."""
    collection = service.get_collection(session, name)
    if collection is None or not collection.is_public:
        check_scope(get_caller(caller), Scope.CONTENT_READ)
    return collection or service.find_collection(session, name)


ReadableCollection = Annotated[Collection, Depends(_readable_collection)]


@_collections.post("", status_code=201)
def create_collection(_caller: AdminCaller, body: NewCollection, session: WriteSession) -> CollectionResponse:
    """Create a collection with typed fields."""
    return _response(service.create_collection(session, body.name, body.fields_, is_public=body.public))


@_collections.get("", dependencies=[_reader])
def list_collections(query: Annotated[PageQuery, Query()], session: ReadSession) -> CollectionPage:
    """List the collections, by name."""
    collections = service.list_collections(session)
    start = (query.page - 1) * query.per_page
    return CollectionPage(
        items=[_response(collection) for collection in collections[start : start + query.per_page]],
        total=len(collections),
        page=query.page,
        per_page=query.per_page,
    )


@_collections.get("/{name}")
def get_collection(collection: Annotated[Collection, Depends(_readable_collection)]) -> CollectionResponse:
    """Get a collection and its fields; a public one needs no token."""
    return _response(collection)


@_collections.patch("/{name}")
def update_collection(
    _caller: AdminCaller, name: str, body: CollectionChanges, session: WriteSession
) -> CollectionResponse:
    """Rename a collection, change its fields, or make it public or private.

    A field that `schema` leaves out is deleted with its values; a new one is empty in existing records.
    """
    collection = service.find_collection(session, name)
    return _response(
        service.update_collection(
            session, collection, name=body.name, fields=body.fields_, is_public=body.public
        )
    )


@_collections.delete("/{name}", status_code=204)
def delete_collection(_caller: AdminCaller, name: str, session: WriteSession) -> None:
    """Delete a collection with all its records."""
    service.delete_collection(session, service.find_collection(session, name))


@_records.post("", status_code=201, dependencies=[_writer])
def create_record(name: str, body: RecordInput, session: WriteSession) -> Record:
    """Create a record."""
    return service.create_record(session, service.find_collection(session, name), body.data)


@_records.get("")
def list_records(
    collection: ReadableCollection, query: Annotated[RecordQuery, Query()], session: ReadSession
) -> RecordPage:
    """List records: filtered, searched, sorted, a page at a time; of a public collection without a token."""
    return service.list_records(session, collection, query)


@_records.get("/{record_id}")
def get_record(collection: ReadableCollection, record_id: str, session: ReadSession) -> Record:
    """Get one record; of a public collection without a token."""
    return service.find_record(session, collection, record_id)


@_records.patch("/{record_id}", dependencies=[_writer])
def update_record(name: str, record_id: str, body: RecordInput, session: WriteSession) -> Record:
    """Change some of a record's fields; the others stay."""
    return service.update_record(session, service.find_collection(session, name), record_id, body.data)


@_records.delete("/{record_id}", status_code=204, dependencies=[_writer])
def delete_record(name: str, record_id: str, session: WriteSession) -> None:
    """Delete a record; relations that point at it become null."""
    service.delete_record(session, service.find_collection(session, name), record_id)


def _response(collection: Collection) -> CollectionResponse:
    return CollectionResponse(
        id=collection.id,
        name=collection.name,
        fields_=fields_of(collection),
        public=collection.is_public,
        created=collection.created,
        updated=collection.updated,
    )


router.include_router(_collections)
router.include_router(_records)
