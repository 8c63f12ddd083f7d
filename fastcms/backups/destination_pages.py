"""The dashboard's pages of destinations: where backups are copied to, how that goes, and one place more."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.backups import elsewhere
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.destination_forms import SECRETS, Kind, read_new, shown_values
from fastcms.backups.destinations import find_address
from fastcms.backups.elsewhere import DestinationState
from fastcms.backups.folder import try_to_see
from fastcms.backups.job_files import list_jobs
from fastcms.backups.own_folders import ON_SAME_DISK, is_on_same_disk
from fastcms.backups.stored_rows import list_page
from fastcms.backups.stores.addresses import parse_address
from fastcms.backups.whereabouts import label_places
from fastcms.errors import FastCMSError, StoreError
from fastcms.noting import note
from fastcms.pages import (
    Page,
    errors_as_messages,
    get_site,
    get_visitor,
    in_thread,
    in_waiting_thread,
    in_words,
    page_number,
    read_form,
    see_other,
    show_message,
)
from fastcms.site import Site

_ONE = "/{destination_id}"


class DestinationsPage(Page):
    """`/backups/destinations`, and one of them below it, by its id."""

    path = "/backups/destinations"
    route_name = "backup-destinations"

    @route("")
    async def index(self, request: Request) -> Response:
        found = await in_thread(_look_at_all, get_site(request))
        return self.render(
            request, "destinations.html", title="Destinations", keys_url=_keys_url(request), **found
        )

    @route(_ONE, name="backup-destination")
    @errors_as_messages
    async def show_one(self, request: Request) -> Response:
        destination_id = request.path_params["destination_id"]
        is_asked = request.query_params.get("stored") == "yes"  # for browsers without scripts
        found = await in_thread(
            _look_at_one, get_site(request), destination_id, request.query_params.get("job", "")
        )
        if is_asked:
            found |= await in_waiting_thread(
                _list_stored, get_site(request), destination_id, page_number(request)
            )
        return self.render(
            request,
            "destination.html",
            title="Destination",
            here=self.url(request, f"/{destination_id}"),
            keys_url=_keys_url(request),
            is_asked=is_asked,
            **found,
        )

    @route(f"{_ONE}/stored", name="backup-destination-stored")
    async def show_stored(self, request: Request) -> Response:
        """What a destination keeps, asked now: a piece that the page gets when it is there already."""
        destination_id = request.path_params["destination_id"]
        found = await in_waiting_thread(_list_stored, get_site(request), destination_id, page_number(request))
        assert self.templates is not None  # noqa: S101 - set when the page is registered
        # Not `render`: the messages that are waiting are for the next page.
        context = found | {"page": self, "here": self.url(request, f"/{destination_id}")}
        return self.templates.TemplateResponse(request, "_stored_list.html", context)

    @route(f"{_ONE}/test", methods=["POST"], name="backup-destination-test")
    @errors_as_messages
    async def test(self, request: Request) -> Response:
        destination_id = request.path_params["destination_id"]
        try:
            tested = await in_waiting_thread(elsewhere.try_destination, get_site(request), destination_id)
        except StoreError as error:
            show_message(request, f"The test failed. {in_words(error)}", "error")
            return see_other(self.url(request, f"/{destination_id}"))
        works = await in_thread(_describe_works, get_site(request), tested.place)
        return self.done(request, works, f"/{destination_id}")

    @route(f"{_ONE}/change", name="backup-destination-change")
    @errors_as_messages
    async def show_form(self, request: Request) -> Response:
        destination_id = request.path_params["destination_id"]
        address = await in_thread(find_address, get_site(request), destination_id)
        return _render_form(
            self, request, Kind(address.scheme), shown_values(address), destination_id=destination_id
        )

    @route(f"{_ONE}/change", methods=["POST"], name="backup-destination-save")
    @errors_as_messages
    async def change(self, request: Request) -> Response:
        """Try it with what was typed, and use that if it works; where it is stays as it was."""
        site, destination_id = get_site(request), request.path_params["destination_id"]
        address = await in_thread(find_address, site, destination_id)
        kind, name = Kind(address.scheme), get_visitor(request).name
        sent = await _sent(request)
        try:
            new = read_new(kind, sent)
            state = await in_waiting_thread(elsewhere.try_and_change, site, destination_id, *new, name)
        except FastCMSError as error:
            return _render_form(self, request, kind, sent, destination_id=destination_id, error=error)
        works = await in_thread(_describe_works, site, state.place)
        return self.done(request, f"Changed. {works}", f"/{destination_id}")

    @route(f"{_ONE}/remove", methods=["POST"], name="backup-destination-remove")
    @errors_as_messages
    async def remove(self, request: Request) -> Response:
        destination_id, name = request.path_params["destination_id"], get_visitor(request).name
        removed = await in_thread(elsewhere.remove_destination, get_site(request), destination_id, name)
        return self.done(request, f"Nothing is copied to {removed.place} any more. What is there stays.")


class NewDestinationPage(Page):
    """The form that adds a destination; which kind, the address says."""

    path = "/backups/destinations/new"
    route_name = "backup-destinations-new-page"

    @route("", name="backup-destinations-new")
    async def index(self, request: Request) -> Response:
        kind = _kind_of(request.query_params.get("kind", ""))
        return _render_form(self, request, kind, {}, is_encrypted=await _is_encrypted(request))

    @route("", methods=["POST"], name="backup-destinations-add")
    async def add(self, request: Request) -> Response:
        """Try a place, and add it if it works; else the form comes back as it was typed, without secrets."""
        sent = await _sent(request)
        kind, name = _kind_of(sent.get("kind", "")), get_visitor(request).name
        is_encrypted = await _is_encrypted(request)
        try:
            address, credentials = read_new(kind, sent, must_choose=not is_encrypted)
            state = await in_waiting_thread(
                elsewhere.try_and_add, get_site(request), address, credentials, name
            )
        except FastCMSError as error:
            return _render_form(self, request, kind, sent, error=error, is_encrypted=is_encrypted)
        works = await in_thread(_describe_works, get_site(request), state.place)
        show_message(request, f"Added. {works} Copying begins within a minute.", "success")
        return see_other(str(request.url_for("admin:backup-destination", destination_id=state.id)))


def _render_form(
    page: Page,
    request: Request,
    kind: Kind,
    values: Mapping[str, str],
    *,
    destination_id: str = "",
    error: FastCMSError | None = None,
    is_encrypted: bool = False,
) -> Response:
    """The form of a destination, new or with this id; what is secret never comes back.

    A new one asks how copies are to leave the machine, unless that `is_encrypted` already.
    """
    if error is not None:
        note(refusal=error.message)
    return page.render(
        request,
        "destination_new.html",
        status=422 if error else 200,  # of a 502, proxies would show a page of their own
        title="Change a destination" if destination_id else "Add a destination",
        destination_id=destination_id,
        is_encrypted=is_encrypted,
        keys_url=_keys_url(request),
        kind=kind,
        kinds=list(Kind),
        values={name: value for name, value in values.items() if name not in SECRETS},
        error=error,
        problems={one["field"]: one["message"] for one in getattr(error, "errors", [])},
    )


async def _sent(request: Request) -> dict[str, str]:
    form = await read_form(request)
    return {name: value.strip() for name, value in form.items() if isinstance(value, str)}


async def _is_encrypted(request: Request) -> bool:
    return bool((await in_thread(read_settings, get_site(request))).encrypt_to)


def _keys_url(request: Request) -> str:
    return str(request.url_for("admin", path="/backups/keys"))


def _describe_works(site: Site, place: str) -> str:
    works = f"{place} takes backups, lists them, and gives them back."
    return f"{works} {ON_SAME_DISK}" if is_on_same_disk(site, parse_address(place)) else works


def _kind_of(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        return Kind.S3


def _look_at_all(site: Site) -> dict[str, Any]:
    found = elsewhere.list_all(site)
    return {
        "states": found.items,
        "labels": label_places(state.place for state in found.items),
        "problem": found.problem,
        "is_encrypted": bool(read_settings(site).encrypt_to),
        "kinds": list(Kind),
    }


def _look_at_one(site: Site, destination_id: str, job_id: str) -> dict[str, Any]:
    """What is known of a destination without asking it. Raises: NotFoundError; BackupError."""
    state: DestinationState = elsewhere.show_destination(site, destination_id)
    found = [job for job in try_to_see(list_jobs, site) or [] if job.place == state.place]
    return {
        "state": state,
        "running": [job for job in found if job.is_running],
        "ended_job": next((job for job in found if job.id == job_id and not job.is_running), None),
        "is_encrypted": bool(read_settings(site).encrypt_to),
    }


def _list_stored(site: Site, destination_id: str, page: int) -> dict[str, Any]:
    """What is there, or why that cannot be seen."""
    try:
        return {"stored": list_page(site, destination_id, page), "error": None}
    except FastCMSError as error:
        return {"stored": None, "error": error}
