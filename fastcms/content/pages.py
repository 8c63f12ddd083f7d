"""The dashboard's pages of collections: which there are, and their fields."""

import re
from typing import Any

from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts.schemas import Scope
from fastcms.content import service
from fastcms.content.models import Collection
from fastcms.content.record_forms import records_key
from fastcms.database import format_utc
from fastcms.errors import ConflictError, FastCMSError, status_of
from fastcms.pages import (
    Page,
    errors_as_messages,
    form_text,
    in_read,
    in_words,
    in_write,
    read_form,
    require_scope,
)

FIELD_TYPES = {
    "text": "Short text",
    "editor": "Long text",
    "number": "Number",
    "bool": "Yes or no",
    "date": "Date",
    "email": "Email address",
    "url": "Web address",
    "select": "One of a list",
    "file": "File or picture",
    "relation": "Record of a collection",
    "json": "JSON",
}
_FIELD_INPUT = re.compile(r"field-(\d{1,4})-name")


class CollectionsPage(Page):
    menu_label = "Collections"
    menu_section = "Content"
    icon = "fa-solid fa-cubes"
    path = "/collections"
    route_name = "collections"
    scope = Scope.CONTENT_READ

    @route("")
    async def index(self, request: Request) -> Response:
        found = await in_read(request, _with_counts)
        return self.render(request, "collections.html", collections=found, records_key=records_key)

    @route("/create", name="collections-create")
    async def new(self, request: Request) -> Response:
        require_scope(request, Scope.ADMIN)
        return await self._form(request, {"name": "", "is_public": False, "fields": [_NEW_FIELD]})

    @route("/create", methods=["POST"], name="collections-save-new")
    async def create(self, request: Request) -> Response:
        require_scope(request, Scope.ADMIN)
        sent = _read_form(await read_form(request))
        try:
            made = await in_write(
                request, service.create_collection, sent["name"], sent["fields"], is_public=sent["is_public"]
            )
        except FastCMSError as error:
            return await self._form(request, sent, error=error)
        return self.done(request, f"Created {made.name}.")

    @route("/{name}/edit", name="collections-edit")
    async def edit(self, request: Request) -> Response:
        require_scope(request, Scope.ADMIN)
        found = await in_read(request, service.find_collection, request.path_params["name"])
        shown = {
            "name": found.name,
            "is_public": found.is_public,
            "fields": _fields_shown(found),
            "updated": format_utc(found.updated),
        }
        return await self._form(request, shown, collection=found)

    @route("/{name}/edit", methods=["POST"], name="collections-save")
    async def save(self, request: Request) -> Response:
        require_scope(request, Scope.ADMIN)
        name = request.path_params["name"]
        found = await in_read(request, service.find_collection, name)
        form = await read_form(request)
        sent = _read_form(form, found) | {"updated": _text(form, "updated")}
        try:
            saved = await in_write(request, _update, name, sent)
        except FastCMSError as error:
            return await self._form(request, sent, collection=found, error=error)
        return self.done(request, f"Saved {saved}.")

    @route("/delete", methods=["POST"], name="collections-delete")
    @errors_as_messages
    async def delete(self, request: Request) -> Response:
        require_scope(request, Scope.ADMIN)
        name = await form_text(request, "name")
        await in_write(request, _delete, name)
        return self.done(request, f"Deleted {name} with its records.")

    async def _form(
        self,
        request: Request,
        shown: dict[str, Any],
        *,
        collection: Collection | None = None,
        error: FastCMSError | None = None,
    ) -> Response:
        return self.render(
            request,
            "collection_form.html",
            status=200 if error is None else status_of(error)[0],
            title=f"Edit {collection.name}" if collection else "New collection",
            shown=shown,
            collection=collection,
            error=in_words(error) if error else "",
            types=FIELD_TYPES,
            known=[other.name for other in await in_read(request, service.list_collections)],
        )


_NEW_FIELD: dict[str, Any] = {"name": "", "type": "text", "required": False, "is_new": True}


def _with_counts(session: Session) -> list[tuple[Collection, int]]:
    return [(found, service.count_records(session, found)) for found in service.list_collections(session)]


def _update(session: Session, name: str, sent: dict[str, Any]) -> str:
    collection = service.find_collection(session, name)
    if sent["updated"] != format_utc(collection.updated):
        # A field that somebody added since is not in this form: saving it would delete the field.
        raise ConflictError(
            f"Nothing was saved: {collection.name} was changed meanwhile.",
            hint="Open its form anew and make your changes there.",
            code="collection_changed",
        )
    changed = service.update_collection(
        session,
        collection,
        name=sent["name"],
        fields=[{key: value for key, value in field.items() if key != "is_new"} for field in sent["fields"]],
        is_public=sent["is_public"],
    )
    return changed.name


def _delete(session: Session, name: str) -> None:
    service.delete_collection(session, service.find_collection(session, name))


def _fields_shown(collection: Collection) -> list[dict[str, Any]]:
    return [dict(field) for field in collection.fields]


def _read_form(form: FormData, collection: Collection | None = None) -> dict[str, Any]:
    """The collection as its form was sent; what the form does not show stays as it is."""
    known = {field["name"]: field for field in (collection.fields if collection else [])}
    numbers = sorted({int(match[1]) for key in form if (match := _FIELD_INPUT.fullmatch(key))})
    fields = [_read_field(form, f"field-{number}-", known) for number in numbers]
    return {
        "name": _text(form, "name"),
        "is_public": "is_public" in form,
        "fields": [field for field in fields if field["name"]],
    }


def _read_field(form: FormData, prefix: str, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name = _text(form, f"{prefix}name")
    field = dict(known.get(name, {})) | {
        "name": name,
        "type": _text(form, f"{prefix}type"),
        "required": f"{prefix}required" in form,
    }
    if field["type"] == "select":
        lines = _text(form, f"{prefix}values").splitlines()
        field["values"] = [line.strip() for line in lines if line.strip()]
    if field["type"] == "relation":
        field["collection"] = _text(form, f"{prefix}collection")
    return field


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""
