"""What a server does by itself: the backup and the verification that are due, and what belongs to them.

Of a server's workers, and of commands beside it, one acts at a time. An attempt is counted before it begins,
so a process that is killed leaves a schedule that goes on, and a job that the next round finds abandoned.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from fastcms.backups import (
    alarms,
    backup_notes,
    history,
    jobs,
    notifications,
    pruning,
    schedule,
    service,
    tasks,
)
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.copy_workers import keep_copying
from fastcms.backups.copying import copy_missing
from fastcms.backups.delivery import HeartbeatSignal
from fastcms.backups.folder import data_paths
from fastcms.backups.history import Run, RunKind
from fastcms.backups.history_file import mend_history
from fastcms.backups.job_files import Job, JobState, Trigger, list_jobs
from fastcms.backups.schedule import Duty
from fastcms.database import format_utc, utc_now
from fastcms.errors import BackupBusyError, BackupError, FastCMSError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.site import Site
from fastcms.stopping import default_signals

_TICK_SECONDS = 20.0
_SECONDS_BETWEEN_ROUNDS = 60.0
# Many sites on one machine, or behind one disk, have the same schedule.
_JITTER_SECONDS = 60.0
_BY = "schedule"
_Step = Callable[[Site], list[Run]]


@contextmanager
def keeping_up(site: Site) -> Iterator[None]:
    """Look in the background for what is due, for as long as the server runs; then cancel what is at work.

    Alarms have a thread of their own: they are raised while a backup takes hours, and when none can be made.
    So has copying, which may take days and keeps nobody waiting.
    """
    began = utc_now()

    def do_what_is_due(site: Site) -> None:
        _wait_a_little(site, began)
        _do_round(site, _ROUND)

    threads = [
        threading.Thread(target=_keep_doing, args=[site, work], name=work.__name__, daemon=True)
        for work in (do_what_is_due, alarms.raise_alarms)
    ]
    threads.append(threading.Thread(target=keep_copying, args=[site], name="keep_copying", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        site.stopping.set()
        with default_signals():  # as in `startup`: a second Ctrl+C does not wait
            for thread in threads:
                thread.join()


def run_due(site: Site) -> list[Run]:
    """Do one round of what is due, then look for alarms: all that a server does by itself.

    Raises: what `_do_round` raises.
    """
    return _do_round(site, (*_ROUND, _raise_alarms))


def _do_round(site: Site, steps: Sequence[_Step]) -> list[Run]:
    """Take some steps, and give back what was done or tried.

    A step that fails stops no other; a backup that fails is no error of the round.
    Raises: BackupBusyError while another process is at it; FastCMSError, after all steps, for the first one
    that could not be done.
    """
    runs: list[Run] = []
    errors: list[FastCMSError] = []
    lock = FileLock(data_paths(site).backups_dir / ".upkeep_lock")
    with lock.hold(purpose="doing what is due", timeout_seconds=0):
        for step in steps:
            if site.stopping.is_set():
                break
            try:
                runs += step(site)
            except FastCMSError as error:
                errors.append(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next step is tried
                get_logger().error("Unexpected error", exc_info=error)
                errors.append(BackupError("Not all that is due was done.", hint="The log says why."))
    if errors:
        raise errors[0]
    return runs


def copy_and_run_due(site: Site) -> list[Run]:
    """Copy what is missing elsewhere, which may take days, and do meanwhile what becomes due.

    Raises: FastCMSError for what could not be done of that; the copy ends then.
    """
    runs: list[Run] = []
    with ThreadPoolExecutor(1) as worker:
        copying = worker.submit(copy_missing, site)
        try:
            while wait([copying], _SECONDS_BETWEEN_ROUNDS).not_done:
                with suppress(BackupBusyError):
                    runs += run_due(site)
        except BaseException:
            site.stopping.set()  # nobody waits for the copy any more
            raise
        return runs + copying.result()


def _keep_doing(site: Site, work: Callable[[Site], None]) -> None:
    told = ""
    while not site.stopping.wait(_TICK_SECONDS):
        try:
            work(site)
            told = ""
        except BackupBusyError:  # another worker, or a command, is at it
            pass
        except FastCMSError as error:
            if error.message != told:  # not three times a minute
                get_logger().error(error.message, code=error.code, hint=error.hint)
            told = error.message
        except Exception as error:  # noqa: BLE001 - the next round may succeed
            get_logger().error("Unexpected error", exc_info=error)


def _wait_a_little(site: Site, began: datetime) -> None:
    """Begin a backup that is due at its time, not one that is caught up after the start, a while later."""
    due = None
    with suppress(FastCMSError):  # `run_due` says so
        due = schedule.find_due(site, Duty.BACKUP, utc_now())
    if due is not None and due > began:
        # Where there is a backup every few minutes, none is left out.
        tenths = [(later - due).total_seconds() / 10 for later in schedule.next_runs(site, 1, due)]
        site.stopping.wait(random.uniform(0, min([_JITTER_SECONDS, *tenths])))  # noqa: S311 - no secret


def _mend_history(site: Site) -> list[Run]:
    mend_history(site)
    return []


def _note_ended_jobs(site: Site) -> list[Run]:
    """Put into history what its own process could not: the jobs of killed ones."""
    ended = [job for job in list_jobs(site) if not job.is_running]
    if ended:
        known = {run.id for run in history.list_runs(site, since=ended[-1].started)}
        for job in ended:
            if job.id not in known:
                history.add_run(site, history.run_of(job))
    return []


def _back_up(site: Site) -> list[Run]:
    """Make the backup that is due and verify it lightly; what is superfluous then is removed."""
    if not schedule.begin(site, Duty.BACKUP, utc_now()):
        return []

    def tell_of_start() -> None:
        notifications.heartbeat(site, HeartbeatSignal.START)

    created = _do(site, tasks.creation(site, _BY, Trigger.SCHEDULED), tell_of_start)
    try:
        _settle(site, Duty.BACKUP, created)
    finally:
        _tell_of_end(site, created)
    if created is None or created.state is not JobState.SUCCEEDED or created.backup_filename is None:
        return [created] if created else []
    verified = _verify(site, created.backup_filename, VerificationLevel.LIGHT)
    pruned = None
    # Older backups stay while the new one is in doubt.
    if not site.stopping.is_set() and (verified is None or verified.state is JobState.SUCCEEDED):
        pruned = _prune(site)
    return [run for run in (created, verified, pruned) if run is not None]


def _tell_of_end(site: Site, created: Run | None) -> None:
    if created is not None and created.state is JobState.SUCCEEDED:
        notifications.heartbeat(site, HeartbeatSignal.SUCCESS, created.backup_filename or "")
    elif created is not None and not site.stopping.is_set():  # else the next start makes it
        notifications.heartbeat(site, HeartbeatSignal.FAIL, created.error.detail if created.error else "")


def _verify_newest(site: Site) -> list[Run]:
    """Restore the newest backup of this site into a scratch folder, if that is due."""
    if not schedule.begin(site, Duty.VERIFICATION, utc_now()):
        return []
    newest = service.find_newest(service.list_backups(site))
    if newest is None:
        schedule.succeed(site, Duty.VERIFICATION)
        return []
    verified = _verify(site, newest.filename, VerificationLevel.FULL)
    if verified is not None and _has_verdict(site, verified):
        schedule.succeed(site, Duty.VERIFICATION)
    else:
        _settle(site, Duty.VERIFICATION, verified)
    return [verified] if verified else []


def _verify(site: Site, filename: str, level: VerificationLevel) -> Run | None:
    return _do(site, tasks.verifying(site, filename, _BY, level=level, trigger=Trigger.SCHEDULED))


def _has_verdict(site: Site, run: Run) -> bool:
    """Whether a verification has come to an end: that a backup is damaged is one, too."""
    noted = backup_notes.read_notes(site, run.backup_filename).get(run.backup_filename or "")
    return noted is not None and noted.verified is not None and noted.verified >= format_utc(run.started)


def _prune(site: Site) -> Run | None:
    """Remove what is superfluous; None when that was nothing, or somebody else is at work: the next time."""
    try:
        pruned = pruning.prune(site, _BY, Trigger.SCHEDULED)
    except BackupBusyError as busy:
        get_logger().info(busy.message)
        return None
    except FastCMSError as error:  # what was made before is there all the same
        get_logger().error(error.message, hint=error.hint)
        return None
    return history.latest_pruning(site) if pruned.removed or pruned.failed else None


# A server looks for alarms in a thread of its own, see `keeping_up`.
_ROUND = (_mend_history, _note_ended_jobs, _back_up, _verify_newest)


def _raise_alarms(site: Site) -> list[Run]:
    alarms.raise_alarms(site)
    return []


def _do(site: Site, task: jobs.Task[Any], on_begin: Callable[[], None] = lambda: None) -> Run | None:
    """Run a task as a job, and keep in history also what was refused.

    None when somebody else is at work, or the server stops: what begins then would only be cancelled.
    """
    if site.stopping.is_set():
        return None
    started, latest = utc_now(), None

    def watch(job: Job) -> None:
        nonlocal latest
        if latest is None:
            on_begin()
        latest = job

    result, error = None, None
    try:
        result = jobs.run(site, task, watch)
    except BackupBusyError as busy:
        get_logger().info(busy.message)
        return None
    except Exception as raised:  # noqa: BLE001 - whatever it is, the run says so
        error = raised
        if not isinstance(error, FastCMSError):
            get_logger().error("Unexpected error", exc_info=error)
    if latest is not None:
        return history.run_of(latest)
    return history.note_done(
        site,
        RunKind(task.kind),
        started,
        task.requested_by,
        trigger=task.trigger,
        error=jobs.describe_error(error) if error else None,
        backup_filename=getattr(result, "filename", task.backup_filename),
    )


def _settle(site: Site, duty: Duty, run: Run | None) -> None:
    if run is None or (run.state is JobState.CANCELLED and site.stopping.is_set()):
        schedule.withdraw(site, duty)
    elif run.state is JobState.SUCCEEDED:
        schedule.succeed(site, duty)
    else:
        schedule.fail(site, duty, utc_now())
