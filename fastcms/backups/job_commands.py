"""`fastcms backup jobs` and its relatives: see and stop long work, whichever process does it."""

from typing import Annotated

import typer
from rich.table import Column, Table

from fastcms.backups.commands import backup_app, progress_bar, site_of
from fastcms.backups.job_files import Job, JobList, JobState, cancel_job, find_job, follow_job, list_jobs
from fastcms.errors import JobNotFoundError
from fastcms.site import Site
from fastcms.terminal import JsonOption, errors_as_exit_codes, output, print_json, who

_STOP_TIMEOUT_SECONDS = 30
_NOT_SUCCEEDED = 1

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, see `fastcms backup jobs`.")]


@backup_app.command("jobs")
def show_jobs(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what runs, here or in a server, and what has ended lately."""
    with errors_as_exit_codes(as_json=as_json):
        jobs = list_jobs(site_of(context))
        if as_json:
            print_json(JobList(items=jobs, total=len(jobs)).model_dump(mode="json"))
            return
        if not jobs:
            output.print("Nothing runs, and nothing has ended lately.")
            return
        table = Table(Column("ID (when, in UTC)", no_wrap=True), "What", "State", "By", box=None)
        for job in jobs:
            table.add_row(job.id, _what(job), _state(job), job.requested_by)
        output.print(table)


@backup_app.command("watch")
def watch_job(
    context: typer.Context,
    job_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="A job's id; without one, the latest that runs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a job that runs elsewhere until it ends; Ctrl+C stops only the watching."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        job = find_job(site, job_id) if job_id else _find_running(site)
        with progress_bar() as show:
            for latest in follow_job(site, job.id):
                job = latest
                show(job)
        if as_json:
            print_json(job.model_dump(mode="json"))
        else:
            output.print(_describe_end(job), markup=False)
        if job.state is not JobState.SUCCEEDED:
            raise typer.Exit(_NOT_SUCCEEDED)


@backup_app.command("stop")
def stop_job(context: typer.Context, job_id: JobId, as_json: JsonOption = False) -> None:
    """Cancel a job, whichever process runs it; nothing of it is left."""
    with errors_as_exit_codes(as_json=as_json):
        job = cancel_job(site_of(context), job_id, who(), timeout_seconds=_STOP_TIMEOUT_SECONDS)
        if as_json:
            print_json(job.model_dump(mode="json"))
        elif job.is_running:
            output.print("It will end soon: watch it with `fastcms backup watch`.")
        else:
            output.print(_describe_end(job), markup=False)


def _find_running(site: Site) -> Job:
    """The latest job that runs. Raises: JobNotFoundError."""
    running = next((job for job in list_jobs(site) if job.is_running), None)
    if running is None:
        raise JobNotFoundError("No job runs.", hint="List what has ended: fastcms backup jobs")
    return running


def _what(job: Job) -> str:
    return f"{job.kind} {job.backup_filename}" if job.backup_filename else job.kind


def _state(job: Job) -> str:
    if job.is_running and job.total_bytes:
        return f"running, {job.done_bytes / job.total_bytes:.0%}"
    return job.state


def _describe_end(job: Job) -> str:
    reason = f" {job.error.detail}" if job.error else ""
    return f"{_what(job)}: {job.state}.{reason}"
