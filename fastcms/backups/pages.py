"""The dashboard's page of backups: create, download, restore, delete."""

from datetime import timedelta
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.backups import deletion, jobs, restoring, service, tasks
from fastcms.backups.answers import archive_answer
from fastcms.backups.job_files import cancel_job
from fastcms.database import utc_now
from fastcms.logs import get_logger
from fastcms.pages import (
    Page,
    errors_as_messages,
    get_site,
    get_visitor,
    in_thread,
    page_number,
    see_other,
    show_message,
)

# Afterwards how the latest restore ended is a line, not a banner.
_NEWS = timedelta(days=7)
_NAME = "/{filename}"
_PER_PAGE = 50
_CANCEL_TIMEOUT_SECONDS = 10


class BackupsPage(Page):
    menu_label = "Backups"
    menu_section = "Site"
    icon = "fa-solid fa-box-archive"
    path = "/backups"
    route_name = "backups"

    @route("")
    async def index(self, request: Request) -> Response:
        site = get_site(request)
        backups = await in_thread(service.list_backups, site)
        page_count = max(-(-len(backups) // _PER_PAGE), 1)
        number = min(page_number(request), page_count)  # what was on a last page may have been deleted
        restore = await in_thread(restoring.restore_status, site)
        return self.render(
            request,
            "backups.html",
            backups=backups[(number - 1) * _PER_PAGE : number * _PER_PAGE],
            total=len(backups),
            page_number=number,
            page_count=page_count,
            newest=service.find_newest(backups),
            total_bytes=sum(backup.size_bytes for backup in backups),
            restore=restore,
            is_news=restore.finished is not None and utc_now() - restore.finished < _NEWS,
        )

    @route("/create", methods=["POST"], name="backups-create")
    @errors_as_messages
    async def create(self, request: Request) -> Response:
        site = get_site(request)
        backup = await in_thread(jobs.run, site, tasks.creation(site, get_visitor(request).name))
        if backup.problems:
            show_message(
                request, f"The backup holds what there was, but: {'; '.join(backup.problems)}", "warning"
            )
        return self.done(request, f"Created {backup.filename}.")

    @route(f"{_NAME}/download", methods=["GET", "HEAD"], name="backups-download")
    @errors_as_messages
    async def download(self, request: Request) -> Response:
        """Send the archive; a Range header resumes a download that broke off."""
        backup = await in_thread(service.find_backup, get_site(request), request.path_params["filename"])
        _log(request, "backup downloaded", backup.filename)
        return archive_answer(request, backup)

    @route(f"{_NAME}/delete", methods=["POST"], name="backups-delete")
    @errors_as_messages
    async def delete(self, request: Request) -> Response:
        filename = request.path_params["filename"]
        await in_thread(deletion.delete_backup, get_site(request), filename, get_visitor(request).name)
        _log(request, "backup deleted", filename)
        return self.done(request, f"Deleted {filename}.")

    @route("/jobs/{job_id}/cancel", methods=["POST"], name="backups-cancel-job")
    @errors_as_messages
    async def cancel(self, request: Request) -> Response:
        job_id, visitor = request.path_params["job_id"], get_visitor(request)
        cancel = partial(cancel_job, timeout_seconds=_CANCEL_TIMEOUT_SECONDS)
        await in_thread(cancel, get_site(request), job_id, visitor.name)
        get_logger().info("job cancelled", job=job_id, by=visitor.name)
        return see_other(f"{self.url(request)}?job={job_id}")


def _log(request: Request, event: str, filename: str) -> None:
    get_logger().info(event, backup=filename, by=get_visitor(request).name)
