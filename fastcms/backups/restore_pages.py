"""The dashboard's pages of one restore: from looking at the backup to how it ended."""

from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts.api import client_address
from fastcms.accounts.schemas import Caller
from fastcms.backups import jobs, receiving, restoring, service, tasks
from fastcms.backups.creation import RESTORE_REFUSED
from fastcms.errors import PermissionDeniedError
from fastcms.logs import get_logger
from fastcms.pages import (
    Page,
    errors_as_messages,
    get_site,
    get_visitor,
    in_thread,
    read_form,
    see_other,
    show_message,
)

_NAME = "/{filename}"


class RestorePage(Page):
    path = "/backups"
    route_name = "backup-restore"

    @route("/restore", name="backup-restore-status")
    async def index(self, request: Request) -> Response:
        return see_other(self.url(request))

    @route(f"{_NAME}/restore", methods=["GET"], name="backups-restore")
    @errors_as_messages
    async def confirm_restore(self, request: Request) -> Response:
        site, filename = get_site(request), request.path_params["filename"]
        problems = (await in_thread(service.describe_backup, site, filename)).problems
        return self.render(
            request,
            "backup_restore.html",
            title="Restore a backup",
            backup=await in_thread(service.find_backup, site, filename),
            origin=await in_thread(receiving.find_origin, site, filename),
            problems=problems,
            is_refused=any(problem.startswith(RESTORE_REFUSED) for problem in problems),
        )

    @route(f"{_NAME}/restore", methods=["POST"], name="backups-stage")
    @errors_as_messages
    async def stage_restore(self, request: Request) -> Response:
        site, filename = get_site(request), request.path_params["filename"]
        visitor = cast("Caller", get_visitor(request))
        password = str((await read_form(request)).get("password") or "")
        try:
            approved = await in_thread(
                receiving.require_password, site, filename, visitor, password, client_address(request)
            )
        except PermissionDeniedError as error:  # the password is missing or wrong: the page asks again
            show_message(request, error.message, "error")
            return see_other(self.url(request, f"/{filename}/restore"))
        task = tasks.staging(site, filename, visitor.name, approved=approved)
        pending = await in_thread(jobs.run, site, task)
        return self.done(request, f"{pending.backup_filename} is checked and ready to be restored.")

    @route("/restore/cancel", methods=["POST"], name="backups-cancel")
    @errors_as_messages
    async def cancel_restore(self, request: Request) -> Response:
        pending = await in_thread(restoring.cancel_restore, get_site(request))
        _log(request, "restore cancelled", pending.backup_filename)
        return self.done(request, "Cancelled. The site stays as it is.")

    @route("/restore/undo", methods=["POST"], name="backups-undo")
    @errors_as_messages
    async def stage_undo(self, request: Request) -> Response:
        pending = await in_thread(restoring.stage_undo, get_site(request), get_visitor(request).name)
        _log(request, "undo staged", pending.backup_filename)
        return self.done(request, "The way back is checked and ready.")

    @route("/restore/discard", methods=["POST"], name="backups-discard")
    @errors_as_messages
    async def discard_safety_copy(self, request: Request) -> Response:
        safety_copy = await in_thread(restoring.discard_safety_copy, get_site(request))
        _log(request, "safety copy discarded", safety_copy.state.database.name)
        return self.done(request, "Deleted. The latest restore cannot be undone any more.")


def _log(request: Request, event: str, filename: str) -> None:
    get_logger().info(event, backup=filename, by=get_visitor(request).name)
