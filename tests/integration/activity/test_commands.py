"""What commands leave in the log, and `fastcms activity`."""

import getpass
import json
import os
from pathlib import Path
from typing import Any

from fastcms.activity import service
from fastcms.backups.service import list_backups
from fastcms.site import Site
from tests.integration.accounts.test_commands import fastcms

ME = f"{getpass.getuser()} (command line)"


def entries(folder: Path) -> list[dict[str, Any]]:
    status, printed, _ = fastcms(folder, "activity", "--json")
    assert status == 0
    found: list[dict[str, Any]] = json.loads(printed)["items"]
    return found


def test_a_name_that_is_no_text_is_told_all_the_same(tmp_path: Path) -> None:
    fastcms(tmp_path, "admin", "create", "a@example.com")
    fastcms(tmp_path, "backup", "import", os.fsdecode(b"\xff.zip"))
    (found, _) = entries(tmp_path)
    assert found["sentence"] == "Tried to import a backup from .zip"


def test_commands_that_change_something_are_told_and_others_are_not(tmp_path: Path) -> None:
    fastcms(tmp_path, "admin", "create", "a@example.com")
    fastcms(tmp_path, "admin", "list")
    (tmp_path / "posts.csv").write_text("title\none\ntwo\n")
    fastcms(tmp_path, "content", "import", "posts.csv", "--collection", "posts", "--create")
    fastcms(tmp_path, "backup", "prune", "--dry-run")
    fastcms(tmp_path, "backup", "delete", "backup_20250115_100000.zip", "--yes")
    found = entries(tmp_path)
    assert [entry["sentence"] for entry in reversed(found)] == [
        "Created the admin a@example.com",
        "Imported 2 records into posts",
        "Tried to delete the backup backup_20250115_100000.zip",
    ]
    assert {(entry["who"], entry["kind"]) for entry in found} == {(ME, "terminal")}
    assert found[0]["reason"] == "There is no backup backup_20250115_100000.zip."
    _, printed, _ = fastcms(tmp_path, "activity", "--limit", "1")
    assert printed.endswith(
        f"UTC  {ME}: Tried to delete the backup backup_20250115_100000.zip. "
        "Refused: There is no backup backup_20250115_100000.zip.\n"
    )
    assert fastcms(tmp_path, "activity", "--search", "posts")[1].count("\n") == 1


def test_a_command_in_a_mistyped_folder_leaves_nothing_there(tmp_path: Path) -> None:
    assert fastcms(tmp_path, "backup", "delete", "backup_20250115_100000.zip", "--yes")[0] != 0
    assert fastcms(tmp_path, "activity")[1] == "Nothing so far.\n"
    assert list(tmp_path.iterdir()) == []


def test_the_log_goes_on_after_a_restore_and_says_so(stopped: Site) -> None:
    folder = stopped.settings.data_dir.parent
    (backup,) = list_backups(stopped)
    fastcms(folder, "token", "create", "after-the-backup")
    assert fastcms(folder, "backup", "restore", backup.filename, "--now", "--yes")[0] == 0
    assert fastcms(folder, "backup", "undo", "--now", "--yes")[0] == 0
    found = service.list_entries(stopped).items
    assert [entry.sentence for entry in reversed(found)] == [
        "Created the API token after-the-backup",
        f"The site was restored from {backup.filename}",
        f"Started the restore of {backup.filename}",
        f"The restore of {backup.filename} was undone",
        "Prepared the way back to the state before the latest restore",
    ]
    assert (found[1].who, found[1].kind, found[1].action) == (ME, "site", "restore.complete")
