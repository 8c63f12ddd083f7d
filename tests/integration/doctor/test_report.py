"""The doctor's report, and the command that prints it."""

import ast
import json
import re
import subprocess

import pytest

from fastcms.doctor.findings import Level
from fastcms.site import Site
from tests.e2e.conftest import REPOSITORY, clean_environment
from tests.integration.doctor.conftest import (
    NOTHING,
    add_private_file,
    backup_path,
    codes,
    data,
    examine_unchanged,
    upload_path,
)


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_site_in_which_all_is_well_is_healthy(stopped: Site, is_deep: bool) -> None:
    report = examine_unchanged(stopped, is_deep=is_deep)
    assert codes(report) == NOTHING
    assert report.is_healthy


def test_a_setting_that_does_not_fit_is_explained(stopped: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMS_PORT", "many")
    report = examine_unchanged(stopped)
    assert codes(report) == {"settings_invalid"}
    assert "FASTCMS_PORT" in report.findings[0].message


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
    assert "1 uploaded file is missing: " in done.stdout
    assert "'Getting one file back'" in done.stdout


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
