"""Jobs without a server: what others see of work, how it is cancelled, and what is left when it dies."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from fastcms.backups import jobs
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.job_files import (
    Job,
    JobKind,
    JobState,
    cancel_job,
    find_job,
    follow_job,
    job_id_of,
    jobs_dir,
    list_jobs,
)
from fastcms.backups.jobs import Task
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import (
    BackupBusyError,
    ConfigError,
    JobCancelledError,
    JobNotFoundError,
    JobOverError,
    NotEnoughSpaceError,
)
from fastcms.site import Site, new_site

HALF = Progress("copying", 50, 100)


class Answer(BaseModel):
    filename: str


def task(work: Callable[[OnProgress], str]) -> Task[str]:
    return Task(JobKind.CREATE, "somebody", work, lambda name: Answer(filename=name))


@pytest.fixture
def site(settings: Settings) -> Site:
    return new_site(settings)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets work that waits for it go on; at the end of a test in any case."""
    event = threading.Event()
    yield event
    event.set()


def work_until(gate: threading.Event) -> Callable[[OnProgress], str]:
    def work(on_progress: OnProgress) -> str:
        while not gate.wait(0.01):
            on_progress(HALF)
        return "made.zip"

    return work


def work_with_progress(on_progress: OnProgress) -> str:
    on_progress(HALF)
    return "made.zip"


def join_all() -> None:
    for thread in list(jobs._threads):
        thread.join()


def test_a_job_shows_how_far_its_work_is_and_in_the_end_the_answer(site: Site) -> None:
    seen: list[Job] = []

    def work(on_progress: OnProgress) -> str:
        on_progress(HALF)
        (job,) = list_jobs(site)
        assert (job.state, job.phase, job.done_bytes, job.total_bytes) == ("running", "copying", 50, 100)
        assert (job.process_id, job.requested_by, job.result) == (os.getpid(), "somebody", None)
        return "made.zip"

    assert jobs.run(site, task(work), seen.append) == "made.zip"
    (job,) = list_jobs(site)
    assert (job.state, job.backup_filename, job.result) == ("succeeded", "made.zip", {"filename": "made.zip"})
    assert job.finished is not None
    assert job.done_bytes == job.total_bytes == 100
    assert seen[-1] == job


def test_only_the_owner_may_look_and_only_the_job_itself_is_left(site: Site) -> None:
    jobs.run(site, task(work_with_progress))
    folder = jobs_dir(site)
    (path,) = folder.iterdir()
    assert path.suffix == ".json"
    assert [stat.S_IMODE(found.stat().st_mode) for found in (folder, path)] == [0o700, 0o600]


def test_work_that_tells_of_nothing_is_a_job_in_the_end(site: Site) -> None:
    jobs.run(site, task(lambda _on_progress: "made.zip"))
    assert [job.state for job in list_jobs(site)] == ["succeeded"]


@pytest.mark.parametrize("begin", [jobs.run, jobs.start])
def test_what_is_refused_before_it_begins_is_no_job(
    site: Site, begin: Callable[[Site, Task[str]], Any]
) -> None:
    def work(_on_progress: OnProgress) -> str:
        raise BackupBusyError("Somebody else is at it.")

    with pytest.raises(BackupBusyError):
        begin(site, task(work))
    join_all()
    assert list_jobs(site) == []
    assert not jobs_dir(site).exists()


def test_a_failed_job_says_why_as_the_answer_would_have(site: Site) -> None:
    def work(on_progress: OnProgress) -> str:
        on_progress(HALF)
        raise NotEnoughSpaceError("The disk is full.", hint="Delete something.")

    job = jobs.start(site, task(work))
    join_all()
    ended = find_job(site, job.id)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.model_dump() == {
        "status": 507,
        "detail": "The disk is full.",
        "code": "not_enough_space",
        "hint": "Delete something.",
        "errors": [],
    }


def test_an_unexpected_error_is_in_the_log_and_gives_nothing_away(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def work(on_progress: OnProgress) -> str:
        on_progress(HALF)
        raise RuntimeError("/etc/secret")

    job = jobs.start(site, task(work))
    join_all()
    error = find_job(site, job.id).error
    assert error is not None
    assert (error.status, error.code) == (500, "unexpected_error")
    assert "secret" not in error.model_dump_json()


def test_a_job_is_followed_until_it_ends(site: Site, gate: threading.Event) -> None:
    job = jobs.start(site, task(work_until(gate)))
    following = follow_job(site, job.id)
    with closing(following):
        assert next(following).state is JobState.RUNNING
        gate.set()
        assert [step.state for step in following][-1] is JobState.SUCCEEDED


def test_a_cancelled_job_ends_its_work_and_says_who_did_it(site: Site, gate: threading.Event) -> None:
    ended_with: list[BaseException] = []

    def work(on_progress: OnProgress) -> str:
        try:
            return work_until(gate)(on_progress)
        except BaseException as error:
            ended_with.append(error)
            raise

    job = jobs.start(site, task(work))
    ended = cancel_job(site, job.id, "me", timeout_seconds=60)
    assert ended.state is JobState.CANCELLED
    assert ended.error is not None
    assert (ended.error.code, "by me" in ended.error.detail) == ("job_cancelled", True)
    assert isinstance(ended_with[0], JobCancelledError)
    join_all()
    assert [path.name for path in jobs_dir(site).iterdir()] == [f"{job.id}.json"]


def test_what_has_ended_cannot_be_cancelled(site: Site) -> None:
    jobs.run(site, task(lambda _on_progress: "made.zip"))
    (job,) = list_jobs(site)
    with pytest.raises(JobOverError):
        cancel_job(site, job.id, "me", timeout_seconds=0)
    assert find_job(site, job.id).state is JobState.SUCCEEDED


def test_stopping_a_server_cancels_its_jobs_and_waits_for_them(site: Site, gate: threading.Event) -> None:
    job = jobs.start(site, task(work_until(gate)))
    jobs.stop(site)
    ended = find_job(site, job.id)
    assert ended.state is JobState.CANCELLED
    assert ended.error is not None
    assert "server was stopped" in ended.error.detail


def test_a_job_that_hears_of_nothing_keeps_no_server_from_stopping(
    site: Site, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(on_progress: OnProgress) -> str:
        on_progress(HALF)
        assert gate.wait(30)  # as for a store that is silent
        return "made.zip"

    monkeypatch.setattr("fastcms.backups.jobs._GOODBYE_SECONDS", 0.1)
    job = jobs.start(site, task(wait))
    jobs.stop(site)
    assert find_job(site, job.id).is_running
    gate.set()
    join_all()


def test_ctrl_c_cancels(site: Site) -> None:
    def work(on_progress: OnProgress) -> str:
        on_progress(HALF)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.run(site, task(work))
    assert [job.state for job in list_jobs(site)] == ["cancelled"]


KILLED = """
import os, signal, sys
from pathlib import Path
from fastcms.backups import jobs
from fastcms.config import Settings
from fastcms.site import new_site
from tests.unit.backups.test_jobs import HALF, task

def work(on_progress):
    on_progress(HALF)
    os.kill(os.getpid(), signal.SIGKILL)

jobs.run(new_site(Settings(_env_file=None, data_dir=Path(sys.argv[1]))), task(work))
"""


def test_the_job_of_a_killed_process_has_failed(site: Site) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(site.settings.data_dir)])
    assert process.wait(60) == -signal.SIGKILL
    (job,) = list_jobs(site)
    assert (job.state, job.process_id, job.done_bytes) == ("failed", process.pid, 50)
    assert job.error is not None
    assert job.error.code == "job_abandoned"
    assert f"Process {process.pid}" in job.error.detail
    with pytest.raises(JobOverError):
        cancel_job(site, job.id, "me", timeout_seconds=0)


def test_old_jobs_are_forgotten_but_for_those_that_run(
    site: Site, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = jobs.start(site, task(work_until(gate)))
    long_ago = jobs_dir(site) / "20200101_000000_000000.json"
    for name in (long_ago.name, "20200101_000000_000001.lock", ".20200101_000000_000002.json.partial"):
        (jobs_dir(site) / name).write_bytes(b"{}")
    monkeypatch.setattr("fastcms.backups.job_files._KEPT", 2)
    for _ in range(4):
        jobs.run(site, task(lambda _on_progress: "made.zip"))
    states = [job.state for job in list_jobs(site)]
    assert states == ["succeeded", "succeeded", "succeeded", "running"]
    assert list_jobs(site)[-1].id == running.id
    assert not long_ago.exists()
    assert not list(jobs_dir(site).glob("*2020*"))
    assert not list(jobs_dir(site).glob(".2020*"))


def test_copies_push_out_no_other_job(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastcms.backups.job_files._KEPT", 2)
    monkeypatch.setattr("fastcms.backups.job_files._KEPT_COPIES", 3)
    made = task(lambda _on_progress: "made.zip")
    jobs.run(site, made)
    for _ in range(6):
        jobs.run(site, replace(made, kind=JobKind.COPY))
    assert [job.kind for job in list_jobs(site)] == [*["copy"] * 4, "create"]


def test_work_is_done_also_where_its_job_cannot_be_written_down(site: Site) -> None:
    """A restore may be the way out of a full disk. Who wants a job, and gets none, is told why."""
    site.settings.backups_dir.mkdir(parents=True)
    jobs_dir(site).write_bytes(b"no folder")
    told = task(work_with_progress)
    assert jobs.run(site, told) == "made.zip"
    with pytest.raises(ConfigError, match=r"\.jobs cannot be created"):
        jobs.start(site, told)
    join_all()


@pytest.mark.parametrize(
    "name", ["", "..", "../restores", "20200101_000000_000000", "20200101_000000_000000\n"]
)
def test_what_is_no_jobs_id_finds_nothing(site: Site, name: str) -> None:
    with pytest.raises(JobNotFoundError):
        find_job(site, name)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"id": "x"}'])
def test_a_damaged_file_is_no_job_and_harms_no_other(site: Site, content: bytes) -> None:
    jobs.run(site, task(lambda _on_progress: "made.zip"))
    damaged = job_id_of(utc_now())
    (jobs_dir(site) / f"{damaged}.json").write_bytes(content)
    assert [job.state for job in list_jobs(site)] == ["succeeded"]
    with pytest.raises(JobNotFoundError):
        find_job(site, damaged)


def test_the_speed_is_that_of_the_latest_seconds_and_begins_anew_with_what_is_counted_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("fastcms.backups.jobs.time.monotonic", lambda: now)
    speed = jobs._Speed()
    measured = []
    for now, done_bytes in [(0, 0), (0.5, 1), (1, 100), (2, 200), (12, 1200), (14, 5200), (15, 0), (16, 50)]:  # noqa: B007
        measured.append(speed.measure(done_bytes))
    assert measured == [None, None, 100, 100, 100, 2000, None, 50]
