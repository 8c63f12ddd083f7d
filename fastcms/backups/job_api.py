"""Routes of jobs, and how other routes answer with one.

Who may start a kind of work may see and cancel its jobs; backups:read sees all.
"""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any
from urllib.request import parse_http_list

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse

from fastcms.accounts.dependencies import CurrentCaller, check_scope
from fastcms.accounts.schemas import Caller, Scope
from fastcms.backups import jobs
from fastcms.backups.job_files import Job, JobKind, JobList, cancel_job, find_job, list_jobs
from fastcms.errors import JobNotFoundError
from fastcms.logs import get_logger
from fastcms.web import CurrentSite

router = APIRouter(prefix="/jobs")

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": Job,
        "description": "With `Prefer: respond-async`: the work goes on as a job",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where the job is"},
            "Preference-Applied": {"schema": {"type": "string"}},
        },
    }
}
_SECONDS_BETWEEN_LOOKS = 0.2
_CANCEL_TIMEOUT_SECONDS = 10
# What starting each kind of work needs.
_SCOPES = {
    JobKind.CREATE: Scope.BACKUPS_CREATE,
    JobKind.VERIFY: Scope.BACKUPS_CREATE,
    JobKind.RESTORE: Scope.ADMIN,
    JobKind.UPLOAD: Scope.ADMIN,
    JobKind.FETCH: Scope.ADMIN,
    JobKind.COPY: Scope.ADMIN,
}
# Whom an uploaded archive would let in is for admins, as in `api.show_backup`.
_FOR_ADMINS = ("admins", "admin_tokens")


def prefers_job(
    prefer: Annotated[
        list[str] | None, Header(description="`respond-async`: answer with a job instead of waiting.")
    ] = None,
) -> bool:
    """Whether the client would rather not wait. Source: https://www.rfc-editor.org/rfc/rfc7240#section-4.1."""
    preferences = parse_http_list(", ".join(prefer or []))
    names = (preference.partition(";")[0].partition("=")[0] for preference in preferences)
    return "respond-async" in (name.strip().lower() for name in names)


def get_answering(
    request: Request, site: CurrentSite, wants_job: Annotated[bool, Depends(prefers_job)]
) -> Callable[[jobs.Task[Any]], Any]:
    """How to answer a request that starts long work: with its result, or at once with its job."""

    def answer(task: jobs.Task[Any]) -> Any:
        if not wants_job:
            return task.describe(jobs.run(site, task))
        job = jobs.start(site, task)
        path = request.app.url_path_for("show_job", job_id=job.id)
        headers = {
            "Location": f"{request.scope['root_path']}{path}",
            "Preference-Applied": "respond-async",
        }
        return JSONResponse(job.model_dump(mode="json"), 202, headers)

    return answer


Answering = Annotated[Callable[[jobs.Task[Any]], Any], Depends(get_answering)]


def _may_see(caller: Caller, kind: JobKind) -> bool:
    return caller.may(Scope.BACKUPS_READ) or caller.may(_SCOPES[kind])


def get_watcher(caller: CurrentCaller) -> Caller:
    if not any(_may_see(caller, kind) for kind in JobKind):
        check_scope(caller, Scope.BACKUPS_READ)
    return caller


Watcher = Annotated[Caller, Depends(get_watcher)]


def find_visible_job(site: CurrentSite, job_id: str, caller: Watcher) -> Job:
    job = find_job(site, job_id)
    if not _may_see(caller, job.kind):
        check_scope(caller, Scope.BACKUPS_READ)
    return _as_seen_by(caller, job)


def _as_seen_by(caller: Caller, job: Job) -> Job:
    if caller.may(Scope.ADMIN) or job.result is None:
        return job
    hidden = {name: None for name in _FOR_ADMINS if name in job.result}
    return job.model_copy(update={"result": job.result | hidden})


@router.get("")
def list_all_jobs(site: CurrentSite, caller: Watcher) -> JobList:
    """List what runs, and what has ended lately, newest first."""
    items = [_as_seen_by(caller, job) for job in list_jobs(site) if _may_see(caller, job.kind)]
    return JobList(items=items, total=len(items))


@router.get("/{job_id}")
def show_job(job: Annotated[Job, Depends(find_visible_job)]) -> Job:
    """How far a job is, or how it has ended."""
    return job


@router.delete("/{job_id}")
def stop_job(site: CurrentSite, job: Annotated[Job, Depends(find_visible_job)], caller: Watcher) -> Job:
    """Cancel a job; nothing of it is left. One that needs long to end is still shown as running."""
    check_scope(caller, _SCOPES[job.kind])
    ended = cancel_job(site, job.id, caller.name, timeout_seconds=_CANCEL_TIMEOUT_SECONDS)
    get_logger().info("job cancelled", job=job.id, kind=job.kind, state=ended.state, by=caller.name)
    return _as_seen_by(caller, ended)


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def follow_job(
    site: CurrentSite, job: Annotated[Job, Depends(find_visible_job)], caller: Watcher
) -> AsyncIterator[Job]:
    """Follow a job as server-sent events: each holds the whole job. The stream ends with the job."""
    yield job
    while job.is_running and not site.stopping.is_set():
        await anyio.sleep(_SECONDS_BETWEEN_LOOKS)
        try:
            latest = _as_seen_by(caller, await to_thread.run_sync(find_job, site, job.id))
        except JobNotFoundError:
            return
        if latest != job:
            job = latest
            yield job
