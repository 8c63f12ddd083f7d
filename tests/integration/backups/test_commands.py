"""`fastcms backup`, as a user types it: in a wrong folder, beside a damaged database, on a full disk."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastcms.backups import restoring, service
from fastcms.config import Settings
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import restore_without_server, serve_site
from tests.e2e.conftest import clean_environment, free_port

DAMAGE = "this is no database " * 1000


def fastcms(data_dir: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fastcms", *command.split()],
        check=False,
        cwd=data_dir.parent,
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(data_dir)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def answer(site: Site, command: str) -> tuple[int, Any]:
    """The exit code of a command, and what it prints with --json."""
    done = fastcms(site.settings.data_dir, f"{command} --json")
    return done.returncode, json.loads(done.stdout)


def newest(site: Site) -> str:
    return service.list_backups(site)[0].filename


def stage(site: Site) -> None:
    restoring.stage_restore(site, newest(site), "me")


@pytest.mark.parametrize(
    "command",
    [
        *("create", "list", "status", "storage", "history"),
        *("restores", "cancel", "undo --yes", "discard --yes"),
        *("delete backup_20250115_100000.zip", "restore backup_20250115_100000.zip --now --yes"),
    ],
)
def test_a_folder_without_a_site_is_refused_and_stays_as_it_is(tmp_path: Path, command: str) -> None:
    done = fastcms(tmp_path / "data", f"backup {command} --json")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (2, "site_not_found")
    assert list(tmp_path.iterdir()) == []


def test_everything_but_a_new_backup_works_with_a_damaged_database(stopped: Site, tmp_path: Path) -> None:
    path = stopped.settings.database_path
    path.write_text(DAMAGE)
    first = newest(stopped)
    copy = shutil.copy(stopped.settings.backups_dir / first, tmp_path / "copy.zip")
    assert answer(stopped, "backup list")[1]["total"] == 1
    assert answer(stopped, "backup status")[1]["newest"] == first
    assert answer(stopped, "backup restores")[1]["total"] == 0
    assert answer(stopped, f"backup restore {first} --yes")[1]["status"] == "pending_restart"
    assert answer(stopped, "backup cancel")[1]["status"] == "cancelled"
    assert answer(stopped, f"backup delete {first} --yes")[1]["status"] == "deleted"
    assert answer(stopped, f"backup import {copy}")[1]["filename"] == first
    assert path.read_text() == DAMAGE
    assert answer(stopped, "backup create")[1]["code"] == "database_damaged_at_start"
    restored = answer(stopped, f"backup restore {first} --now --yes")
    assert restored == (0, {"status": "restored", "backup_filename": first, "problems": []})
    assert answer(stopped, "backup create")[0] == 0


def test_a_new_machine_needs_no_site_before_a_backup_is_brought(stopped: Site, tmp_path: Path) -> None:
    archive = stopped.settings.backups_dir / newest(stopped)
    new = new_site(Settings(_env_file=None, data_dir=tmp_path / "new" / "data"))
    (tmp_path / "new").mkdir()
    filename = answer(new, f"backup import {archive}")[1]["filename"]
    assert not new.settings.database_path.exists()
    assert answer(new, f"backup restore {filename} --now --yes")[1]["status"] == "restored"
    assert answer(new, "backup undo --now --yes")[1]["code"] == "safety_copy_not_found"


def test_backups_are_listed_and_deleted_on_a_full_disk(stopped: Site, small_disk: Path) -> None:
    full = new_site(Settings(_env_file=None, data_dir=small_disk / "data"))
    shutil.copytree(stopped.settings.data_dir, small_disk / "data")
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    assert answer(full, "admin list")[1]["code"] == "not_enough_space"
    for command in ("list", "restores"):
        assert answer(full, f"backup {command}")[0] == 0
    code, status = answer(full, "backup status")
    assert (code, [reason["code"] for reason in status["reasons"]]) == (1, ["space_critical"])
    assert answer(full, f"backup delete {newest(full)} --yes") == (
        0,
        {"status": "deleted", "filename": newest(stopped)},
    )


def test_a_program_that_forgets_to_confirm_is_told_so(stopped: Site) -> None:
    filename = newest(stopped)
    for command in ("undo", "discard"):  # nothing to ask about
        assert answer(stopped, f"backup {command}")[1]["code"] == "safety_copy_not_found"
    restore_without_server(stopped, lambda: stage(stopped))
    for command in (f"restore {filename}", f"restore {filename} --now", "undo", "discard"):
        status, error = answer(stopped, f"backup {command}")
        assert (status, error["code"], error["hint"]) == (
            2,
            "confirmation_required",
            "Add --yes to answer for it.",
        )
    assert "This is the only backup" in answer(stopped, f"backup delete {filename}")[1]["detail"]
    assert restoring.restore_status(stopped).state == "restored"


def test_while_a_restore_happens_now_others_are_refused_and_it_is_not_disturbed(stopped: Site) -> None:
    seen: list[Any] = []

    def prepare() -> None:
        stage(stopped)
        seen.append(answer(stopped, f"backup restore {newest(stopped)} --now --yes"))
        seen.append(answer(stopped, "backup status")[1]["restore"]["state"])

    other = new_site(stopped.settings)
    receipt = restore_without_server(other, prepare)
    assert receipt is not None
    assert receipt.outcome == "restored"
    (status, refusal), state = seen
    assert (status, refusal["code"], state) == (4, "restore_pending", "pending")


def test_of_two_restores_at_once_the_second_is_told_who_is_at_it(stopped: Site) -> None:
    def prepare() -> None:
        status, refusal = answer(stopped, f"backup restore {newest(stopped)} --now --yes")
        assert (status, refusal["code"]) == (2, "data_folder_in_use")
        assert "(restoring)" in refusal["detail"]
        stage(stopped)

    receipt = restore_without_server(stopped, prepare)
    assert receipt is not None
    assert receipt.outcome == "restored"


def test_a_staged_undo_is_called_one_and_no_second_one_is_offered(stopped: Site) -> None:
    restore_without_server(stopped, lambda: stage(stopped))
    data_dir = stopped.settings.data_dir
    assert "fastcms backup undo" in fastcms(data_dir, "backup status").stdout
    staged = fastcms(data_dir, "backup undo --yes").stdout
    assert staged.startswith(f"The undo of the restore of {newest(stopped)} is checked and staged.")
    assert "fastcms backup undo" not in fastcms(data_dir, "backup status").stdout
    for command in ("undo", f"restore {newest(stopped)}"):
        refused = fastcms(data_dir, f"backup {command} --yes")
        assert refused.returncode == 4
        assert f"undo of the restore of {newest(stopped)} is already staged" in refused.stderr


def test_the_result_of_a_restore_is_printed_once(stopped: Site) -> None:
    done = fastcms(stopped.settings.data_dir, f"backup restore {newest(stopped)} --now --yes")
    assert done.stdout == (
        f"The restore of {newest(stopped)} is complete. Start the server; everybody logs in again.\n"
    )
    assert done.stderr.strip() == ""


def test_what_is_wrong_with_a_backup_is_said_before_it_is_restored(stopped: Site) -> None:
    for number in range(7):
        (stopped.settings.files_dir / f"tab\t{number}").write_text("no name for a backup")
    with serve_site(stopped):
        problems = list(service.create_backup(stopped).problems)
    assert len(problems) == 7
    shown = fastcms(stopped.settings.data_dir, f"backup restore {newest(stopped)}")
    assert shown.returncode == 1
    assert shown.stderr.index(problems[4]) < shown.stderr.index("Replace the database")
    assert "and 2 more" in shown.stderr
    assert "with 7 problem(s)" in fastcms(stopped.settings.data_dir, "backup status").stdout
    code, status = answer(stopped, "backup status")
    assert (code, status["newest_problems"]) == (0, problems)
    assert answer(stopped, f"backup restore {newest(stopped)} --yes")[1]["problems"] == problems


def test_a_damaged_backup_is_seen_in_the_status_and_refused_before_the_question(stopped: Site) -> None:
    archive = stopped.settings.backups_dir / newest(stopped)
    archive.write_bytes(archive.read_bytes()[:-10])
    code, status = answer(stopped, "backup status")
    [problem] = status["newest_problems"]
    assert (code, newest(stopped) in problem) == (1, True)
    assert answer(stopped, f"backup restore {newest(stopped)}")[0] == 7


def test_a_folder_is_no_archive(stopped: Site) -> None:
    assert answer(stopped, "backup import /")[1]["detail"] == "/ cannot be read: it is a folder."


def link_database(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def damage_database(path: Path) -> None:
    path.write_text(DAMAGE)


def write_newer_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize("spoil", [link_database, damage_database, write_newer_schema])
def test_a_server_that_cannot_start_ends_with_the_documented_code_and_invites_nobody(
    stopped: Site, spoil: Callable[[Path], None]
) -> None:
    spoil(stopped.settings.database_path)
    done = serve(stopped)
    output = done.communicate()[1]
    assert (done.returncode, "FastCMS cannot start" in output, "log in at" in output) == (2, True, False)


def test_a_second_server_ends_with_the_documented_code(stopped: Site) -> None:
    with serve_site(stopped):
        done = serve(stopped)
        assert "Another server already uses" in done.communicate()[1]
        assert done.returncode == 2


def test_a_server_says_where_to_log_in_and_ends_at_ctrl_c(stopped: Site) -> None:
    server = serve(stopped)
    assert server.stderr is not None
    assert any("log in at http://localhost:" in line for line in server.stderr)
    server.send_signal(signal.SIGINT)
    server.communicate()
    assert server.returncode == 0


def serve(site: Site) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["fastcms", "serve"],
        env=clean_environment()
        | {"FASTCMS_DATA_DIR": str(site.settings.data_dir), "FASTCMS_PORT": str(free_port())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
