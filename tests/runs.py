"""What the history has of backups that a test has not made."""

from datetime import datetime
from typing import Any

from fastcms.backups import history
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import JobError, JobState, Trigger, job_id_of
from fastcms.site import Site

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
