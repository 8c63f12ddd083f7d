"""Jobs on the disk: files that any process may read, while another one does the work.

data/backups/.jobs/ID.json     the job, replaced in one step whenever it changes
                   ID.lock     locked by the process that runs it, for as long as that lives
                   ID.cancel   who wants it to end
"""

import fcntl
import os
import re
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fastcms.backups.folder import data_paths, explained
from fastcms.database import utc_now
from fastcms.durability import partial_path_of, remove, write_durably
from fastcms.errors import JobNotFoundError, JobOverError
from fastcms.locks import FileLock
from fastcms.site import Site

# The time at which it was asked for, to the microsecond: the order of the names is that of the jobs.
_ID = re.compile(r"\d{8}_\d{6}_\d{6}", re.ASCII)
_KEPT = 100
# Beside those: they begin by themselves, and a new destination gets many at once.
_KEPT_COPIES = 50
_KEPT_FOR = timedelta(days=30)
_POLL_SECONDS = 0.1


class JobKind(StrEnum):
    CREATE = "create"
    RESTORE = "restore"
    VERIFY = "verify"
    UPLOAD = "upload"
    FETCH = "fetch"
    COPY = "copy"


class JobState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """Who wanted it: somebody, or the schedule."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"


class JobError(BaseModel):
    """Why a job failed or was cancelled: what the answer would have said."""

    model_config = ConfigDict(extra="allow")

    status: int
    detail: str
    code: str
    hint: str = ""


class Job(BaseModel):
    """Long work, while it runs and after it has ended; times are UTC.

    `result` is what the answer would have been without a job, `error` why there is none. Bytes count what is
    to be done, which may be more than what is written. What is not known yet is null. `place` is where a
    backup is copied to, or comes from.
    """

    id: str
    kind: JobKind
    state: JobState
    trigger: Trigger = Trigger.MANUAL
    requested_by: str
    backup_filename: str | None
    place: str | None = None
    process_id: int
    started: datetime
    finished: datetime | None = None
    phase: str = "starting"
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_second: int | None = None
    seconds_left: int | None = None
    result: dict[str, Any] | None = None
    error: JobError | None = None

    @property
    def is_running(self) -> bool:
        return self.state is JobState.RUNNING


class JobList(BaseModel):
    """The latest jobs, newest first."""

    items: list[Job]
    total: int


def jobs_dir(site: Site) -> Path:
    return data_paths(site).backups_dir / ".jobs"


def job_id_of(started: datetime) -> str:
    return f"{started:%Y%m%d_%H%M%S_%f}"


def lock_of(folder: Path, job_id: str) -> FileLock:
    return FileLock(folder / f"{job_id}.lock")


def list_jobs(site: Site) -> list[Job]:
    """The jobs that are remembered, newest first."""
    folder = jobs_dir(site)
    found = (_read(folder, job_id) for job_id in _find_ids(folder))
    return [job for job in found if job is not None]


def find_job(site: Site, job_id: str) -> Job:
    """The job with this id, as it is now. Raises: JobNotFoundError."""
    job = _read(jobs_dir(site), job_id) if _ID.fullmatch(job_id) else None
    if job is None:
        raise JobNotFoundError(
            f"There is no job {job_id[:100]!r}.", hint="Jobs that ended long ago are forgotten."
        )
    return job


def follow_job(site: Site, job_id: str) -> Generator[Job]:
    """The job as it is now, and whenever it has changed, until it has ended. Raises: JobNotFoundError."""
    shown = None
    while shown is None or shown.is_running:
        job = find_job(site, job_id)
        if job != shown:
            yield job
            shown = job
        time.sleep(_POLL_SECONDS)


def cancel_job(site: Site, job_id: str, cancelled_by: str, *, timeout_seconds: float) -> Job:
    """Ask whoever runs a job to end it, and wait until it has ended, or until the time is over.

    Raises: JobNotFoundError; JobOverError.
    """
    job = find_job(site, job_id)
    if not job.is_running:
        raise JobOverError(f"The job {job_id} has ended already: {job.state}.", hint="Look at its result.")
    with explained("Cancelling the job"):
        write_private(_cancel_path(jobs_dir(site), job_id), cancelled_by.encode())
    deadline = time.monotonic() + timeout_seconds
    while job.is_running and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        job = find_job(site, job_id)
    return job


def read_canceller(folder: Path, job_id: str) -> str | None:
    """Who wants a job to end; None when nobody does."""
    try:
        return _cancel_path(folder, job_id).read_text() or None  # just being written
    except FileNotFoundError:
        return None


def write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)


def replace_job(folder: Path, job: Job) -> None:
    """Show a job's new state to others. On disk: in one step; after a power cut the old state, or none."""
    path = folder / f"{job.id}.json"
    write_private(partial_path_of(path), job.model_dump_json().encode())
    partial_path_of(path).replace(path)


def replace_job_durably(folder: Path, job: Job) -> None:
    write_durably(folder / f"{job.id}.json", job.model_dump_json(indent=2).encode())


def forget_job(folder: Path, job_id: str) -> None:
    for path in [*folder.glob(f"{job_id}.*"), *folder.glob(f".{job_id}.*")]:
        remove(path)


def forget_lock(folder: Path, job_id: str) -> None:
    """Remove what only a running job needs."""
    for path in (lock_of(folder, job_id).path, _cancel_path(folder, job_id)):
        remove(path)


def forget_old_jobs(folder: Path) -> None:
    """Remove all but the latest jobs, and what killed processes left of others; running ones stay."""
    oldest = job_id_of(utc_now() - _KEPT_FOR)
    left = {True: _KEPT_COPIES, False: _KEPT}
    for job_id in _find_ids(folder):
        job = _read(folder, job_id)
        is_copy = job is not None and job.kind is JobKind.COPY
        left[is_copy] -= 1
        if (left[is_copy] < 0 or job_id < oldest) and not _is_locked(lock_of(folder, job_id).path):
            forget_job(folder, job_id)


def _find_ids(folder: Path) -> list[str]:
    """The ids of all jobs that a file is named after, newest first."""
    if not folder.exists():
        return []
    found = {path.name.removeprefix(".").split(".")[0] for path in folder.iterdir()}
    return sorted(filter(_ID.fullmatch, found), reverse=True)


def _read(folder: Path, job_id: str) -> Job | None:
    """A job; one that nobody runs any more has failed. None when there is none, or its file is damaged."""
    path = folder / f"{job_id}.json"
    try:
        job = Job.model_validate_json(path.read_bytes())
        if not job.is_running or _is_locked(lock_of(folder, job_id).path):
            return job
        # It may have ended between the two looks.
        last_written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        job = Job.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return _given_up(job, last_written) if job.is_running else job


def _given_up(job: Job, last_written: datetime) -> Job:
    error = JobError(
        status=500,
        detail=f"Process {job.process_id}, which ran this job, has ended without finishing it.",
        code="job_abandoned",
        hint="It was killed, or the machine stopped. Nothing half-done is left. It may just have finished: "
        "look for the backup, or the staged restore, before you start it again.",
    )
    update = {"state": JobState.FAILED, "finished": last_written, "seconds_left": None, "error": error}
    return job.model_copy(update=update)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _cancel_path(folder: Path, job_id: str) -> Path:
    return folder / f"{job_id}.cancel"
