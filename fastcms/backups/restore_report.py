"""How restores stand: what is prepared, what waits for a restart, how the latest ended, what undo does."""

from datetime import timedelta

from pydantic import BaseModel

from fastcms.backups import restoring
from fastcms.backups.comparison import Count, compare_counts, count_database, count_live, describe_difference
from fastcms.backups.engine.pending import Kind
from fastcms.backups.engine.undo import find_safety_copy
from fastcms.backups.folder import data_paths
from fastcms.backups.job_files import Job, JobKind, JobState, list_jobs
from fastcms.backups.restore_preview import expected_downtime_seconds, seconds_away
from fastcms.backups.restore_schemas import Restore, RestoreState, RestoreStatus, describe_restores
from fastcms.backups.service import describe_backup
from fastcms.database import utc_now
from fastcms.errors import FastCMSError
from fastcms.site import Site

# Afterwards nobody wonders any more what became of it.
_ATTEMPT_IS_NEWS = timedelta(days=1)


class Undo(BaseModel):
    """What an undo would bring back: `then` is what the safety copy holds."""

    counts: list[Count]
    difference: list[str]

    @property
    def is_of_nothing(self) -> bool:
        """Whether there was no site yet: nobody could log in after it."""
        return all(count.then == 0 for count in self.counts)


class RestoreReport(BaseModel):
    """All that the dashboard shows of restores.

    `staging` prepares a restore now. `failed_staging` is the latest attempt to, if it came to nothing.
    `seconds_away` is how long the latest restore kept people out, without the start; `counts` compare what
    its backup held (then) with what is there now.
    """

    status: RestoreStatus
    staging: Job | None
    failed_staging: Job | None
    seconds_away: float | None
    downtime_seconds: int
    counts: list[Count]
    undo: Undo | None
    restores: list[Restore]


def report_restores(site: Site) -> RestoreReport:
    """Look at everything that is known of restores; nothing is changed."""
    status = restoring.restore_status(site)
    restores = describe_restores(restoring.list_restores(site)).items
    latest = (
        restores[0] if restores and status.state not in (RestoreState.PENDING, RestoreState.NONE) else None
    )
    staging = _latest_staging(site)
    is_running = staging is not None and staging.is_running
    return RestoreReport(
        status=status,
        staging=staging if is_running else None,
        failed_staging=None if is_running else _only_if_failed(staging, status),
        seconds_away=round(seconds_away(latest.seconds), 3) if latest else None,
        downtime_seconds=expected_downtime_seconds(site),
        counts=_compare_with_backup(site, latest),
        undo=_describe_undo(site) if status.state is not RestoreState.PENDING else None,
        restores=restores,
    )


def _latest_staging(site: Site) -> Job | None:
    return next((job for job in list_jobs(site) if job.kind is JobKind.RESTORE), None)


def _only_if_failed(job: Job | None, status: RestoreStatus) -> Job | None:
    """A staging that came to nothing, unless something has happened since."""
    if job is None or job.state is JobState.SUCCEEDED or status.state is RestoreState.PENDING:
        return None
    ended = job.finished or job.started
    is_overtaken = status.finished is not None and ended < status.finished
    return None if is_overtaken or utc_now() - ended > _ATTEMPT_IS_NEWS else job


def _compare_with_backup(site: Site, latest: Restore | None) -> list[Count]:
    """What the backup held that the site was restored from, if it is still there, and what is there now."""
    if latest is None or latest.outcome is not RestoreState.RESTORED or latest.kind is not Kind.BACKUP:
        return []
    try:
        then = describe_backup(site, latest.backup_filename).counts
    except FastCMSError:  # deleted or damaged since
        then = None
    return compare_counts(then, count_live(site))


def _describe_undo(site: Site) -> Undo | None:
    safety_copy = find_safety_copy(data_paths(site))
    if safety_copy is None:
        return None
    # One that could not be tidied up has its latest changes in a WAL, which is not counted. An empty one only
    # says that another program had the database open.
    wal = safety_copy.state.wal
    has_changes_apart = wal.exists() and wal.stat().st_size > 0
    then = None if has_changes_apart else count_database(safety_copy.state.database)
    counts = compare_counts(then, count_live(site))
    return Undo(counts=counts, difference=describe_difference(counts))
