"""The dashboard's page of one backup that a destination keeps: fetch it, verify it, restore it from there."""

from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts.api import client_address
from fastcms.accounts.schemas import Caller
from fastcms.accounts.service import confirm_password
from fastcms.backups import elsewhere, jobs, receiving, tasks
from fastcms.backups.fetching import Source
from fastcms.backups.job_files import Job
from fastcms.backups.origin import Origin
from fastcms.backups.service import require_typed_name
from fastcms.backups.sources import open_readable
from fastcms.backups.stored import filename_of
from fastcms.backups.stored_rows import find_row
from fastcms.errors import BackupNotFoundError, FastCMSError, StoreError
from fastcms.pages import (
    Page,
    errors_as_messages,
    form_text,
    get_site,
    get_visitor,
    in_thread,
    in_waiting_thread,
    in_words,
    read_form,
    see_other,
    show_message,
)
from fastcms.site import Site

_ONE = "/{destination_id}/backups/{object_name}"


class StoredBackupPage(Page):
    """A backup that is kept elsewhere. Each form may bring the key to decrypt it with; it is kept nowhere."""

    path = "/backups/destinations"
    route_name = "backup-stored-page"

    @route(_ONE, name="backup-stored")
    @errors_as_messages
    async def index(self, request: Request) -> Response:
        site, (destination_id, object_name) = get_site(request), _named(request)
        state = await in_thread(elsewhere.show_destination, site, destination_id)
        try:
            row = await in_waiting_thread(find_row, site, destination_id, object_name)
        except (BackupNotFoundError, StoreError) as error:
            show_message(request, in_words(error), "error")
            return see_other(self.url(request, f"/{destination_id}"))
        return self.render(
            request,
            "destination_backup.html",
            title=object_name,
            state=state,
            row=row,
            here=self.url(request, f"/{destination_id}/backups/{object_name}"),
            destination_url=self.url(request, f"/{destination_id}"),
        )

    @route(f"{_ONE}/fetch", methods=["POST"], name="backup-stored-fetch")
    async def fetch(self, request: Request) -> Response:
        return await self._start(request, tasks.fetching_of)

    @route(f"{_ONE}/verify", methods=["POST"], name="backup-stored-verify")
    async def verify(self, request: Request) -> Response:
        return await self._start(request, tasks.verifying_stored)

    @route(f"{_ONE}/restore", methods=["POST"], name="backup-stored-restore")
    async def restore(self, request: Request) -> Response:
        """Fetch it and prepare its restore, in one job; the page of restores shows how far that is."""
        caller, address = cast("Caller", get_visitor(request)), client_address(request)
        password = str((await read_form(request)).get("password") or "")
        site, typed_name = get_site(request), await form_text(request, "confirm")

        def approve(filename: str) -> Origin | None:
            return receiving.require_password(site, filename, caller, password, address)

        def task_of(site: Site, source: Source, object_name: str, name: str) -> jobs.Task[Any]:
            require_typed_name(filename_of(object_name), typed_name)
            if not source.knows(object_name):  # `approve` would say so after all of it was fetched
                confirm_password(site, caller, password, address)
            return tasks.staging_of_fetched(site, source, object_name, name, approve=approve)

        return await self._start(request, task_of, "admin:backup-restore-status")

    async def _start(
        self, request: Request, task_of: Any, then: str = "admin:backup-destination"
    ) -> Response:
        """Begin, and go to where it is shown; what is refused at once is said where it was asked for."""
        site, (destination_id, object_name) = get_site(request), _named(request)
        identity, name = await form_text(request, "identity"), get_visitor(request).name

        def begin() -> Job:
            source = open_readable(site, destination_id, object_name, identity, "What was typed as the key")
            return jobs.start(site, task_of(site, source, object_name, name))

        try:
            job = await in_waiting_thread(begin)
        except FastCMSError as error:
            show_message(request, in_words(error), "error")
            return see_other(self.url(request, f"/{destination_id}/backups/{object_name}"))
        if then == "admin:backup-destination":
            return see_other(f"{self.url(request, f'/{destination_id}')}?job={job.id}")
        return see_other(str(request.url_for(then)))


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["destination_id"], request.path_params["object_name"]
