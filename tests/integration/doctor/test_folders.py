"""The doctor on the data folder: that it is there, whose it is, and who uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastcms.doctor.examination import examine
from fastcms.site import Site
from tests.conftest import AS_ROOT
from tests.e2e.conftest import Server, clean_environment
from tests.integration.doctor.conftest import (
    NOTHING,
    backup_path,
    codes,
    data,
    examine_unchanged,
    found,
    message_of,
    state_of,
)


def test_a_site_beside_a_running_server_is_healthy_and_the_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    server.start()
    pid = server.pid
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
    assert f"process {pid} (serving)" in serving.message


@pytest.mark.parametrize("name", [".", "files", "backups", "app.db", ".secret_key"])
def test_what_others_may_read_is_found(stopped: Site, name: str) -> None:
    path = data(stopped, name)
    path.chmod(path.stat().st_mode | 0o040)
    assert found(stopped) == {"mode_open"}
    assert (path.name or "data") in message_of(stopped, "mode_open")


@pytest.mark.parametrize("name", ["app.db", "files"])
def test_what_its_owner_may_not_use_is_found_by_root_too(stopped: Site, name: str) -> None:
    path = data(stopped, name)
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        report = examine()
    finally:
        path.chmod(mode)
    finding = next(finding for finding in report.findings if finding.code == "closed")
    assert str(path) in finding.message


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


def test_a_folder_of_something_else_is_no_site_and_no_command_is_advised_that_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like /var, which has a folder `backups`, and is open to all."""
    folder = tmp_path / "var"
    (folder / "backups").mkdir(parents=True, mode=0o755)
    (folder / "log").mkdir()
    folder.chmod(0o755)
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(folder))
    report = examine()
    assert codes(report) == {"data_folder_foreign"}
    assert "backups, log" in report.findings[0].message
    assert not any("chmod" in finding.hint or "chown" in finding.hint for finding in report.findings)
