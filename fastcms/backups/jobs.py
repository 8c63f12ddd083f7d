"""Run long work as a job: others see how far it is and can cancel it, from any process of this machine.

A job begins with the first thing that its work tells of: until then the work looks whether it can be done at
all, and what is refused is no job. When it ends, its state is durable; see `job_files`.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from fastcms import errors
from fastcms.backups import history
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.folder import explained
from fastcms.backups.job_files import (
    Job,
    JobError,
    JobKind,
    JobState,
    Trigger,
    forget_job,
    forget_lock,
    forget_old_jobs,
    job_id_of,
    jobs_dir,
    lock_of,
    read_canceller,
    replace_job,
    replace_job_durably,
)
from fastcms.database import utc_now
from fastcms.errors import FastCMSError, JobCancelledError
from fastcms.logs import get_logger
from fastcms.site import Site, make_folders

Result = TypeVar("Result")

_SECONDS_BETWEEN = 0.2
_SPEED_WINDOW_SECONDS = 10
# Of less, nothing can be told: the first bytes may come in a rush, or late.
_SPEED_LEAST_SECONDS = 1
# So long whoever starts a job waits to hear that it has begun, or was refused.
_PATIENCE_SECONDS = 2
# So long a server that stops waits for its jobs. What is left waits for another machine; it ends with the
# process, as if that were killed.
_GOODBYE_SECONDS = 30

_threads: dict[threading.Thread, Site] = {}


@dataclass(frozen=True)
class Task(Generic[Result]):
    """What a job is to do. `describe` makes of the result what the API answers."""

    kind: JobKind
    requested_by: str
    work: Callable[[OnProgress], Result]
    describe: Callable[[Result], BaseModel]
    backup_filename: str | None = None
    trigger: Trigger = Trigger.MANUAL
    place: str | None = None


def ignore_changes(_job: Job) -> None:
    """For callers who do not watch."""


def run(site: Site, task: Task[Result], on_change: Callable[[Job], None] = ignore_changes) -> Result:
    """Do the work here and now, as a job that others can watch.

    Raises: JobCancelledError; what the work raises.
    """
    return _Run(site, task, on_change).do_work()


def start(site: Site, task: Task[Any]) -> Job:
    """Do the work in a thread of its own, which outlives whoever asked for it.

    Raises: what the work raises before it has begun; BackupError when the job cannot be written down.
    """
    run = _Run(site, task, ignore_changes)
    thread = threading.Thread(target=copy_context().run, args=[run.do_unwatched_work], daemon=True)
    _threads[thread] = site
    thread.start()
    run.settled.wait(_PATIENCE_SECONDS)
    with explained("Starting the job"):
        return run.require_job()


def stop(site: Site) -> None:
    """Cancel what runs for this site in this process, and wait until it has ended, but not for ever."""
    site.stopping.set()
    deadline = time.monotonic() + _GOODBYE_SECONDS
    for thread, its_site in list(_threads.items()):
        if its_site is site:
            thread.join(max(deadline - time.monotonic(), 0))


@dataclass
class _Speed:
    """Bytes a second, over the latest seconds."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def measure(self, done_bytes: int) -> int | None:
        now = time.monotonic()
        if self._seen and done_bytes < self._seen[-1][1]:  # a phase that counts anew
            self._seen.clear()
        self._seen.append((now, done_bytes))
        while now - self._seen[0][0] > _SPEED_WINDOW_SECONDS:
            self._seen.popleft()
        seconds, bytes_since = now - self._seen[0][0], done_bytes - self._seen[0][1]
        return round(bytes_since / seconds) or None if seconds >= _SPEED_LEAST_SECONDS else None


class _Run(Generic[Result]):
    """A task being done, and its job. `settled` is set once the job has begun, or there will be none."""

    def __init__(self, site: Site, task: Task[Result], on_change: Callable[[Job], None]) -> None:
        self.job: Job | None = None
        self.settled = threading.Event()
        self._refusal: BaseException | None = None
        self._site = site
        self._task = task
        self._on_change = on_change
        self._folder = jobs_dir(site)
        self._started = utc_now()
        self._held = ExitStack()
        self._beginning = threading.Lock()
        self._is_over = False
        self._is_unwanted = False
        self._told = 0.0
        self._speed = _Speed()

    def do_work(self) -> Result:
        try:
            result = self._task.work(self._on_progress)
        except BaseException as error:
            self._refusal = error
            self._end(_state_after(error), error=describe_error(error))
            raise
        self.begin()  # if it has told of nothing
        self._end(JobState.SUCCEEDED, result=self._task.describe(result).model_dump(mode="json"))
        return result

    def do_unwatched_work(self) -> None:
        """Do the work in a thread: nobody waits for its result, or sees its error."""
        try:
            self.do_work()
        except Exception as error:  # noqa: BLE001 - the job says so
            if self.job is not None:
                _log_error(error)
        finally:
            del _threads[threading.current_thread()]

    def begin(self) -> None:
        """Write the job down, unless that has been done, or the work is over before it began."""
        with self._beginning:
            if self.job is not None or self._is_over:
                return
            try:
                self.job = self._write_down()
            # What cannot be written down is done all the same: a restore may be the way out of a full disk.
            except (OSError, FastCMSError) as error:
                self._refusal = error
                self._held.close()
            else:
                self.settled.set()

    def _write_down(self) -> Job:
        job = Job(
            id=job_id_of(self._started),
            kind=self._task.kind,
            state=JobState.RUNNING,
            trigger=self._task.trigger,
            requested_by=self._task.requested_by,
            backup_filename=self._task.backup_filename,
            place=self._task.place,
            process_id=os.getpid(),
            started=self._started,
        )
        make_folders(self._folder)
        forget_old_jobs(self._folder)
        # Before there is a job to be read: a running one that nobody holds has failed.
        lock = lock_of(self._folder, job.id)
        self._held.enter_context(lock.hold(purpose=f"job: {job.kind}", timeout_seconds=0))
        replace_job_durably(self._folder, job)
        return job

    def require_job(self) -> Job:
        """The job, begun now at the latest. Raises: why there is none; the work ends then, too."""
        self.begin()
        if self.job is None:
            self._is_unwanted = True
            assert self._refusal is not None  # noqa: S101 - one of the two is always there
            raise self._refusal
        return self.job

    def _on_progress(self, progress: Progress) -> None:
        self.begin()
        is_new_phase = self.job is not None and self.job.phase != progress.phase
        if time.monotonic() - self._told < _SECONDS_BETWEEN and not is_new_phase:
            return
        self._told = time.monotonic()
        self._raise_if_cancelled()
        speed = self._speed.measure(progress.done_bytes)
        left_bytes = progress.total_bytes - progress.done_bytes
        self._change(
            phase=progress.phase,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            bytes_per_second=speed,
            seconds_left=math.ceil(left_bytes / speed) if speed and left_bytes >= 0 else None,
        )

    def _raise_if_cancelled(self) -> None:
        if self._site.stopping.is_set() or self._is_unwanted:
            raise JobCancelledError("The server was stopped.", hint="Start it again when the server runs.")
        canceller = read_canceller(self._folder, self.job.id) if self.job is not None else None
        if canceller is not None:
            raise JobCancelledError(f"It was cancelled by {canceller}.", hint="Nothing was changed.")

    def _change(self, **changed: Any) -> None:
        if self.job is None:
            return
        self.job = self.job.model_copy(update=changed)
        with suppress(OSError):
            replace_job(self._folder, self.job)
        self._on_change(self.job)

    def _end(
        self,
        state: JobState,
        *,
        result: dict[str, Any] | None = None,
        error: JobError | None = None,
    ) -> None:
        with self._beginning:
            self._is_over = True
            self.settled.set()
        if self.job is None:
            return
        update: dict[str, Any] = {"state": state, "finished": utc_now(), "seconds_left": None}
        if result is not None:
            filename = result.get("filename", self.job.backup_filename)
            update |= {"result": result, "backup_filename": filename, "done_bytes": self.job.total_bytes}
        self.job = self.job.model_copy(update=update | {"error": error})
        # First: whoever sees that it has ended finds it in the history.
        history.add_run(self._site, history.run_of(self.job))
        try:
            replace_job_durably(self._folder, self.job)
        except OSError as reason:
            get_logger().warning("How a job ended could not be noted.", job=self.job.id, reason=str(reason))
            with suppress(OSError):  # without a lock it would look as if it had failed
                forget_job(self._folder, self.job.id)
        self._held.close()
        with suppress(OSError):
            forget_lock(self._folder, self.job.id)
        self._on_change(self.job)


def _state_after(error: BaseException) -> JobState:
    is_cancelled = isinstance(error, JobCancelledError) or not isinstance(error, Exception)
    return JobState.CANCELLED if is_cancelled else JobState.FAILED


def describe_error(error: BaseException) -> JobError:
    """What the answer would have said."""
    if isinstance(error, FastCMSError):
        return JobError(status=errors.status_of(error)[0], **errors.describe(error))
    if isinstance(error, Exception):
        return JobError(
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            detail="Something went wrong on the server.",
            code="unexpected_error",
            hint="The server's log has the reason.",
        )
    return describe_error(JobCancelledError("It was stopped at the terminal where it ran."))


def _log_error(error: Exception) -> None:
    """As `web` does with what is nobody's fault but the server's."""
    if not isinstance(error, FastCMSError):
        get_logger().error("Unexpected error", exc_info=error)
    elif errors.status_of(error)[0] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        get_logger().error(error.message, code=error.code, hint=error.hint)
