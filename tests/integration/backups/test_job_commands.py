"""`fastcms backup jobs`, `watch`, `stop` and `verify`, beside work that another process does."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastcms.backups import jobs, service
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.job_files import Job, JobKind
from fastcms.backups.schemas import DeletedBackup
from fastcms.config import Settings
from fastcms.site import Site, new_site
from fastcms.startup import serve_site
from tests.e2e.conftest import clean_environment

NAME = "backup_20250115_100000.zip"


@pytest.fixture
def stopped(settings: Settings) -> Site:
    """A site with one backup, not running."""
    site = new_site(settings)
    with serve_site(site):
        service.create_backup(site)
    return new_site(settings)


@pytest.fixture
def running(stopped: Site) -> Iterator[Job]:
    """Work of this process that only ends when it is cancelled."""
    ended = threading.Event()

    def work(on_progress: OnProgress) -> str:
        while not ended.wait(0.01):
            on_progress(Progress("copying", 25, 100))
        return NAME

    task = jobs.Task(JobKind.CREATE, "cron", work, lambda name: DeletedBackup(filename=name), NAME)
    yield jobs.start(stopped, task)
    ended.set()
    jobs.stop(stopped)


def fastcms(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fastcms", "backup", *arguments],
        check=False,
        cwd=site.settings.data_dir.parent,
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(site.settings.data_dir), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def answer(site: Site, *arguments: str) -> tuple[int, Any]:
    done = fastcms(site, *arguments, "--json")
    return done.returncode, json.loads(done.stdout)


def test_what_runs_elsewhere_is_listed(stopped: Site, running: Job) -> None:
    shown = fastcms(stopped, "jobs").stdout
    assert running.id in shown
    assert f"create {NAME}" in shown
    assert "running, 25%" in shown
    assert "cron" in shown
    code, listed = answer(stopped, "jobs")
    assert (code, listed["total"], listed["items"][0]["id"]) == (0, 1, running.id)


def test_what_runs_elsewhere_can_be_stopped_once(stopped: Site, running: Job) -> None:
    done = fastcms(stopped, "stop", running.id)
    assert done.returncode == 0
    assert done.stdout.startswith(f"create {NAME}: cancelled. It was cancelled by ")
    code, refused = answer(stopped, "stop", running.id)
    assert (code, refused["code"]) == (4, "job_over")
    code, watched = answer(stopped, "watch", running.id)
    assert (code, watched["state"]) == (1, "cancelled")


def test_without_a_job_there_is_nothing_to_watch_or_to_stop(stopped: Site) -> None:
    assert fastcms(stopped, "jobs").stdout == "Nothing runs, and nothing has ended lately.\n"
    assert answer(stopped, "watch")[0] == 3
    assert answer(stopped, "watch")[1]["code"] == "job_not_found"
    assert answer(stopped, "stop", "20250115_100000_000000")[0] == 3


def test_every_command_that_takes_long_is_a_job(stopped: Site, tmp_path: Path) -> None:
    filename = service.list_backups(stopped)[0].filename
    assert fastcms(stopped, "create").returncode == 0
    verified = answer(stopped, "verify", filename, "--light")[1]
    assert (verified["status"], verified["filename"], verified["level"]) == ("ok", filename, "light")
    shown = fastcms(stopped, "verify", filename).stdout
    assert shown.startswith(f"{filename} is sound")
    assert "A site was restored from it, started, and read" in shown
    copy = (stopped.settings.backups_dir / filename).rename(tmp_path / "copy.zip")
    assert fastcms(stopped, "import", str(copy)).returncode == 0
    assert fastcms(stopped, "restore", filename, "--yes").returncode == 0
    listed = answer(stopped, "jobs")[1]["items"]
    assert [(job["kind"], job["state"]) for job in listed] == [
        (kind, "succeeded") for kind in ("restore", "upload", "verify", "verify", "create")
    ]


def test_a_copy_is_verified_as_lightly_as_was_asked_for(stopped: Site) -> None:
    filename = service.list_backups(stopped)[0].filename
    address = f"{stopped.settings.backups_dir.absolute().as_uri()}/{filename}"
    assert answer(stopped, "verify", address, "--light")[1]["level"] == "light"


def test_verifying_says_what_is_wrong(stopped: Site) -> None:
    path = Path(service.list_backups(stopped)[0].path)
    path.write_bytes(path.read_bytes()[:-100])
    code, refused = answer(stopped, "verify", path.name)
    assert (code, refused["code"]) == (7, "archive_truncated")
    assert answer(stopped, "verify", NAME)[0] == 3
