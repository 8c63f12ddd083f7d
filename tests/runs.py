"""What the history and the jobs have of backups that a test has not made."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from fastcms.backups import history
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import (
    Job,
    JobError,
    JobKind,
    JobState,
    Trigger,
    job_id_of,
    jobs_dir,
    lock_of,
    replace_job,
)
from fastcms.site import Site, make_folders

NO_SPACE = JobError(status=507, detail="The disk is full.", code="not_enough_space", hint="Make space.")


def run_of(started: datetime, state: JobState = JobState.SUCCEEDED, **known: Any) -> Run:
    """A run of the schedule, a backup if nothing else is known; without a reason, the disk was full."""
    values: dict[str, Any] = {
        "kind": RunKind.CREATE,
        "trigger": Trigger.SCHEDULED,
        "requested_by": "schedule",
        "finished": started,
        "error": NO_SPACE if state is JobState.FAILED else None,
    }
    return Run(id=job_id_of(started), state=state, started=started, **values | known)


def add_run(site: Site, started: datetime, state: JobState = JobState.SUCCEEDED, **known: Any) -> Run:
    run = run_of(started, state, **known)
    history.add_run(site, run)
    return run


def job_of(started: datetime, state: JobState = JobState.RUNNING, **known: Any) -> Job:
    """A job, a backup if nothing else is known; nothing works on it."""
    values: dict[str, Any] = {
        "kind": JobKind.CREATE,
        "requested_by": "somebody",
        "backup_filename": None,
        "process_id": 1,
    }
    return Job(id=job_id_of(started), state=state, started=started, **values | known)


@contextmanager
def job_at_work(site: Site, started: datetime, **known: Any) -> Iterator[None]:
    """A job that somebody works on; at the end of the block, they are killed."""
    job, folder = job_of(started, **known), jobs_dir(site)
    make_folders(folder)
    with lock_of(folder, job.id).hold():
        replace_job(folder, job)
        yield
