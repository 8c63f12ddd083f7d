"""Servers with several worker processes: one restores, the others wait, and no other server gets in."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import read_receipts
from fastcms.locks import FileLock
from tests.conftest import wait_until
from tests.e2e.conftest import Server, clean_environment, free_port

WORKERS = 4
STARTED = "Application startup complete."
UVICORN = ["python", "-m", "uvicorn", "app.main:app"]


class WorkerSite:
    """A site with four workers: a backup that holds the collection `old`, and `new` made since."""

    def __init__(self, folder: Path) -> None:
        # Workers that a test stops do not answer uvicorn's health check.
        options = ["--workers", str(WORKERS), "--timeout-worker-healthcheck", "120"]
        self.server = Server(folder, arguments=options)
        self.paths = DataPaths(folder / "data")
        self._starts = 0
        self.start()
        self.headers = {"Authorization": f"Bearer {self.server.create_token()}"}
        self.create_collection("old")
        self.server.run("backup", "create")
        self.create_collection("new")

    def start(self) -> None:
        self._starts = self.server.terminal.count(STARTED) + WORKERS
        self.server.start()
        self.server.wait_until_printed(STARTED, self._starts)

    def stage(self) -> None:
        (backup,) = self.paths.backups_dir.glob("*.zip")
        self.server.run("backup", "restore", backup.name, "--yes")

    def create_collection(self, name: str) -> None:
        requests.post(
            f"{self.server.url}/api/v1/collections",
            json={"name": name, "schema": [{"name": "title", "type": "text"}]},
            headers=self.headers,
        ).raise_for_status()

    def collections(self) -> list[str]:
        answer = requests.get(f"{self.server.url}/api/v1/collections", headers=self.headers)
        return sorted(collection["name"] for collection in answer.json()["items"])

    def workers(self) -> set[int]:
        return {holder.pid for holder in FileLock(self.paths.data_dir / ".serving").holders()}

    def ask_each_worker(self) -> list[list[str]]:
        """What each worker answers while all others are stopped."""
        workers = self.workers()
        answers = []
        for worker in workers:
            with stopped(workers - {worker}):
                answers.append(self.collections())
        return answers

    def kill_everything(self) -> None:
        workers = self.workers()
        self.server.kill()
        kill(workers)

    def outcomes(self) -> list[str]:
        return [receipt.outcome for receipt in read_receipts(self.paths.receipts)]


@contextmanager
def stopped(pids: set[int]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def count_waiting(lock_path: Path) -> int:
    """How many processes wait for a lock, as the kernel has it."""
    inode = lock_path.stat().st_ino
    return sum(
        "-> FLOCK" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines()
    )


def kill(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def start_another(command: list[str], folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to end by itself."""
    return subprocess.run(
        command,
        cwd=folder,
        env=clean_environment() | {"FASTCMS_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WorkerSite]:
    running = WorkerSite(tmp_path)
    yield running
    running.server.stop()


def test_one_of_four_workers_restores_and_all_serve_the_restored_state(site: WorkerSite) -> None:
    """All are there before the first one can begin: a command is still at work."""
    site.stage()
    assert site.ask_each_worker() == [["new", "old"]] * WORKERS
    site.server.stop()
    command = FileLock(site.paths.data_dir / ".commands")
    with ThreadPoolExecutor() as pool:
        with command.hold(is_shared=True, purpose="a slow command"):
            starting = pool.submit(site.start)
            wait_until(lambda: count_waiting(site.paths.data_dir / ".starting") == WORKERS - 1)
        starting.result()
    assert site.ask_each_worker() == [["old"]] * WORKERS
    assert site.outcomes() == ["restored"]
    # There is one receipt for a restore however often it is done.
    assert site.server.terminal.count("restore restored") == 1
    assert site.server.terminal.count("Started server process") == 2 * WORKERS


def test_a_killed_worker_is_replaced_and_leaves_a_staged_restore_staged(site: WorkerSite) -> None:
    site.stage()
    before = site.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    site.server.wait_until_printed(STARTED, WORKERS + 1)
    wait_until(lambda: len(site.workers()) == WORKERS)
    assert site.workers() > before - {victim}
    assert site.ask_each_worker() == [["new", "old"]] * WORKERS
    assert site.outcomes() == []
    assert "A restore is pending: stop the whole server" in site.server.terminal


def test_a_server_killed_with_all_its_workers_restores_at_its_next_start(site: WorkerSite) -> None:
    site.stage()
    site.kill_everything()
    site.start()
    assert site.ask_each_worker() == [["old"]] * WORKERS
    assert site.outcomes() == ["restored"]


def test_workers_that_outlive_their_server_are_named_to_the_next_one(site: WorkerSite) -> None:
    orphans = site.workers()
    site.server.kill()
    refused = start_another([*UVICORN, "--port", str(free_port())], site.server.folder, free_port())
    assert refused.returncode != 0
    for pid in orphans:
        assert f"process {pid} (serving, started by process" in refused.stderr
    kill(orphans)
    site.start()
    assert site.ask_each_worker() == [["new", "old"]] * WORKERS


def test_a_second_server_on_the_same_folder_is_refused_by_name(site: WorkerSite) -> None:
    site.stage()
    port = free_port()
    options = ["--port", str(port)]
    for command in ([*UVICORN, *options], [*UVICORN, *options, "--workers", "2"], ["fastcms", "serve"]):
        refused = start_another(command, site.server.folder, port)
        terminal = refused.stdout + refused.stderr
        # uvicorn itself ends with 0 when its workers do not start.
        assert refused.returncode != 0 or "--workers" in command
        assert f"Another server already uses the data folder {site.paths.data_dir}" in terminal
        for pid in site.workers():
            assert f"process {pid} (serving, started by process {site.server.pid})" in terminal
        assert "Traceback" not in terminal
    assert site.paths.marker.exists()
    assert site.ask_each_worker() == [["new", "old"]] * WORKERS
