"""The dashboard's pages of restores: from looking at a backup to how it ended, and back again."""

from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms import restarting
from fastcms.accounts.api import client_address
from fastcms.accounts.schemas import Caller
from fastcms.backups import jobs, receiving, restoring, tasks
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.job_files import JobKind, list_jobs
from fastcms.backups.restore_preview import expected_downtime_seconds, obstacle_of, preview_restore
from fastcms.backups.restore_report import report_restores
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.service import find_backup, require_typed_name
from fastcms.backups.set_again import see_what_to_set_again
from fastcms.backups.whereabouts import look_for_copies
from fastcms.errors import ArchiveError, FastCMSError, NoPendingRestoreError
from fastcms.logs import get_logger
from fastcms.pages import (
    Page,
    errors_as_messages,
    form_text,
    get_site,
    get_visitor,
    in_thread,
    in_words,
    read_form,
    see_other,
    show_message,
)
from fastcms.site import Site

_STATUS_ROUTE = "admin:backup-restore-status"


class RestorePage(Page):
    """One backup: what restoring it would mean, and the form that asks for it."""

    path = "/backups"
    route_name = "backup-restore"

    @route("/{filename}/restore", methods=["GET"], name="backups-restore")
    @errors_as_messages
    async def index(self, request: Request) -> Response:
        site, filename = get_site(request), request.path_params["filename"]
        backup = await in_thread(find_backup, site, filename)
        timezone = (await in_thread(read_settings, site)).timezone
        places = (await in_thread(look_for_copies, site, [backup]))[filename]
        found: dict[str, Any] = {"preview": None, "origin": None, "timezone": timezone, "places": places}
        try:
            found["preview"] = await in_thread(preview_restore, site, filename)
            found["origin"] = await in_thread(receiving.find_origin, site, filename)
            found["obstacles"] = found["preview"].obstacles
        except ArchiveError as error:
            found["obstacles"] = [obstacle_of(error)]
        return self.render(request, "backup_restore.html", title="Restore a backup", backup=backup, **found)

    @route("/{filename}/restore", methods=["POST"], name="backups-stage")
    async def stage_restore(self, request: Request) -> Response:
        site, filename = get_site(request), request.path_params["filename"]
        visitor = cast("Caller", get_visitor(request))
        status_url = str(request.url_for(_STATUS_ROUTE))
        if await in_thread(_is_being_staged, site, filename):  # a double click, or a second window
            return see_other(status_url)
        password = str((await read_form(request)).get("password") or "")
        try:
            require_typed_name(filename, await form_text(request, "confirm"))
            approved = await in_thread(
                receiving.require_password, site, filename, visitor, password, client_address(request)
            )
            await in_thread(jobs.start, site, tasks.staging(site, filename, visitor.name, approved=approved))
        except FastCMSError as error:
            # Of a missing password, the hint is for programs.
            show_message(
                request, in_words(error) if error.code != "password_required" else error.message, "error"
            )
            return see_other(self.url(request, f"/{filename}/restore"))
        return see_other(status_url)


class RestoreStatusPage(Page):
    """All restores: what is prepared, what waits for a restart, how they ended, and what can be undone."""

    path = "/backups/restore"
    route_name = "backup-restore-status"

    @route("")
    async def index(self, request: Request) -> Response:
        return self._show(
            request,
            "restore_status.html",
            report=await in_thread(report_restores, get_site(request)),
            to_set_again=await in_thread(see_what_to_set_again, get_site(request)),
        )

    @route("/cancel", methods=["POST"], name="backups-cancel")
    @errors_as_messages
    async def cancel_restore(self, request: Request) -> Response:
        pending = await in_thread(restoring.cancel_restore, get_site(request))
        _log(request, "restore cancelled", pending.backup_filename)
        return self.done(request, "Cancelled. The site stays as it is.")

    @route("/undo", methods=["POST"], name="backups-undo")
    @errors_as_messages
    async def stage_undo(self, request: Request) -> Response:
        pending = await in_thread(restoring.stage_undo, get_site(request), get_visitor(request).name)
        _log(request, "undo staged", pending.backup_filename)
        return see_other(self.url(request))

    @route("/discard", methods=["POST"], name="backups-discard")
    @errors_as_messages
    async def discard_safety_copy(self, request: Request) -> Response:
        safety_copy = await in_thread(restoring.discard_safety_copy, get_site(request))
        _log(request, "safety copy discarded", safety_copy.state.database.name)
        return self.done(request, "Deleted. The latest restore cannot be undone any more.")

    @route("/restart", methods=["POST"], name="backups-restart")
    @errors_as_messages
    async def restart(self, request: Request) -> Response:
        """Restart the server, once: a form that is sent again after the restart finds nothing to complete."""
        site = get_site(request)
        status = await in_thread(restoring.restore_status, site)
        if status.state is not RestoreState.PENDING:
            raise NoPendingRestoreError(
                "Nothing waits for a restart any more.",
                hint="Somebody has cancelled the restore, or the server was restarted already.",
            )
        downtime_seconds = await in_thread(expected_downtime_seconds, site)
        restarting.restart(site, get_visitor(request).name)
        return self._show(request, "restore_waiting.html", restore=status, downtime_seconds=downtime_seconds)

    def _show(self, request: Request, template: str, **context: Any) -> Response:
        site = get_site(request)
        return self.render(
            request,
            template,
            title="Restore",
            can_restart=restarting.can_restart(site),
            advice=restarting.advise(site),
            server_id=restarting.server_id(),
            **context,
        )


def _is_being_staged(site: Site, filename: str) -> bool:
    return any(
        job.is_running and job.kind is JobKind.RESTORE and job.backup_filename == filename
        for job in list_jobs(site)
    )


def _log(request: Request, event: str, filename: str) -> None:
    get_logger().info(event, backup=filename, by=get_visitor(request).name)
