"""The dashboard's page of backups: whether the site is safe, the list, and what can be done with each."""

from collections.abc import Container
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.backups import jobs, loss, pinning, restoring, service, tasks
from fastcms.backups.answers import archive_answer
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.days import list_days
from fastcms.backups.elsewhere import list_states, mark_copies
from fastcms.backups.folder import try_to_see
from fastcms.backups.job_files import Job, JobKind, cancel_job, list_jobs
from fastcms.backups.job_words import phases_of
from fastcms.backups.listing import Shown, list_rows, verdict_of
from fastcms.backups.overview import look_over
from fastcms.backups.set_again import see_what_to_set_again
from fastcms.backups.trends import find_trends
from fastcms.backups.whereabouts import AtPlace, look_for_copies
from fastcms.errors import InvalidInputError, NameNotTypedError
from fastcms.logs import get_logger
from fastcms.pages import (
    Page,
    errors_as_messages,
    form_text,
    get_site,
    get_visitor,
    in_thread,
    in_words,
    page_number,
    see_other,
    show_message,
)
from fastcms.site import Site

_NAME = "/{filename}"
_CANCEL_TIMEOUT_SECONDS = 10


class BackupsPage(Page):
    menu_label = "Backups"
    menu_section = "Site"
    icon = "fa-solid fa-box-archive"
    path = "/backups"
    route_name = "backups"

    @route("")
    async def index(self, request: Request) -> Response:
        shown, job_id = _shown_of(request), request.query_params.get("job", "")
        found = await in_thread(_look, get_site(request), shown, page_number(request), job_id)
        return self.render(
            request,
            "backups.html",
            verdict_of=verdict_of,
            upload_phases=phases_of(JobKind.UPLOAD),
            has_key=get_site(request).settings.backup_identity is not None,
            done=self.url(request),
            **found,
        )

    @route("/jobs", name="backups-jobs")
    async def show_jobs(self, request: Request) -> Response:
        """What runs: a piece that the page asks for often; `with=safety` when that may have changed."""
        site = get_site(request)
        found = await in_thread(_look_at_jobs, site)
        if request.query_params.get("with") == "safety":
            found |= {"overview": await in_thread(look_over, site)}
        assert self.templates is not None  # noqa: S101 - set when the page is registered
        # Not `render`: the messages that are waiting are for the next page.
        return self.templates.TemplateResponse(
            request, "_jobs.html", found | {"page": self, "done": self.url(request), "is_piece": True}
        )

    @route("/copies", name="backups-copies")
    async def show_copies(self, request: Request) -> Response:
        """Where the named backups are: a piece that the page asks for when copies come or go."""
        names = frozenset(request.query_params.getlist("of"))
        found = await in_thread(_look_at_copies, get_site(request), names)
        assert self.templates is not None  # noqa: S101 - set when the page is registered
        return self.templates.TemplateResponse(request, "_copies.html", {"copies": found})

    @route("/create", methods=["POST"], name="backups-create")
    @errors_as_messages
    async def create(self, request: Request) -> Response:
        return await self._start(request, tasks.creation(get_site(request), get_visitor(request).name))

    @route(f"{_NAME}/verify", methods=["POST"], name="backups-verify")
    @errors_as_messages
    async def verify(self, request: Request) -> Response:
        try:
            level = VerificationLevel(await form_text(request, "level") or VerificationLevel.FULL)
        except ValueError as error:
            raise InvalidInputError("A verification is light or full.") from error
        filename, name = request.path_params["filename"], get_visitor(request).name
        return await self._start(request, tasks.verifying(get_site(request), filename, name, level=level))

    @route("/jobs/{job_id}/cancel", methods=["POST"], name="backups-cancel-job")
    @errors_as_messages
    async def cancel(self, request: Request) -> Response:
        job_id, visitor = request.path_params["job_id"], get_visitor(request)
        cancel = partial(cancel_job, timeout_seconds=_CANCEL_TIMEOUT_SECONDS)
        await in_thread(cancel, get_site(request), job_id, visitor.name)
        get_logger().info("job cancelled", job=job_id, by=visitor.name)
        return see_other(f"{self.url(request)}?job={job_id}")

    @route(f"{_NAME}/pin", methods=["POST"], name="backups-pin")
    @errors_as_messages
    async def pin(self, request: Request) -> Response:
        filename, name = request.path_params["filename"], get_visitor(request).name
        await in_thread(pinning.pin, get_site(request), filename, name)
        get_logger().info("backup pinned", backup=filename, by=name)
        return self.done(request, f"Pinned {filename}: it stays until it is unpinned.")

    @route(f"{_NAME}/unpin", methods=["POST"], name="backups-unpin")
    @errors_as_messages
    async def unpin(self, request: Request) -> Response:
        filename = request.path_params["filename"]
        await in_thread(pinning.unpin, get_site(request), filename)
        get_logger().info("backup unpinned", backup=filename, by=get_visitor(request).name)
        return self.done(request, f"Unpinned {filename}: the policy decides about it again.")

    @route(f"{_NAME}/download", methods=["GET", "HEAD"], name="backups-download")
    @errors_as_messages
    async def download(self, request: Request) -> Response:
        """Send the archive; a Range header resumes a download that broke off."""
        backup = await in_thread(service.find_backup, get_site(request), request.path_params["filename"])
        get_logger().info("backup downloaded", backup=backup.filename, by=get_visitor(request).name)
        return archive_answer(request, backup)

    @route(f"{_NAME}/delete", methods=["GET"], name="backups-delete")
    @errors_as_messages
    async def show_loss(self, request: Request) -> Response:
        found = await in_thread(loss.describe_loss, get_site(request), request.path_params["filename"])
        return self.render(request, "backup_delete.html", title="Delete a backup", loss=found)

    @route(f"{_NAME}/delete", methods=["POST"], name="backups-delete-confirmed")
    @errors_as_messages
    async def delete(self, request: Request) -> Response:
        filename, name = request.path_params["filename"], get_visitor(request).name
        typed_name = await form_text(request, "confirm")
        try:
            await in_thread(loss.delete_confirmed, get_site(request), filename, name, typed_name)
        except NameNotTypedError as error:
            show_message(request, in_words(error), "error")
            return see_other(self.url(request, f"/{filename}/delete"))
        get_logger().info("backup deleted", backup=filename, by=name)
        return self.done(request, f"Deleted {filename}.")

    async def _start(self, request: Request, task: jobs.Task[Any]) -> Response:
        """Begin long work, and go back to the page at once, which shows how far it is and how it ends."""
        job = await in_thread(jobs.start, get_site(request), task)
        return see_other(f"{self.url(request)}?job={job.id}")


def _shown_of(request: Request) -> Shown:
    try:
        return Shown(request.query_params.get("show", ""))
    except ValueError:
        return Shown.ALL


def _look(site: Site, shown: Shown, page: int, job_id: str) -> dict[str, Any]:
    """All that the page shows; each thing is looked up once."""
    found = _look_at_jobs(site)
    restore = try_to_see(restoring.restore_status, site)
    safety_copy = restore.safety_copy if restore else None
    backups = try_to_see(service.list_backups, site)
    listing = list_rows(site, backups or [], found["jobs"], safety_copy, shown=shown, page=page)
    overview = look_over(site, backups)
    elsewhere = overview.status.elsewhere
    return found | {
        "overview": overview,
        "listing": listing,
        "copies": look_for_copies(site, [row.backup for row in listing.rows if row.backup], found["running"]),
        "are_copied": elsewhere is not None and bool(elsewhere.destinations),
        "is_readable": backups is not None,
        "backup_count": len(backups or []),
        "total_bytes": sum(backup.size_bytes for backup in backups or []),
        "restore": restore,
        "to_set_again": see_what_to_set_again(site),
        "days": try_to_see(list_days, site, backups=backups),
        "trends": try_to_see(find_trends, site, backups=backups),
        "ended_job": next((job for job in found["jobs"] if job.id == job_id and not job.is_running), None),
    }


def _look_at_copies(site: Site, names: Container[str]) -> dict[str, list[AtPlace]]:
    backups = try_to_see(service.list_backups, site) or []
    wanted = [backup for backup in backups if backup.filename in names]
    return look_for_copies(site, wanted, _look_at_jobs(site)["running"])


def _look_at_jobs(site: Site) -> dict[str, Any]:
    found: list[Job] = try_to_see(list_jobs, site) or []
    ended = [job for job in found if not job.is_running]
    return {
        "jobs": found,
        "running": [job for job in found if job.is_running],
        # Copies begin by themselves: they are shown beside the backups, and nobody is told of each.
        "latest_ended": next((job.id for job in ended if job.kind is not JobKind.COPY), ""),
        "copies_mark": mark_copies(try_to_see(list_states, site) or []),
    }
