"""What happens by itself: on real sites, with a real monitor that is called at the moments that matter."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine

from fastcms.backups import copy_workers, history, schedule, service, upkeep
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.folder import alone, data_paths
from fastcms.backups.history import RunKind
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobState, Trigger, list_jobs
from fastcms.backups.schedule import Duty
from fastcms.backups.schemas import BackupKind
from fastcms.backups.upkeep import keeping_up, run_due
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import BackupBusyError, BackupError
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import serve_site, use_site
from tests.conftest import AS_ROOT, wait_until
from tests.e2e.conftest import clean_environment

DAY = timedelta(days=1)
_PATIENCE_SECONDS = 30


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "_JITTER_SECONDS", 0)


@pytest.fixture
def served(settings: Settings) -> Iterator[Site]:
    """The site of a server that does nothing by itself."""
    site = new_site(settings)
    with serve_site(site):
        yield site


class Monitor:
    """The far side of the heartbeat: what it was called with, and what happens when it is."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_call: Callable[[str], None] = self.calls.append
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                name = self.path.removeprefix("/ping").removeprefix("/") or "success"
                monitor.on_call(name)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping"


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    monitor = Monitor()
    thread = threading.Thread(target=monitor.server.serve_forever, daemon=True)
    thread.start()
    yield monitor
    monitor.server.shutdown()
    monitor.server.server_close()
    thread.join()


def make_due(site: Site, duty: Duty = Duty.BACKUP) -> None:
    """Let the latest look be one before the latest due time."""
    schedule.begin(site, duty, utc_now())
    mark = history.read_mark(site, f"schedule:{duty}")
    history.write_mark(site, f"schedule:{duty}", mark | {"until": (utc_now() - 40 * DAY).isoformat()})


def kinds_of(runs: list[history.Run]) -> list[tuple[str, str]]:
    return [(run.kind, run.state) for run in runs]


def test_a_server_that_is_stopped_after_its_backup_begins_nothing_more(
    served: Site, monitor: Monitor
) -> None:
    make_due(served)
    change_settings(served, {"heartbeat_url": monitor.url})
    monitor.on_call = lambda name: served.stopping.set() if name == "success" else None
    assert kinds_of(run_due(served)) == [("create", "succeeded")]
    assert [run.kind for run in history.list_runs(served)] == [RunKind.CREATE]


def test_a_backup_that_is_due_is_made_verified_and_told_of(served: Site, monitor: Monitor) -> None:
    assert run_due(served) == []
    make_due(served)
    change_settings(served, {"heartbeat_url": monitor.url})
    runs = run_due(served)
    assert kinds_of(runs) == [("create", "succeeded"), ("verify", "succeeded")]
    (backup,) = service.list_backups(served)
    assert (backup.kind, backup.notes.verified_level) == (BackupKind.SCHEDULED, "light")
    assert {(run.trigger, run.requested_by) for run in runs} == {(Trigger.SCHEDULED, "schedule")}
    assert [run.backup_filename for run in runs] == [backup.filename] * 2
    assert {run.id for run in runs} <= {run.id for run in history.list_runs(served)}
    assert monitor.calls == ["start", "success"]
    assert run_due(served) == []


def test_what_the_policy_does_not_keep_is_removed_after_the_backup(served: Site) -> None:
    change_settings(served, {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0})
    older = service.create_backup(served).filename
    make_due(served)
    (created, _verified, pruned) = run_due(served)
    assert [backup.filename for backup in service.list_backups(served)] == [created.backup_filename]
    assert (pruned.kind, pruned.trigger, pruned.details["removed"]) == ("prune", "scheduled", [older])


def test_nothing_is_removed_while_the_new_backup_is_in_doubt(served: Site, monitor: Monitor) -> None:
    change_settings(served, {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0})
    change_settings(served, {"heartbeat_url": monitor.url})
    older = service.create_backup(served).filename

    def damage(name: str) -> None:
        """At the moment between the backup and its verification."""
        if name == "success":
            path = Path(service.list_backups(served)[0].path)
            content = bytearray(path.read_bytes())
            content[len(content) // 3] ^= 1
            path.write_bytes(content)

    monitor.on_call = damage
    make_due(served)
    assert kinds_of(run_due(served)) == [("create", "succeeded"), ("verify", "failed")]
    assert older in [backup.filename for backup in service.list_backups(served)]


def test_the_newest_own_backup_is_verified_in_full_when_that_is_due(served: Site) -> None:
    make_due(served, Duty.VERIFICATION)
    assert run_due(served) == []  # there is none
    made = service.create_backup(served).filename
    make_due(served, Duty.VERIFICATION)
    (verified,) = run_due(served)
    assert (verified.kind, verified.state, verified.backup_filename) == ("verify", "succeeded", made)
    assert service.find_backup(served, made).notes.verified_level == "full"
    assert run_due(served) == []


def test_a_backup_that_is_found_damaged_is_not_verified_again_at_once(served: Site) -> None:
    path = Path(service.create_backup(served).path)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    make_due(served, Duty.VERIFICATION)
    assert kinds_of(run_due(served)) == [("verify", "failed")]
    with time_machine.travel(utc_now() + timedelta(minutes=16)):
        assert run_due(served) == []


def test_of_several_workers_one_makes_the_backup(settings: Settings) -> None:
    with ExitStack() as workers:
        sites = [new_site(settings) for _ in range(3)]
        workers.enter_context(serve_site(sites[0]))
        make_due(sites[0])
        for site in sites:
            workers.enter_context(keeping_up(site))
        wait_until(lambda: history.latest_run(sites[0], RunKind.VERIFY))
        time.sleep(0.5)  # some more looks of all of them
    assert history.count_runs(sites[0], kind=RunKind.CREATE) == 1


def test_whoever_comes_second_is_told_who_is_at_it(served: Site, monitor: Monitor) -> None:
    change_settings(served, {"heartbeat_url": monitor.url})
    refusals: list[str] = []

    def come_second(name: str) -> None:
        if name == "start":
            with pytest.raises(BackupBusyError) as refused:
                run_due(new_site(served.settings))
            refusals.append(refused.value.message)

    monitor.on_call = come_second
    make_due(served)
    run_due(served)
    assert [f"process {os.getpid()} (doing what is due)" in refusal for refusal in refusals] == [True]


def test_a_backup_that_somebody_else_makes_is_no_failed_attempt(served: Site) -> None:
    make_due(served)
    with alone(data_paths(served), "creating a backup"):
        assert run_due(served) == []
    assert history.list_runs(served) == []
    assert kinds_of(run_due(served))[0] == ("create", "succeeded")


def test_a_full_disk_is_in_the_history_and_the_backup_is_tried_again(
    small_disk: Path, settings: Settings, monitor: Monitor
) -> None:
    site = new_site(settings.model_copy(update={"data_dir": small_disk / "data"}))
    with serve_site(site):
        make_due(site)
        change_settings(site, {"heartbeat_url": monitor.url})
        (failed,) = run_due(site)
        assert (failed.kind, failed.state) == ("create", "failed")
        assert failed.error is not None
        assert failed.error.code == "not_enough_space"
        assert history.latest_run(site, RunKind.CREATE) == failed
        assert monitor.calls == ["fail"]
        subprocess.run([*AS_ROOT, "mount", "-o", "remount,size=200m", small_disk], check=True)
        assert run_due(site) == []
        with time_machine.travel(utc_now() + timedelta(minutes=16)):
            assert kinds_of(run_due(site)) == [("create", "succeeded"), ("verify", "succeeded")]


def test_the_round_after_a_kill_finds_the_job_abandoned_and_the_next_one_works(
    settings: Settings, monitor: Monitor
) -> None:
    site = new_site(settings)
    with use_site(site):
        make_due(site)
        change_settings(site, {"heartbeat_url": monitor.url})
    is_at_work, may_answer = threading.Event(), threading.Event()

    def hold_up(name: str) -> None:
        if name == "start":
            is_at_work.set()
            may_answer.wait(_PATIENCE_SECONDS)

    monitor.on_call = hold_up
    with subprocess.Popen(
        ["fastcms", "backup", "run-due"],
        cwd=settings.data_dir.parent,
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(settings.data_dir)},
    ) as process:
        assert is_at_work.wait(_PATIENCE_SECONDS)
        os.kill(process.pid, signal.SIGKILL)
    may_answer.set()
    with serve_site(site):
        assert run_due(site) == []
        (abandoned,) = history.list_runs(site)
        assert (abandoned.kind, abandoned.state, abandoned.trigger) == ("create", "failed", "scheduled")
        assert abandoned.error is not None
        assert abandoned.error.code == "job_abandoned"
        assert service.list_backups(site) == []
        with time_machine.travel(utc_now() + timedelta(minutes=16)):
            assert kinds_of(run_due(site)) == [("create", "succeeded"), ("verify", "succeeded")]


def test_a_server_that_stops_cancels_its_backup_which_the_next_start_makes_at_once(
    settings: Settings, monitor: Monitor
) -> None:
    site = new_site(settings)
    with serve_site(site):
        make_due(site)
        change_settings(site, {"heartbeat_url": monitor.url})
        monitor.on_call = lambda _name: site.stopping.set()
        with keeping_up(site):
            wait_until(site.stopping.is_set)
        assert [job.state for job in list_jobs(site)] == [JobState.CANCELLED]
    again = new_site(settings)
    with serve_site(again), keeping_up(again):
        wait_until(lambda: service.list_backups(again))


def test_a_schedule_that_is_changed_while_the_server_runs_takes_effect(settings: Settings) -> None:
    site = new_site(settings)
    with time_machine.travel(datetime(2026, 6, 10, 3, 59, 57, tzinfo=UTC)), serve_site(site):
        with keeping_up(site):
            wait_until(lambda: history.read_mark(site, "schedule:backup"))
            change_settings(site, {"schedule": "0 4 * * *"})
            wait_until(lambda: service.list_backups(site))
        (backup,) = service.list_backups(site)
        assert (backup.created.hour, backup.kind) == (4, BackupKind.SCHEDULED)


def test_a_step_that_cannot_be_done_stops_no_other(served: Site) -> None:
    make_due(served)
    make_due(served, Duty.VERIFICATION)
    with closing(sqlite3.connect(history_path(served))) as database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON marks WHEN new.name = 'schedule:backup' "
            "BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    made = service.create_backup(served).filename
    with pytest.raises(BackupError, match="could not be noted"):
        run_due(served)
    assert service.find_backup(served, made).notes.verified_level == "full"


def test_the_monitor_hears_of_a_backup_that_could_not_be_noted_as_done(
    served: Site, monitor: Monitor
) -> None:
    change_settings(served, {"heartbeat_url": monitor.url})
    make_due(served)
    with closing(sqlite3.connect(history_path(served))) as database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON marks "
            "WHEN new.name = 'schedule:backup' AND json_extract(new.value, '$.due') IS NULL "
            "BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    with pytest.raises(BackupError, match="could not be noted"):
        run_due(served)
    assert monitor.calls == ["start", "success"]


def test_what_goes_wrong_at_the_start_ends_no_copying(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Site] = []

    def fail(site: Site) -> list[object]:
        asked.append(site)
        if len(asked) == 2:
            site.stopping.set()
        raise OverflowError

    monkeypatch.setattr(copy_workers, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(copy_workers, "list_destinations", fail)
    copy_workers.keep_copying(served)
    assert len(asked) == 2
