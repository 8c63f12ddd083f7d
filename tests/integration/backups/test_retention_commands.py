"""`fastcms backup prune`, `pin` and `unpin`, as a user types them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastcms.backups import service
from fastcms.site import Site
from tests.e2e.conftest import clean_environment

OLD = "backup_20200101_020000.zip"
KEEPS_ONE = {f"FASTCMS_BACKUP_KEEP_{period}": "0" for period in ("DAILY", "WEEKLY", "MONTHLY")} | {
    "FASTCMS_BACKUP_KEEP_LAST": "1"
}


@pytest.fixture
def old(stopped: Site) -> Path:
    """A backup that no rule keeps, beside that of today."""
    newest = Path(service.list_backups(stopped)[0].path)
    return Path(shutil.copy(newest, newest.with_name(OLD)))


def fastcms(site: Site, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fastcms", *command.split()],
        check=False,
        env=clean_environment() | KEEPS_ONE | {"FASTCMS_DATA_DIR": str(site.settings.data_dir)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def answer(site: Site, command: str) -> tuple[int, Any]:
    done = fastcms(site, f"{command} --json")
    return done.returncode, json.loads(done.stdout)


def test_a_dry_run_says_why_each_stays_or_goes_and_removes_nothing(stopped: Site, old: Path) -> None:
    shown = fastcms(stopped, "backup prune --dry-run")
    assert shown.returncode == 0
    newest_words, old_words = (line.split(maxsplit=4) for line in shown.stdout.splitlines()[1:3])
    assert [word.strip() for word in newest_words[3:]] == ["keep", "the newest backup; backup 1 of 1"]
    assert [old_words[0], *(word.strip() for word in old_words[3:])] == [OLD, "remove", "no rule keeps it"]
    assert "1 of 2 backups stay" in shown.stdout
    status, retention = answer(stopped, "backup prune --dry-run")
    assert (status, [item["keep"] for item in retention["items"]]) == (0, [True, False])
    assert old.exists()


def test_pruning_asks_and_names_what_it_removes(stopped: Site, old: Path) -> None:
    size_bytes = old.stat().st_size
    refused = fastcms(stopped, "backup prune")
    assert refused.returncode == 1
    assert f"Delete {OLD} (" in refused.stderr
    assert old.exists()
    expected = {"removed": [OLD], "removed_bytes": size_bytes, "failed": {}, "excess_bytes": 0}
    assert answer(stopped, "backup prune --yes") == (0, expected)
    assert not old.exists()
    assert "nothing to remove" in fastcms(stopped, "backup prune").stdout


def test_a_pinned_backup_stays_until_it_is_unpinned(stopped: Site, old: Path) -> None:
    assert answer(stopped, f"backup pin {OLD}") == (0, {"status": "pinned", "filename": OLD})
    assert fastcms(stopped, "backup list").stdout.splitlines()[2].split()[-1] == "pinned"
    assert answer(stopped, "backup prune --yes")[1]["removed"] == []
    status, refusal = answer(stopped, f"backup delete {OLD}")  # before anybody is asked
    assert (status, refusal["code"]) == (4, "backup_pinned")
    assert "fastcms backup unpin" in refusal["hint"]
    assert f"{OLD} is not pinned" in fastcms(stopped, f"backup unpin {OLD}").stdout
    assert fastcms(stopped, f"backup delete {OLD} --yes").stdout == f"Deleted {OLD}.\n"
