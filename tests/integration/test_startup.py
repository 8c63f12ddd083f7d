"""What happens between the start of a process and its first connection to app.db."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastcms.backups import restoring, service
from fastcms.backups.engine.pending import Phase, advance, fingerprint_of, read_marker, write_marker
from fastcms.backups.folder import data_paths
from fastcms.backups.restore_schemas import RestoreState
from fastcms.config import Settings
from fastcms.errors import (
    BackupError,
    ConfigError,
    DataFolderInUseError,
    NotEnoughSpaceError,
    SchemaTooNewError,
)
from fastcms.main import create_app
from fastcms.media import service as media
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import hold_folder, restore_without_server, serve_site, use_site
from tests.conftest import AS_ROOT
from tests.e2e.conftest import clean_environment, free_port


def stage(site: Site) -> None:
    with use_site(site):
        restoring.stage_restore(site, service.list_backups(site)[0].filename, "me")


def state(site: Site) -> RestoreState:
    return restoring.restore_status(site).state


def test_a_server_applies_a_staged_restore_and_a_command_does_not(stopped: Site) -> None:
    stage(stopped)
    with use_site(stopped):
        assert state(stopped) is RestoreState.PENDING
    with serve_site(stopped):
        assert state(stopped) is RestoreState.RESTORED


HOLD = """
import sys, time
from pathlib import Path
from fastcms import startup
from fastcms.config import Settings
from fastcms.site import new_site
site = new_site(Settings(_env_file=None, data_dir=Path(sys.argv[2])))
with getattr(startup, sys.argv[1])(site):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def other_process(site: Site, way_in: str) -> Iterator[int]:
    """Another process that holds the data folder; its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, way_in, str(site.settings.data_dir)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


def test_a_worker_that_joins_its_server_does_not_restore_under_it(stopped: Site) -> None:
    with serve_site(stopped):
        stage(stopped)
        with serve_site(new_site(stopped.settings)):
            assert state(stopped) is RestoreState.PENDING
    with serve_site(stopped):
        assert state(stopped) is RestoreState.RESTORED


def test_a_second_server_is_refused_and_told_who_holds_the_folder(stopped: Site) -> None:
    with other_process(stopped, "serve_site") as pid:
        stage(stopped)
        refusal = rf"already uses the data folder {stopped.settings.data_dir}: process {pid} \(serving\)\.$"
        with pytest.raises(DataFolderInUseError, match=refusal), serve_site(stopped):
            pytest.fail("two servers share a folder")
        assert state(stopped) is RestoreState.PENDING
    with serve_site(stopped):
        assert state(stopped) is RestoreState.RESTORED


def test_what_a_dead_server_left_in_the_lock_files_means_nothing(stopped: Site) -> None:
    with other_process(stopped, "serve_site") as pid:
        pass
    assert f'"pid": {pid}' in (stopped.settings.data_dir / ".serving").read_text()
    with serve_site(stopped):
        assert str(pid) not in (stopped.settings.data_dir / ".serving").read_text()


@pytest.mark.parametrize("name", [".serving", ".commands", ".starting"])
@pytest.mark.parametrize(
    "content", ["", "4711 starting", '{"pid": 1, "purpose": "serving", "group": "x"}', "\0"]
)
def test_nonsense_in_a_lock_file_means_nothing(stopped: Site, name: str, content: str) -> None:
    (stopped.settings.data_dir / name).write_text(content)
    with serve_site(stopped), serve_site(new_site(stopped.settings)):
        pass


def interrupt_swap(site: Site) -> None:
    """Leave a swap as a process that was killed in it."""
    paths = data_paths(site)
    pending = read_marker(paths)
    assert pending is not None
    advance(paths, pending, Phase.MOVING_OUT)
    paths.files_dir.rename(pending.replaced(paths).files)


def newest(site: Site) -> str:
    return service.list_backups(site)[0].filename


def test_a_command_stages_and_applies_a_restore_when_it_is_alone(stopped: Site) -> None:
    seen = []

    def prepare() -> None:
        with pytest.raises(DataFolderInUseError, match="restoring"):
            restore_without_server(new_site(stopped.settings), lambda: pytest.fail("two restores at once"))
        restoring.stage_restore(stopped, newest(stopped), "me")
        seen.append(state(stopped))

    receipt = restore_without_server(stopped, prepare)
    assert receipt is not None
    assert receipt.outcome == "restored"
    assert (seen, state(stopped)) == ([RestoreState.PENDING], RestoreState.RESTORED)


def test_a_restore_that_cannot_be_staged_leaves_the_folder_free_and_the_site_as_it_was(stopped: Site) -> None:
    def prepare() -> None:
        raise BackupError("no")

    with pytest.raises(BackupError, match="no"):
        restore_without_server(stopped, prepare)
    with serve_site(stopped):
        assert state(stopped) is RestoreState.NONE


def test_a_command_finishes_an_interrupted_restore_before_it_applies_another(stopped: Site) -> None:
    stage(stopped)
    interrupt_swap(stopped)
    receipt = restore_without_server(
        stopped, lambda: restoring.stage_restore(stopped, newest(stopped), "me again")
    )
    assert receipt is not None
    assert receipt.requested_by == "me again"
    assert [(r.requested_by, r.outcome) for r in restoring.list_restores(stopped)] == [
        ("me again", "restored"),
        ("me", "restored"),
    ]


def test_a_restore_on_a_new_machine_leaves_no_safety_copy_of_nothing(stopped: Site) -> None:
    stopped.settings.database_path.unlink()
    receipt = restore_without_server(stopped, lambda: restoring.stage_restore(stopped, newest(stopped), "me"))
    assert receipt is not None
    assert receipt.outcome == "restored"
    assert restoring.restore_status(stopped).safety_copy is None


@pytest.mark.parametrize(
    ("way_in", "purpose"), [("serve_site", "serving"), ("use_site", "a fastcms command")]
)
def test_a_command_applies_no_restore_beside_a_server_or_another_command(
    stopped: Site, way_in: str, purpose: str
) -> None:
    with other_process(stopped, way_in) as pid:
        refusal = rf"is in use by process {pid} \({purpose}\)"
        with pytest.raises(DataFolderInUseError, match=refusal):
            restore_without_server(stopped, lambda: pytest.fail("it restored under somebody"))


def hold(site: Site) -> AbstractContextManager[None]:
    return hold_folder(site, "staging")


def test_whoever_holds_the_folder_without_opening_the_database_keeps_servers_out(stopped: Site) -> None:
    stopped.settings.database_path.write_text("no database at all " * 1000)
    with hold_folder(stopped, "staging"):
        assert ".commands" in {path.name for path in stopped.settings.data_dir.iterdir()}
        with pytest.raises(DataFolderInUseError, match=r"\(staging\)"):
            restore_without_server(stopped, lambda: pytest.fail("it restored under somebody"))


def test_a_damaged_database_stops_a_start_and_a_restore_puts_it_right(stopped: Site) -> None:
    stopped.settings.database_path.write_text("no database at all " * 1000)
    with (
        pytest.raises(ConfigError, match=r"app\.db is damaged: file is not a database") as caught,
        serve_site(stopped),
    ):
        pytest.fail("it was served")
    assert caught.value.code == "database_damaged_at_start"
    assert "fastcms backup restore NAME --now" in caught.value.hint
    receipt = restore_without_server(stopped, lambda: restoring.stage_restore(stopped, newest(stopped), "me"))
    assert receipt is not None
    assert receipt.outcome == "restored"
    with serve_site(stopped):
        pass


def test_a_full_disk_stops_a_start_with_the_free_bytes(small_disk: Path) -> None:
    site = new_site(Settings(_env_file=None, data_dir=small_disk))
    with serve_site(site):
        pass
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with (
        pytest.raises(NotEnoughSpaceError, match=r"The disk is full: [\d,]+ bytes are free in") as caught,
        serve_site(site),
    ):
        pytest.fail("it was served")
    assert "fastcms backup delete" in caught.value.hint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_waits_for_a_command_says_so_and_can_be_ended(
    stopped: Site, number: signal.Signals
) -> None:
    with (
        use_site(stopped, "a long import"),
        subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(free_port())],
            env=clean_environment() | {"FASTCMS_DATA_DIR": str(stopped.settings.data_dir)},
            stderr=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stderr is not None
        said = next(line for line in server.stderr if "Waiting until" in line)
        server.send_signal(number)
        assert said == f"Waiting until process {os.getpid()} (a long import) has finished.\n"
        assert server.wait() == -number


def test_a_link_as_database_is_refused(stopped: Site) -> None:
    path = stopped.settings.database_path
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")
    for way_in in (serve_site, use_site, hold):
        with (
            pytest.raises(ConfigError, match=r"is a symbolic link to elsewhere\.db") as caught,
            way_in(stopped),
        ):
            pytest.fail("it was opened")
        assert caught.value.code == "database_is_link"
    with pytest.raises(ConfigError, match="symbolic link"):
        restore_without_server(stopped, lambda: pytest.fail("it was staged"))
    assert not path.with_name("elsewhere.db-wal").exists()


def test_a_command_finishes_a_swap_that_was_interrupted(stopped: Site) -> None:
    stage(stopped)
    interrupt_swap(stopped)
    with use_site(stopped):
        assert state(stopped) is RestoreState.RESTORED
    assert stopped.settings.files_dir.is_dir()


def test_a_marker_that_is_not_ours_is_moved_aside_and_the_site_is_served(stopped: Site) -> None:
    marker = data_paths(stopped).marker
    marker.write_text("restore, please")
    with serve_site(stopped):
        assert state(stopped) is RestoreState.NONE
    [kept] = marker.parent.glob(".restore_pending.unreadable*")
    assert kept.read_text() == "restore, please"


def change_staged_database(site: Site, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change it as if it had been staged so."""
    paths = data_paths(site)
    pending = read_marker(paths)
    assert pending is not None
    database_path = pending.incoming(paths).database
    with closing(sqlite3.connect(database_path, isolation_level=None)) as staged:
        change(staged)
    write_marker(paths, replace(pending, fingerprint=fingerprint_of(pending.incoming(paths))))


def test_an_older_schema_in_a_backup_is_migrated_forward(stopped: Site) -> None:
    """There is one revision so far, so the older one is a database before the first: without tables."""

    def drop_all(staged: sqlite3.Connection) -> None:
        staged.execute("PRAGMA foreign_keys=OFF")
        for (name,) in staged.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            staged.execute(f'DROP TABLE "{name}"')

    stage(stopped)
    change_staged_database(stopped, drop_all)
    with serve_site(stopped):
        assert state(stopped) is RestoreState.RESTORED
        with stopped.database.read() as session:
            assert media.list_files(session) == ([], 0)


def test_a_database_of_a_newer_version_is_not_served(stopped: Site) -> None:
    with closing(sqlite3.connect(stopped.settings.database_path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNewError, match="schema 9999"), serve_site(stopped):
        pytest.fail("it was served")


def test_a_restored_database_of_a_newer_version_is_rolled_back(stopped: Site) -> None:
    stage(stopped)
    change_staged_database(
        stopped, lambda staged: staged.execute("UPDATE alembic_version SET version_num = '9999'")
    )
    with serve_site(stopped):
        status = restoring.restore_status(stopped)
        assert status.state is RestoreState.ROLLED_BACK
        assert status.reason is not None
        assert "schema 9999" in status.reason


def test_the_wal_of_a_replaced_database_is_moved_aside(stopped: Site, tmp_path: Path) -> None:
    path = stopped.settings.database_path
    with closing(sqlite3.connect(path, isolation_level=None)) as live:
        live.execute("UPDATE alembic_version SET version_num = version_num")
        shutil.copy(f"{path}-wal", tmp_path / "wal")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:  # somebody's, in rollback mode
        copy.execute("CREATE TABLE theirs (id)")
    shutil.copy(tmp_path / "copy.db", path)
    shutil.copy(tmp_path / "wal", f"{path}-wal")
    with serve_site(stopped), closing(sqlite3.connect(path)) as served:
        assert served.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    assert [p.stat().st_size > 0 for p in path.parent.glob("app.db-wal.foreign-*")] == [True]


def test_the_code_for_setting_up_is_printed_until_there_is_an_admin(
    anonymous: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = anonymous.app.state.site.settings  # type: ignore[attr-defined] # typed as a callable
    anonymous.__exit__(None, None, None)
    with TestClient(create_app(settings)):
        pass
    assert "set-up code" in capsys.readouterr().err


def test_receipts_survive_the_restores_they_are_about(stopped: Site) -> None:
    for _ in range(2):
        stage(stopped)
        with serve_site(stopped):
            pass
    lines = data_paths(stopped).receipts.read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["restored", "restored"]


def test_root_does_not_work_on_another_users_site(stopped: Site) -> None:
    """What root leaves behind, locks and archives, the server's own user could not open."""
    subprocess.run([*AS_ROOT, "chown", "65534", stopped.settings.database_path], check=True)
    done = subprocess.run(
        [*AS_ROOT, sys.executable, "-m", "fastcms", "backup", "list", "--json"],
        check=False,
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(stopped.settings.data_dir)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, json.loads(done.stdout)["code"]) == (2, "wrong_user")


@pytest.mark.parametrize("name", ["what?", "per%41cent", "q?mode=memory&x", "spaced out", "日本"])
def test_any_name_of_the_data_folder_is_taken_literally(tmp_path: Path, name: str) -> None:
    site = new_site(Settings(_env_file=None, data_dir=tmp_path / name))
    with serve_site(site):
        service.create_backup(site)
    assert (tmp_path / name / "app.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
