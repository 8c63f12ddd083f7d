"""`fastcms doctor`: each thing that can be wrong is broken for real, found, and left as it is."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fastcms.backups import restoring, service
from fastcms.backups.engine.pending import Phase, advance, read_marker
from fastcms.backups.folder import data_paths
from fastcms.config import Settings
from fastcms.doctor.examination import Report, examine
from fastcms.doctor.findings import Level
from fastcms.media.service import add_file
from fastcms.site import Site, new_site
from fastcms.sqlite import WITHOUT_WAL_RESET_BUG, sqlite3
from fastcms.startup import serve_site, use_site
from tests.conftest import AS_ROOT
from tests.e2e.conftest import REPOSITORY, Server, clean_environment

NOTHING = {"not_serving"}
UPLOAD = "one_two_three.txt"


@pytest.fixture
def stopped(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """A site that is not running, with one upload and one backup."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(settings.data_dir))
    site = new_site(settings)
    with serve_site(site):
        source = tmp_path / UPLOAD
        source.write_bytes(b"one two three")
        with source.open("rb") as file:
            add_file(site, file, UPLOAD)
        service.create_backup(site)
    return site


def state_of(folder: Path) -> dict[str, Any]:
    """Everything that is in a folder: names, modes, times and bytes."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_mtime_ns, content)
    return found


def examine_unchanged(site: Site, *, is_deep: bool = False) -> Report:
    before = state_of(site.settings.data_dir)
    report = examine(is_deep=is_deep)
    assert state_of(site.settings.data_dir) == before
    return report


def codes(report: Report) -> set[str]:
    """The codes of everything that is not simply well."""
    return {finding.code for finding in report.findings if finding.level is not Level.OK}


def found(site: Site, *, is_deep: bool = False) -> set[str]:
    return codes(examine_unchanged(site, is_deep=is_deep)) - NOTHING


def message_of(site: Site, code: str) -> str:
    return next(finding.message for finding in examine_unchanged(site).findings if finding.code == code)


def upload_path(site: Site) -> Path:
    (path,) = (path for path in site.settings.files_dir.iterdir() if path.is_file())
    return path


def backup_path(site: Site) -> Path:
    (path,) = site.settings.backups_dir.glob("*.zip")
    return path


def change_database(site: Site, *statements: str) -> None:
    """Change app.db as another program would, leaving no WAL behind."""
    with closing(sqlite3.connect(site.settings.database_path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def leave_wal(site: Site) -> None:
    """Die with a commit in the WAL."""
    program = (
        "import os, sys; from fastcms.sqlite import sqlite3\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('DELETE FROM files'); os.kill(os.getpid(), 9)"
    )
    subprocess.run(
        [sys.executable, "-c", program, site.settings.database_path], env=clean_environment(), check=False
    )


def stage(site: Site) -> None:
    with use_site(site):
        restoring.stage_restore(site, backup_path(site).name, "me")


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_site_in_which_all_is_well_is_healthy(stopped: Site, is_deep: bool) -> None:
    report = examine_unchanged(stopped, is_deep=is_deep)
    assert codes(report) == NOTHING
    assert report.is_healthy


def test_a_site_beside_a_running_server_is_healthy_and_the_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        subprocess.run(["fastcms", "backup", "create"], cwd=tmp_path, env=clean_environment(), check=True)
        before = {name: state for name, state in state_of(tmp_path / "data").items() if "-shm" not in name}
        monkeypatch.chdir(tmp_path)
        report = examine(is_deep=True)
        after = {name: state for name, state in state_of(tmp_path / "data").items() if "-shm" not in name}
        assert after == before
    finally:
        server.stop()
    assert codes(report) == set()
    serving = next(finding for finding in report.findings if finding.code == "serving")
    assert f"process {server_pid(server)} (serving)" in serving.message


def server_pid(server: Server) -> int:
    match = re.search(r"Started server process \[(\d+)\]", server.terminal)
    assert match is not None
    return int(match[1])


def test_what_a_killed_server_left_in_the_wal_is_read_and_left_there(stopped: Site) -> None:
    leave_wal(stopped)
    assert found(stopped) == {"file_without_row"}


def test_a_wal_without_its_index_is_not_touched(stopped: Site) -> None:
    leave_wal(stopped)
    (stopped.settings.data_dir / "app.db-shm").unlink()
    assert found(stopped) == {"database_unchecked"}


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def put_another_database(site: Site) -> None:
    path = site.settings.database_path
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE theirs (id)")
    path.chmod(0o600)


def put_a_link(site: Site) -> None:
    path = site.settings.database_path
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def put_a_copy_beside_a_wal(site: Site) -> None:
    leave_wal(site)
    overwrite(site.settings.database_path, 18, b"\x01\x01")


def add_private_file(path: Path, content: bytes = b"x") -> None:
    path.write_bytes(content)
    path.chmod(0o600)


def data(site: Site, name: str) -> Path:
    return site.settings.data_dir / name


def make_old(site: Site, age: timedelta) -> None:
    made = datetime.now(UTC) - age
    path = backup_path(site)
    path.rename(path.with_name(f"backup_{made:%Y%m%d_%H%M%S}.zip"))


DATABASE: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "missing": (lambda site: site.settings.database_path.unlink(), {"database_missing"}),
    "empty": (lambda site: site.settings.database_path.write_bytes(b""), {"database_not_sqlite"}),
    "overwritten": (
        lambda site: overwrite(site.settings.database_path, 0, b"no database"),
        {"database_not_sqlite"},
    ),
    "damaged": (
        lambda site: overwrite(site.settings.database_path, 4096, os.urandom(40960)),
        {"database_damaged"},
    ),
    "cut off": (lambda site: os.truncate(site.settings.database_path, 20000), {"database_damaged"}),
    "inconsistent": (
        lambda site: change_database(
            site,
            "INSERT INTO sessions (token_hash, account_id, created, expires, last_used) "
            "VALUES ('a', 'nobody', '', '', '')",
        ),
        {"database_inconsistent"},
    ),
    "newer": (
        lambda site: change_database(site, "UPDATE alembic_version SET version_num = '9999'"),
        {"schema_too_new"},
    ),
    "another program's": (put_another_database, {"database_not_fastcms"}),
    "a link": (put_a_link, {"database_is_link"}),
    "a copy": (lambda site: overwrite(site.settings.database_path, 18, b"\x01\x01"), {"database_copied"}),
    "a copy beside a WAL": (put_a_copy_beside_a_wal, {"journal_foreign"}),
    "beside a rollback journal": (
        lambda site: add_private_file(data(site, "app.db-journal")),
        {"journal_foreign"},
    ),
    "beside a kept journal": (
        lambda site: add_private_file(data(site, "app.db-wal.foreign-20250115_100000")),
        {"journal_kept"},
    ),
}


@pytest.mark.parametrize("name", DATABASE)
def test_what_is_wrong_with_the_database_is_found(stopped: Site, name: str) -> None:
    breaks, expected = DATABASE[name]
    breaks(stopped)
    assert found(stopped) == expected


FILES: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "missing": (lambda site: upload_path(site).unlink(), {"file_missing"}),
    "shorter": (lambda site: os.truncate(upload_path(site), 3), {"file_damaged"}),
    "without a row": (lambda site: add_private_file(data(site, "files/by hand.txt")), {"file_without_row"}),
    "an upload broken off": (
        lambda site: add_private_file(data(site, "files/.upload-0123")),
        {"upload_left_over"},
    ),
    "folder gone": (lambda site: shutil.rmtree(site.settings.files_dir), {"files_missing"}),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_the_files_is_found(stopped: Site, name: str) -> None:
    breaks, expected = FILES[name]
    breaks(stopped)
    assert found(stopped) == expected


def test_a_changed_byte_in_a_file_or_a_backup_is_found_by_reading_everything(stopped: Site) -> None:
    overwrite(upload_path(stopped), 0, b"O")
    archive = backup_path(stopped)
    # Of the upload, which is too short to be worth compressing.
    overwrite(archive, archive.read_bytes().index(b"one two three"), b"O")
    assert found(stopped) == set()
    assert found(stopped, is_deep=True) == {"file_damaged", "backup_damaged"}


def test_a_file_of_a_deletion_that_was_broken_off_is_not_missing(stopped: Site) -> None:
    trash = data(stopped, "files/.trash")
    trash.mkdir(mode=0o700, exist_ok=True)
    upload_path(stopped).rename(trash / upload_path(stopped).name)
    assert found(stopped) == {"trash_not_empty"}


def interrupt(site: Site) -> None:
    stage(site)
    paths = data_paths(site)
    pending = read_marker(paths)
    assert pending is not None
    advance(paths, pending, Phase.MOVING_OUT)


def lose_the_marker(site: Site) -> None:
    stage(site)
    data(site, "backups/.restore_pending").unlink()


def change_what_is_staged(site: Site) -> None:
    stage(site)
    os.utime(data(site, "backups/restore_staging/database.db"), (0, 0))


def unzip_by_hand(site: Site) -> None:
    shutil.unpack_archive(backup_path(site), data(site, "backups/restore_staging"))


def serve_until_tidy(site: Site) -> None:
    with serve_site(site):
        deadline = time.monotonic() + 30
        while list(site.settings.data_dir.rglob(".discarded-*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def restore(site: Site) -> None:
    stage(site)
    serve_until_tidy(site)


def fail_to_restore(site: Site) -> None:
    change_what_is_staged(site)
    serve_until_tidy(site)


RESTORES: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "staged": (stage, {"restore_pending"}),
    "changed after staging": (change_what_is_staged, {"restore_staging_changed"}),
    "interrupted": (interrupt, {"restore_interrupted"}),
    "with a marker of somebody else": (
        lambda site: add_private_file(data(site, "backups/.restore_pending")),
        {"restore_marker_unreadable"},
    ),
    "with such a marker moved aside": (
        lambda site: add_private_file(data(site, "backups/.restore_pending.unreadable")),
        {"restore_marker_kept"},
    ),
    "by hand": (unzip_by_hand, {"staging_by_hand"}),
    "with a partial backup": (
        lambda site: add_private_file(data(site, "backups/.backup_20250115_100000.zip.partial")),
        {"left_over"},
    ),
    "without a marker": (lose_the_marker, {"left_over"}),
    "interrupted, then without its marker": (
        lambda site: add_private_file(data(site, "app.db.replaced")),
        {"restore_marker_lost"},
    ),
    "done": (restore, {"safety_copy"}),
    "rolled back": (fail_to_restore, {"restore_rolled_back"}),
}


@pytest.mark.parametrize("name", RESTORES)
def test_what_there_is_of_a_restore_is_found(stopped: Site, name: str) -> None:
    breaks, expected = RESTORES[name]
    breaks(stopped)
    assert found(stopped) == expected


def test_nothing_is_called_left_over_while_somebody_works_with_it(stopped: Site) -> None:
    add_private_file(data(stopped, "backups/.backup_20250115_100000.zip.partial"))
    add_private_file(data(stopped, "files/.upload-0123"))
    program = (
        "import fcntl, os, sys\n"
        "for path in sys.argv[1:]: fcntl.flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    paths = [data(stopped, "backups/.lock"), data(stopped, "files/.upload-0123")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert found(stopped) == set()
        holder.kill()


BACKUPS: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "none": (lambda site: backup_path(site).unlink(), {"backup_none"}),
    "old": (lambda site: make_old(site, timedelta(days=9)), {"backup_old"}),
    "in time": (lambda site: make_old(site, timedelta(days=7)), set()),
    "of the future": (lambda site: make_old(site, -timedelta(days=2)), {"clock_wrong"}),
    "cut off": (lambda site: os.truncate(backup_path(site), 1000), {"backup_damaged"}),
    "empty": (lambda site: os.truncate(backup_path(site), 0), {"backup_damaged"}),
    "for everybody": (lambda site: backup_path(site).chmod(0o644), {"mode_open"}),
}


@pytest.mark.parametrize("name", BACKUPS)
def test_what_is_wrong_with_the_backups_is_found(stopped: Site, name: str) -> None:
    breaks, expected = BACKUPS[name]
    breaks(stopped)
    assert found(stopped) == expected


@pytest.mark.parametrize("name", [".", "files", "backups", "app.db", ".secret_key"])
def test_what_others_may_read_is_found(stopped: Site, name: str) -> None:
    path = data(stopped, name)
    path.chmod(path.stat().st_mode | 0o040)
    assert found(stopped) == {"mode_open"}
    assert (path.name or "data") in message_of(stopped, "mode_open")


def test_what_belongs_to_another_user_is_found(stopped: Site) -> None:
    subprocess.run([*AS_ROOT, "chown", "65534", backup_path(stopped)], check=True)
    report = examine_unchanged(stopped)
    assert "owner_differs" in codes(report)
    assert backup_path(stopped).name in message_of(stopped, "owner_differs")


def test_another_user_is_told_whom_the_site_belongs_to(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    as_nobody = [*AS_ROOT, "setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all"]
    program = (
        "import json; from fastcms.doctor.examination import examine\n"
        "print(json.dumps([finding.code for finding in examine().findings]))"
    )

    def ask() -> list[str]:
        done = subprocess.run(
            [*as_nobody, sys.executable, "-c", program],
            cwd="/",
            env=clean_environment() | {"FASTCMS_DATA_DIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        answer: list[str] = json.loads(done.stdout)
        return answer

    assert ask()[0] == "data_folder_missing"  # pytest's folder is closed to others
    for parent in (tmp_path, *tmp_path.parents[:3]):
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):  # noqa: S108 - pytest's own
            parent.chmod(0o755)
    assert ask()[0] == "other_user"


def test_a_folder_without_a_site_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert codes(examine()) == {"data_folder_missing"}
    (tmp_path / "data").mkdir(mode=0o700)
    report = examine()
    assert codes(report) - NOTHING == {"database_new"}
    assert report.is_healthy
    assert list((tmp_path / "data").iterdir()) == []
    (tmp_path / "data").rmdir()
    (tmp_path / "data").write_text("what?")
    assert codes(examine()) == {"data_folder_no_folder"}


def test_a_setting_that_does_not_fit_is_explained(stopped: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMS_PORT", "many")
    report = examine_unchanged(stopped)
    assert codes(report) == {"settings_invalid"}
    assert "FASTCMS_PORT" in report.findings[0].message


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mount a small file system over a folder, and move what was there onto it."""
    folders: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        kept = tmp_path / "kept"
        folder.rename(kept)
        folder.mkdir(mode=0o700)
        options = f"uid={os.getuid()},mode=700,{options}"
        subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        folders.append(folder)
        shutil.copytree(kept, folder, dirs_exist_ok=True)

    yield mount
    for folder in folders:
        subprocess.run([*AS_ROOT, "umount", folder], check=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [("size=2m", "disk_full"), ("size=40m", "space_low"), ("size=64m,nr_inodes=60", "inodes_low")],
)
def test_a_disk_that_is_too_small_for_a_backup_is_found(
    stopped: Site, mounted: Callable[[Path, str], None], options: str, expected: str
) -> None:
    mounted(stopped.settings.data_dir, options)
    if expected == "space_low":
        add_private_file(data(stopped, "files/by hand"), bytes(13 * 1024**2))
    assert found(stopped) - {"file_without_row"} == {expected}


def test_folders_on_other_disks_are_noted(stopped: Site, mounted: Callable[[Path, str], None]) -> None:
    mounted(stopped.settings.backups_dir, "size=64m")
    assert found(stopped) == {"other_disk"}


def test_a_read_only_disk_is_found(stopped: Site, mounted: Callable[[Path, str], None]) -> None:
    mounted(stopped.settings.data_dir, "size=64m")
    subprocess.run([*AS_ROOT, "mount", "-o", "remount,ro", stopped.settings.data_dir], check=True)
    assert "disk_read_only" in found(stopped)


def test_an_old_sqlite_is_named(stopped: Site) -> None:
    """As on a machine for which there is no wheel of pysqlite3."""
    program = "import sys; sys.modules['pysqlite3'] = None; from fastcms.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--json"],
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(stopped.settings.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    finding = next(f for f in json.loads(done.stdout)["findings"] if "SQLite" in f["message"])
    version = re.search(r"SQLite (\d+)\.(\d+)\.(\d+)", finding["message"])
    assert version is not None
    is_old = tuple(int(part) for part in version.groups()) < WITHOUT_WAL_RESET_BUG
    assert (finding["code"], done.returncode) == (("sqlite_old", 1) if is_old else ("versions", 0))


def run_doctor(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fastcms", "doctor", *arguments],
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(site.settings.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_at_its_end_whether_the_site_is_healthy(stopped: Site) -> None:
    done = run_doctor(stopped)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "The site is healthy.")
    upload_path(stopped).unlink()
    backup_path(stopped).unlink()
    done = run_doctor(stopped)
    last = "The site needs your attention: 1 problem and 1 warning."
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, last)
    assert "What to do: Upload them again, or restore a backup that holds them." in done.stdout


def test_the_command_answers_programs_in_json(stopped: Site) -> None:
    done = run_doctor(stopped, "--json")
    assert (done.returncode, json.loads(done.stdout)["healthy"]) == (0, True)
    backup_path(stopped).unlink()
    done = run_doctor(stopped, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["healthy"]) == (1, False)
    (wrong,) = (finding for finding in answer["findings"] if finding["level"] in ("warning", "problem"))
    assert (wrong["group"], wrong["code"]) == ("Backups", "backup_none")
    assert wrong["hint"]


def test_no_name_of_a_file_reaches_the_terminal_as_a_command(stopped: Site) -> None:
    add_private_file(data(stopped, "files/[bold]\x1b[31m\udcff.txt"))
    assert "[bold]\ufffd[31m\ufffd.txt" in run_doctor(stopped).stdout
    assert run_doctor(stopped, "--json").returncode == 0


def test_every_finding_is_documented() -> None:
    page = (REPOSITORY / "docs/doctor.md").read_text()
    named = set()
    for path in (REPOSITORY / "fastcms/doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_finding = (
                isinstance(node, ast.Call) and getattr(node.func, "id", "") in Level.__members__.values()
            )
            if is_finding and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                named.add((str(node.args[0].value), getattr(node.func, "id", "")))
    assert {("database_damaged", "problem"), ("versions", "ok")} <= named
    assert set(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE)) == {
        (code, level) for code, level in named if level != "ok"
    }
