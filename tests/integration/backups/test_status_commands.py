"""`fastcms backup status`, `storage` and `history`, as they are typed."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fastcms.backups import deletion, jobs, service, tasks
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobKind
from fastcms.backups.jobs import Task
from fastcms.backups.schemas import Backup, describe_created
from fastcms.cli import app
from fastcms.errors import BackupError
from fastcms.site import Site, new_site


@pytest.fixture
def site(stopped: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(stopped.settings.data_dir))
    return new_site(stopped.settings)


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["backup", *words])


def answer(*words: str) -> Any:
    return json.loads(typed(*words, "--json").stdout)


def fail(site: Site) -> None:
    def work(on_progress: OnProgress) -> Backup:
        on_progress(Progress("failing", 0, 0))
        raise BackupError("Disk [full].", hint="Make space.")

    with pytest.raises(BackupError):
        jobs.run(site, Task(JobKind.CREATE, "me", work, describe_created))


def test_the_status_of_a_safe_site_ends_with_0(site: Site) -> None:
    done = typed("status")
    filename = service.list_backups(site)[0].filename
    assert done.exit_code == 0
    assert done.stdout.startswith("Everything is backed up.\n")
    for part in (
        f"Newest backup: {filename}, ",
        "Next backup: ",
        "are free; 1 backup(s)",
        "No restore so far.",
    ):
        assert part in done.stdout


def test_a_site_that_is_safe_with_warnings_ends_with_0(site: Site) -> None:
    change_settings(site, {"schedule": "off"})
    done = typed("status")
    assert done.exit_code == 0
    assert done.stdout.startswith("Backed up, with warnings.\n")
    assert "No backup is made by itself" in done.stdout
    assert "What to do: " in done.stdout


def test_what_cannot_be_known_is_not_called_off(site: Site) -> None:
    history_path(site).unlink(missing_ok=True)
    history_path(site).mkdir()
    assert "Next backup: not known." in typed("status").stdout


def test_a_site_that_is_not_safe_ends_with_1_and_says_why(site: Site) -> None:
    fail(site)
    done = typed("status")
    assert done.exit_code == 1
    assert done.stdout.startswith("A backup needs attention.\n")
    assert "Disk [full]." in done.stdout
    assert "What to do: Make space." in done.stdout


def test_a_site_without_a_backup_ends_with_1(site: Site) -> None:
    deletion.delete_backup(site, service.list_backups(site)[0].filename, "me")
    done = typed("status")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "Waiting for the first backup.")
    assert "Newest backup: none yet." in done.stdout


def test_programs_get_what_they_always_got_and_the_whole_status(site: Site) -> None:
    found = answer("status")
    assert (found["total"], found["newest_problems"], found["restore"]["state"]) == (1, [], "none")
    assert found["newest"] == found["last_success"]["filename"] == service.list_backups(site)[0].filename
    assert (found["state"], found["is_safe"], found["storage"]["backups"]) == ("ok", True, 1)
    fail(site)
    done = typed("status", "--json")
    assert (done.exit_code, json.loads(done.stdout)["state"]) == (1, "attention")


def test_the_space_is_shown(site: Site) -> None:
    done = typed("storage")
    assert done.exit_code == 0
    for part in ("are free", "Safety copy", "Uploaded files", "at most", "not known in the first days"):
        assert part in done.stdout
    assert answer("storage")["backups"] == 1


def test_the_history_is_shown_newest_first(site: Site) -> None:
    assert "Nothing of the kind" in typed("history").stdout
    backup = jobs.run(site, tasks.creation(site, "me"))
    fail(site)
    shown = " ".join(typed("history").stdout.split())  # lines may be broken anywhere
    assert shown.index("Disk [full].") < shown.index(f"create {backup.filename}") < shown.index("succeeded")
    found = answer("history", "--kind", "create", "--state", "failed", "--last", "5")
    assert (found["total"], [item["state"] for item in found["items"]]) == (1, ["failed"])
