"""Long work as jobs on real servers: followed, cancelled from anywhere, killed, and left alone by its client.

Backups are slow here because of a large sparse file. Where a test needs one to be under way for certain, it
stops the process that does the work meanwhile.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pexpect
import pytest
import requests

from tests.conftest import wait_until
from tests.e2e.conftest import Server, clean_environment

BIG_BYTES = 512 * 1024**2
ASYNC = {"Prefer": "respond-async"}


class JobSite:
    """A server on a site that takes a while to back up."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.server = Server(folder, arguments=options)
        self.backups_dir = folder / "data" / "backups"
        files_dir = folder / "data" / "files"
        files_dir.mkdir(mode=0o700, parents=True)
        with (files_dir / "big.bin").open("wb") as big:
            os.truncate(big.fileno(), BIG_BYTES)
        self.server.start()
        self.headers = {"Authorization": f"Bearer {self.server.create_token()}"}

    def ask(self, method: str, path: str = "", **options: Any) -> requests.Response:
        headers = self.headers | options.pop("headers", {})
        # Each on a connection of its own: any worker may get it.
        url = f"{self.server.url}/api/v1/backups{path}"
        return requests.request(method, url, headers=headers | {"Connection": "close"}, **options)

    def start_backup(self) -> dict[str, Any]:
        answer = self.ask("POST", headers=ASYNC)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        assert answer.headers["Location"] == f"/api/v1/backups/jobs/{job['id']}"
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/jobs/{job_id}").json()
        return found

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/jobs").json()["items"]
        return found

    def wait_for_a_job(self) -> dict[str, Any]:
        wait_until(lambda: bool(self.jobs()))
        return self.jobs()[0]

    def wait_for_the_end(self, job_id: str) -> dict[str, Any]:
        wait_until(lambda: self.job(job_id)["state"] != "running")
        return self.job(job_id)

    def follow(self, job_id: str) -> Iterator[dict[str, Any]]:
        with self.ask("GET", f"/jobs/{job_id}/events", stream=True, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    def left(self) -> list[str]:
        """What there is in the folder of backups, but for locks, the history and the jobs' own files."""
        names = {path.name for path in self.backups_dir.iterdir()}
        names -= {".jobs", "history.db", "history.db-journal"}
        return sorted(name for name in names if not name.endswith(("lock", ".receiving")))


def children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return []


@contextmanager
def halted(job: dict[str, Any]) -> Iterator[None]:
    """Stop the process in which the work is done: the job runs, and gets no further."""
    (worker,) = children_of(job["process_id"])
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[JobSite]:
    running = JobSite(tmp_path)
    yield running
    running.server.stop()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[JobSite]:
    running = JobSite(tmp_path, "--workers", "2")
    yield running
    running.server.stop()


def test_a_backup_as_a_job_is_followed_to_its_end_and_listed(site: JobSite) -> None:
    job = site.start_backup()
    assert (job["kind"], job["state"], job["requested_by"]) == ("create", "running", "test")
    seen = list(site.follow(job["id"]))
    assert [step["state"] for step in seen[:-1]] == ["running"] * (len(seen) - 1)
    assert len(seen) > 1
    done = [step["done_bytes"] for step in seen]
    assert done == sorted(done)
    assert any(step["bytes_per_second"] and step["seconds_left"] is not None for step in seen)
    end = seen[-1]
    assert (end["state"], end["error"], end["seconds_left"]) == ("succeeded", None, None)
    assert end["done_bytes"] == end["total_bytes"] > BIG_BYTES
    assert end["started"] < end["finished"]
    (listed,) = site.ask("GET").json()["items"]
    assert end["backup_filename"] == end["result"]["filename"] == listed["filename"]
    assert end["result"].keys() == {"filename", "size_bytes", "created", "path", "problems", "counts"}
    assert site.server.terminal.count("backup created") == 1
    # Who comes later, or again, gets the end at once.
    assert list(site.follow(job["id"])) == [end]


def test_who_reconnects_to_a_stream_goes_on_from_the_present(site: JobSite) -> None:
    job = site.start_backup()
    with halted(job):
        first = next(site.follow(job["id"]))  # the connection is closed after one event
        again = next(site.follow(job["id"]))
    assert again["done_bytes"] >= first["done_bytes"]
    assert list(site.follow(job["id"]))[-1]["state"] == "succeeded"


def test_many_listeners_take_no_threads_from_others(site: JobSite) -> None:
    """The thread pool has 40: with one for each stream, nobody else would be answered."""
    job = site.start_backup()
    with halted(job):
        streams = [site.follow(job["id"]) for _ in range(60)]
        assert {next(stream)["id"] for stream in streams} == {job["id"]}
        assert site.ask("GET").status_code == 200
        threads = len(list(Path(f"/proc/{site.server.pid}/task").iterdir()))
        assert threads < 60
    assert [list(stream)[-1]["state"] for stream in streams] == ["succeeded"] * 60


def test_a_second_backup_is_refused_at_once_and_is_no_job(site: JobSite) -> None:
    job = site.start_backup()
    with halted(job):
        refused = site.ask("POST", headers=ASYNC)
        assert (refused.status_code, refused.json()["code"]) == (409, "backup_busy")
        assert "Location" not in refused.headers
        assert len(site.jobs()) == 1
    site.ask("DELETE", f"/jobs/{job['id']}")


def test_a_cancelled_backup_leaves_nothing(site: JobSite) -> None:
    job = site.start_backup()
    with ThreadPoolExecutor() as pool:
        with halted(job):
            asked = pool.submit(site.ask, "DELETE", f"/jobs/{job['id']}")
            wait_until(lambda: any(site.backups_dir.glob(".jobs/*.cancel")))
            assert site.left() != []
        answer = asked.result()
    ended = answer.json()
    assert (answer.status_code, ended["state"], ended["result"]) == (200, "cancelled", None)
    assert ended["error"]["code"] == "job_cancelled"
    assert "cancelled by test" in ended["error"]["detail"]
    assert site.left() == []
    assert [path.suffix for path in (site.backups_dir / ".jobs").iterdir()] == [".json"]
    again = site.ask("DELETE", f"/jobs/{job['id']}")
    assert (again.status_code, again.json()["code"]) == (409, "job_over")


@pytest.mark.parametrize("kind", ["verify", "restore", "upload"])
def test_other_work_that_is_cancelled_leaves_what_was_there(site: JobSite, kind: str) -> None:
    backup = json.loads(site.server.run("backup", "create", "--json"))
    content: dict[str, Any] = {}
    path = f"/{backup['filename']}/{kind}"
    if kind == "upload":
        archive = Path(site.server.folder, backup["path"]).rename(site.server.folder / "elsewhere.zip")
        path, content = "/upload", {"files": {"file": ("elsewhere.zip", archive.read_bytes())}}
    before = site.left()
    job = site.ask("POST", path, headers=ASYNC, **content).json()
    assert (job["kind"], job["state"]) == (kind, "running"), job
    with ThreadPoolExecutor() as pool:
        with halted(job):
            asked = pool.submit(site.ask, "DELETE", f"/jobs/{job['id']}")
            wait_until(lambda: any(site.backups_dir.glob(".jobs/*.cancel")))
            assert site.left() != before
        assert asked.result().json()["state"] == "cancelled"
    assert site.left() == before
    assert site.ask("GET", "/restore").json()["state"] == "none"


def test_who_waits_for_a_backup_that_somebody_cancels_is_told_so(site: JobSite) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(site.ask, "POST")
        site.ask("DELETE", f"/jobs/{site.wait_for_a_job()['id']}")
        refused = waiting.result()
    assert (refused.status_code, refused.json()["code"]) == (409, "job_cancelled")
    assert site.left() == []


@pytest.mark.parametrize("prefer", ["", "Prefer: respond-async\r\n"])
def test_a_closed_connection_does_not_stop_a_backup(site: JobSite, prefer: str) -> None:
    with socket.create_connection(("127.0.0.1", site.server.port)) as connection:
        request = f"POST /api/v1/backups HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{prefer}"
        connection.sendall(f"{request}Authorization: {site.headers['Authorization']}\r\n\r\n".encode())
        job = site.wait_for_a_job()
    assert job["state"] == "running"
    ended = site.wait_for_the_end(job["id"])
    assert ended["state"] == "succeeded"
    assert site.left() == [ended["backup_filename"]]


def test_of_two_workers_each_answers_for_the_others_job_and_cancels_it(workers: JobSite) -> None:
    """Requests go to either worker, as the kernel likes."""
    job = workers.start_backup()
    with halted(job):
        for _ in range(20):
            assert workers.job(job["id"])["state"] == "running"
            assert next(workers.follow(job["id"]))["id"] == job["id"]
        # The one that runs the job does not answer now: it is the other one that takes this.
        os.kill(job["process_id"], signal.SIGSTOP)
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(workers.ask, "DELETE", f"/jobs/{job['id']}") for _ in range(4)]
            wait_until(lambda: any(workers.backups_dir.glob(".jobs/*.cancel")))
            os.kill(job["process_id"], signal.SIGCONT)
            answers = [future.result() for future in asked]
    assert {answer.json()["state"] for answer in answers if answer.status_code == 200} <= {
        "running",
        "cancelled",
    }
    assert workers.wait_for_the_end(job["id"])["state"] == "cancelled"
    assert workers.left() == []


def test_the_job_of_a_killed_worker_has_failed_and_the_next_start_leaves_nothing_of_it(
    workers: JobSite,
) -> None:
    job = workers.start_backup()
    os.kill(job["process_id"], signal.SIGKILL)
    ended = workers.wait_for_the_end(job["id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "job_abandoned")
    assert f"Process {job['process_id']}" in ended["error"]["detail"]
    assert ended["finished"] is not None
    workers.server.restart()
    assert workers.left() == []
    assert workers.job(job["id"]) == ended
    assert [
        line["state"] for line in json.loads(workers.server.run("backup", "jobs", "--json"))["items"]
    ] == ["failed"]


def test_a_server_that_is_stopped_cancels_what_runs_and_ends_open_streams(site: JobSite) -> None:
    job = site.start_backup()
    stream = site.follow(job["id"])
    next(stream)
    site.server.stop()
    assert {step["id"] for step in stream} <= {job["id"]}
    assert site.left() == []
    site.server.start()
    ended = site.job(job["id"])
    assert ended["state"] == "cancelled"
    assert "The server was stopped" in ended["error"]["detail"]
    assert "Traceback" not in site.server.terminal


def test_a_second_ctrl_c_does_not_wait_for_work_that_does_not_end(site: JobSite) -> None:
    job = site.start_backup()
    with halted(job):
        pid = site.server.pid
        os.kill(pid, signal.SIGINT)
        site.server.wait_until_printed("Waiting for application shutdown")
        wait_until(lambda: _ignores_no(pid, signal.SIGINT))
        site.server.stop()
    site.server.start()
    assert site.job(job["id"])["state"] == "failed"
    assert site.left() == []


def _ignores_no(pid: int, number: signal.Signals) -> bool:
    """Whether a process has no handler of its own for a signal."""
    (caught,) = (
        int(line.split()[1], 16)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigCgt")
    )
    return not caught >> (number - 1) & 1


def test_the_command_line_sees_and_stops_the_servers_jobs_and_the_server_those_of_the_command_line(
    site: JobSite,
) -> None:
    job = site.start_backup()
    watching = pexpect.spawn(
        "fastcms", ["backup", "watch"], cwd=str(site.server.folder), env=clean_environment(), encoding="utf-8"
    )
    watching.expect("writing the archive", timeout=60)
    stopped = json.loads(site.server.run("backup", "stop", job["id"], "--json"))
    assert (stopped["state"], "(command line)" in stopped["error"]["detail"]) == ("cancelled", True)
    watching.expect("create: cancelled", timeout=60)
    watching.wait()
    assert watching.exitstatus == 1
    creating = subprocess.Popen(
        ["fastcms", "backup", "create", "--json"],
        cwd=site.server.folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: site.jobs()[0]["process_id"] == creating.pid)
    assert site.ask("DELETE", f"/jobs/{site.jobs()[0]['id']}").json()["state"] == "cancelled"
    assert json.loads(creating.communicate()[0])["code"] == "job_cancelled"
    assert creating.returncode == 4
    assert site.left() == []


def heed_interrupts() -> None:
    """Tests that were started in the background ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_cancels_a_commands_backup_and_leaves_nothing(site: JobSite) -> None:
    creating = pexpect.spawn(
        "fastcms",
        ["backup", "create"],
        cwd=str(site.server.folder),
        env=clean_environment(),
        encoding="utf-8",
        preexec_fn=heed_interrupts,
    )
    with halted(site.wait_for_a_job()):
        assert site.left() != []
        creating.sendintr()
        creating.expect(pexpect.EOF, timeout=60)
    creating.close()
    assert creating.exitstatus == 130
    (job,) = site.jobs()
    assert (job["state"], job["error"]["code"]) == ("cancelled", "job_cancelled")
    assert site.left() == []
