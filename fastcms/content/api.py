"""Routes of collections and records."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session

from fastcms.accounts.dependencies import AdminCaller, OptionalCaller, check_scope, get_caller, require
from fastcms.accounts.schemas import Caller, Scope
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
from fastcms.web import CurrentSite

router = APIRouter()
_collections = APIRouter(prefix="/collections", tags=["collections"])
_records = APIRouter(prefix="/collections/{name}/records", tags=["records"])

_reader = Depends(require(Scope.CONTENT_READ))
_writer = Depends(require(Scope.CONTENT_WRITE))


def _readable_collection(session: Session, name: str, caller: Caller | None) -> Collection:
    """The collection, for those who may read it; others do not learn whether it exists."""
    collection = service.get_collection(session, name)
    if collection is None or not collection.is_public:
        check_scope(get_caller(caller), Scope.CONTENT_READ)
    return collection or service.find_collection(session, name)


@_collections.post("", status_code=201)
def create_collection(_caller: AdminCaller, body: NewCollection, site: CurrentSite) -> CollectionResponse:
    """Create a collection with typed fields."""
    with site.database.write() as session:
        return _response(service.create_collection(session, body.name, body.fields_, is_public=body.public))


@_collections.get("", dependencies=[_reader])
def list_collections(query: Annotated[PageQuery, Query()], site: CurrentSite) -> CollectionPage:
    """List the collections, by name."""
    with site.database.read() as session:
        collections = service.list_collections(session)
    start = (query.page - 1) * query.per_page
    return CollectionPage(
        items=[_response(collection) for collection in collections[start : start + query.per_page]],
        total=len(collections),
        page=query.page,
        per_page=query.per_page,
    )


@_collections.get("/{name}")
def get_collection(name: str, caller: OptionalCaller, site: CurrentSite) -> CollectionResponse:
    """Get a collection and its fields; a public one needs no token."""
    with site.database.read() as session:
        return _response(_readable_collection(session, name, caller))


@_collections.patch("/{name}")
def update_collection(
    _caller: AdminCaller, name: str, body: CollectionChanges, site: CurrentSite
) -> CollectionResponse:
    """Rename a collection, change its fields, or make it public or private.

    A field that `schema` leaves out is deleted with its values; a new one is empty in existing records.
    """
    with site.database.write() as session:
        collection = service.find_collection(session, name)
        return _response(
            service.update_collection(
                session, collection, name=body.name, fields=body.fields_, is_public=body.public
            )
        )


@_collections.delete("/{name}", status_code=204)
def delete_collection(_caller: AdminCaller, name: str, site: CurrentSite) -> None:
    """Delete a collection with all its records."""
    with site.database.write() as session:
        service.delete_collection(session, service.find_collection(session, name))


@_records.post("", status_code=201, dependencies=[_writer])
def create_record(name: str, body: RecordInput, site: CurrentSite) -> Record:
    """Create a record."""
    with site.database.write() as session:
        return service.create_record(session, service.find_collection(session, name), body.data)


@_records.get("")
def list_records(
    name: str, caller: OptionalCaller, query: Annotated[RecordQuery, Query()], site: CurrentSite
) -> RecordPage:
    """List records: filtered, searched, sorted, a page at a time; of a public collection without a token."""
    with site.database.read() as session:
        return service.list_records(session, _readable_collection(session, name, caller), query)


@_records.get("/{record_id}")
def get_record(name: str, caller: OptionalCaller, record_id: str, site: CurrentSite) -> Record:
    """Get one record; of a public collection without a token."""
    with site.database.read() as session:
        return service.find_record(session, _readable_collection(session, name, caller), record_id)


@_records.patch("/{record_id}", dependencies=[_writer])
def update_record(name: str, record_id: str, body: RecordInput, site: CurrentSite) -> Record:
    """Change some of a record's fields; the others stay."""
    with site.database.write() as session:
        return service.update_record(session, service.find_collection(session, name), record_id, body.data)


@_records.delete("/{record_id}", status_code=204, dependencies=[_writer])
def delete_record(name: str, record_id: str, site: CurrentSite) -> None:
    """Delete a record; relations that point at it become null."""
    with site.database.write() as session:
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
