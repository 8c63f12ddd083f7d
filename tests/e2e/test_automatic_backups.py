"""Backups that real servers make by themselves: seen, killed, on a full disk, and with nobody to be told.

A server looks three times a minute, so each test has one wait or two. Nobody waits for a day: where a test
wants a server that was off at the due time, it sets back up to when due times were noticed.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups import history, schedule
from fastcms.backups.schedule import Duty
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.site import new_site
from fastcms.startup import use_site
from tests.conftest import AS_ROOT, wait_until
from tests.e2e.conftest import REPOSITORY, Server, clean_environment
from tests.e2e.test_jobs import BIG_BYTES, halted
from tests.far_side import refusing_host

_PATIENCE_SECONDS = 240


class AutomaticSite:
    """A site whose first look for what is due was before its server starts."""

    def __init__(self, folder: Path, data_dir: Path, *options: str, **environment: str) -> None:
        (folder / ".env").write_text(f"FASTCMS_DATA_DIR={data_dir}\n")
        self.server = Server(folder, None, arguments=options, **environment)
        self.site = new_site(Settings(_env_file=None, data_dir=data_dir))
        with use_site(self.site), self.site.database.write() as session:
            token, _ = create_token(session, "test", [Scope.ADMIN], None)
        self.headers = {"Authorization": f"Bearer {token}"}
        schedule.begin(self.site, Duty.BACKUP, utc_now())

    def ask(self, path: str, method: str = "GET", **options: Any) -> Any:
        answer = requests.request(
            method, f"{self.server.url}/api/v1/backups{path}", headers=self.headers, timeout=60, **options
        )
        answer.raise_for_status()
        return answer.json()

    def was_off(self) -> None:
        """Let the server have been off for the latest two days."""
        mark = history.read_mark(self.site, "schedule:backup")
        until = utc_now() - timedelta(days=2)
        history.write_mark(self.site, "schedule:backup", mark | {"until": until.isoformat()})

    def runs(self, kind: str) -> list[dict[str, Any]]:
        """What has ended, newest first."""
        found: list[dict[str, Any]] = self.ask(f"/history?kind={kind}")["items"]
        return found

    def reasons(self) -> dict[str, dict[str, Any]]:
        return {reason["code"]: reason for reason in self.ask("/status")["reasons"]}


@pytest.mark.slow
def test_of_two_workers_one_makes_the_backup_of_a_schedule_set_while_they_run_though_nobody_can_be_told(
    tmp_path: Path,
) -> None:
    urls = {"FASTCMS_NOTIFY_URLS": f"json://{refusing_host()}", "FASTCMS_NOTIFY_SUCCESS": "true"}
    site = AutomaticSite(tmp_path, tmp_path / "data", "--workers", "2", **urls)
    site.server.start()
    try:
        assert site.ask("/status")["state"] == "waiting"
        changed = site.ask("/settings", "PUT", json={"schedule": "* * * * *"})
        assert len({run["utc"] for run in changed["next_runs"]}) == 5
        wait_until(lambda: site.ask("/notifications")["deliveries"], _PATIENCE_SECONDS)
        site.ask("/settings", "PUT", json={"schedule": None})
        backups = site.ask("")["items"]
        assert {(one["kind"], one["verification"]) for one in backups} == {("scheduled", "ok")}
        made, verified = site.runs("create"), site.runs("verify")
        filenames = [one["filename"] for one in backups]
        assert [run["backup_filename"] for run in made] == [run["backup_filename"] for run in verified]
        assert [run["backup_filename"] for run in made] == filenames
        assert {(run["state"], run["trigger"], run["requested_by"]) for run in made + verified} == {
            ("succeeded", "scheduled", "schedule")
        }
        assert len({run["started"][:16] for run in made}) == len(made), "two in one minute"
        status = site.ask("/status")
        assert (status["state"], status["is_safe"], status["verified"]["level"]) == (
            "warnings",
            True,
            "light",
        )
        assert list(site.reasons()) == ["notification_failed"]
        (delivery,) = site.ask("/notifications")["deliveries"]
        assert not delivery["ok"]
        assert delivery["reason"] in site.reasons()["notification_failed"]["message"]
        assert "Traceback" not in site.server.terminal
    finally:
        site.server.stop()


@pytest.fixture
def cramped(tmp_path: Path, small_disk: Path) -> Iterator[AutomaticSite]:
    """A site on a disk that is too small for a backup."""
    site = AutomaticSite(tmp_path, small_disk / "data")
    yield site
    site.server.stop()


def enlarge(disk: Path) -> None:
    subprocess.run([*AS_ROOT, "mount", "-o", "remount,size=4g", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_and_then_a_kill_are_explained_and_the_next_run_works(
    cramped: AutomaticSite, small_disk: Path
) -> None:
    cramped.was_off()
    cramped.server.start()
    wait_until(lambda: cramped.runs("create"), _PATIENCE_SECONDS)
    (full,) = cramped.runs("create")
    assert (full["trigger"], full["error"]["code"]) == ("scheduled", "not_enough_space")
    status = cramped.ask("/status")
    assert (status["state"], status["is_safe"]) == ("attention", False)
    assert full["error"]["detail"] in cramped.reasons()["backup_failed"]["message"]
    assert "MB are free" in cramped.reasons()["space_critical"]["message"]
    assert all(reason["hint"] for reason in status["reasons"])
    until_next = datetime.fromisoformat(status["next_run"]) - datetime.fromisoformat(full["finished"])
    assert until_next == pytest.approx(timedelta(minutes=15), abs=timedelta(minutes=1))

    enlarge(small_disk)
    big = cramped.site.settings.files_dir / "big.bin"
    with big.open("wb") as file:
        os.truncate(file.fileno(), BIG_BYTES)
    cramped.was_off()
    wait_until(lambda: cramped.ask("/jobs")["total"], _PATIENCE_SECONDS)
    (job,) = cramped.ask("/jobs")["items"]
    assert (job["kind"], job["trigger"], job["state"]) == ("create", "scheduled", "running")
    with halted(job):
        assert cramped.ask("/status")["state"] == "running"
        cramped.server.kill()
    big.unlink()
    cramped.server.start()
    failure = cramped.ask("/status")["last_failure"]
    assert (failure["code"], failure["is_current"]) == ("job_abandoned", True)

    cramped.was_off()
    done = cramped.server.run("backup", "run-due")
    assert "Created backup_" in done, done
    succeeded, killed, full = cramped.runs("create")
    assert (succeeded["state"], killed["state"], full["state"]) == ("succeeded", "failed", "failed")
    assert f"Process {job['process_id']}" in killed["error"]["detail"]
    assert (killed["id"], killed["trigger"]) == (job["id"], "scheduled")
    assert cramped.ask("/status")["state"] == "ok"
    assert [backup["filename"] for backup in cramped.ask("")["items"]] == [succeeded["backup_filename"]]


def test_without_a_server_a_timer_does_what_is_due_once_however_often_it_is_called(tmp_path: Path) -> None:
    """With the words of deploy/fastcms-backup.service, twice at the same time, and once more."""
    site = AutomaticSite(tmp_path, tmp_path / "data")
    site.was_off()
    unit = REPOSITORY / "deploy" / "fastcms-backup.service"
    (line,) = (line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    command = [str(Path(sys.executable).with_name("fastcms")), *line.split()[1:]]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Created backup_" in text for text in printed) == 1
    assert "Nothing is due; next backup at " in site.server.run("backup", "run-due")
    runs = history.list_runs(site.site)
    assert [(run.kind, run.trigger, run.state) for run in runs] == [
        ("verify", "scheduled", "succeeded"),
        ("create", "scheduled", "succeeded"),
    ]
