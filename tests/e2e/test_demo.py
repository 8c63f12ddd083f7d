"""The demo: it runs, it passes, and it could fail."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.site_state import SiteState, find_differences
from tests.e2e.conftest import REPOSITORY, clean_environment

BEFORE = SiteState(
    collections={"articles": {"name": "articles"}},
    records={"articles/1": {"title": "One"}, "articles/2": {"title": "Two"}},
    files={"a.jpg": {"served_sha256": "aa"}},
)


def test_the_demo_gets_every_record_and_file_back() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo"],
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "PASSED: all 340 records and 40 files are as they were" in run.stdout
    assert "restored from backup_" in run.stdout


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"records": {"articles/1": {"title": "One"}}}, "records: articles/2 is missing"),
        ({"records": BEFORE.records | {"articles/3": {}}}, "records: articles/3 was not there before"),
        ({"records": BEFORE.records | {"articles/2": {"title": "2"}}}, "records: articles/2 differs"),
        ({"files": {"a.jpg": {"served_sha256": "ab"}}}, "files: a.jpg differs"),
        ({"collections": {}}, "collections: articles is missing"),
    ],
)
def test_the_demo_names_what_differs(changed: dict[str, Any], verdict: str) -> None:
    assert find_differences(BEFORE, BEFORE) == []
    assert find_differences(BEFORE, dataclasses.replace(BEFORE, **changed)) == [verdict]
