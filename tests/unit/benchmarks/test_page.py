"""The page of benchmarks, from given results."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.contestants import cms, pocketbase
from benchmarks.contestants.archivers import TAR_DURABLE, UNZIP
from benchmarks.measurements import create, offsite, profile, sizes, stage, uploads, writers
from benchmarks.report.targets import TARGETS
from benchmarks.results import Results


@pytest.fixture
def page() -> Any:
    pytest.importorskip("matplotlib", reason="`make bench` installs it")
    from benchmarks.report import page

    return page


@pytest.fixture
def results() -> Results:
    made = Results("full", {"Processor": "A processor, 2 cores"}, {"FastCMS": "1.2.3"})
    made.facts |= {"content_bytes": 1.25e9, "copied_bytes": 2e9}
    for round_number in range(3):
        for name, seconds in ((cms.NAME, 1.5), (TAR_DURABLE, 1.0), (pocketbase.NAME, 9.0)):
            metrics = {"seconds": seconds + round_number / 10, "archive_bytes": 9e8}
            made.add(create.NAME, name, metrics)
            made.add(f"{sizes.NAME} 100000000", name, {"seconds": seconds / 10})
        for name, seconds in ((cms.NAME, 2.0), (UNZIP, 8.0), (pocketbase.NAME, 3.0)):
            made.add(stage.NAME, name, {"seconds": seconds})
        for name, seconds in ((cms.NAME, 11), (offsite.RCLONE, 10)):
            made.add(offsite.COPY, name, {"seconds": seconds, "bytes_per_second": 2e9 / seconds})
        made.add(uploads.NAME, cms.NAME, {"succeeded": 1, "files": 10, "missing": 0, "different": 0})
    made.series[profile.NAME] = {"create": {"compression": 0.75, "Python and the rest": 0.25}}
    name = writers.label(cms.NAME, next(iter(writers.PACES)), busy=True)
    times = {"seconds": [0, 0.1], "median_ms": [3, 4], "slowest_ms": [20, 30], "backups": [[0, 0.1]]}
    made.series[writers.SERIES] = {name: times}
    made.notes.append("restic is not installed, so it is missing here.")
    return made


def test_the_page_says_of_every_target_whether_it_is_reached(
    page: Any, results: Results, tmp_path: Path
) -> None:
    page.write(results, tmp_path)
    lines = (tmp_path / "benchmarks.md").read_text().splitlines()
    assert "| Create | at most 1.2 × `tar cf` followed by fsync | 1.45 × | **no** |" in lines
    assert "| Create | at least 5 × faster than PocketBase | 5.69 × | yes |" in lines
    assert "| Stage | at least 3 × faster than `unzip` | 4.00 × | yes |" in lines
    assert "| List | under 100 ms | not measured | – |" in lines
    assert "- restic is not installed, so it is missing here." in lines
    for target in TARGETS:
        assert any(line.startswith(f"| {target.group} | {target.text} |") for line in lines), target


def test_the_page_has_tables_with_medians_and_ranges_and_the_profile(
    page: Any, results: Results, tmp_path: Path
) -> None:
    page.write(results, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| FastCMS | 1.60 (1.50–1.70) | 1.45 × | 900 |" in text
    assert "| 0.10 GB: PocketBase | 0.90 |" in text
    assert "| FastCMS | 11.00 | 182 | 1.10 × |" in text
    assert "| FastCMS | 3 | 3 | 30 | 0 | 0 |" in text
    assert "| compression | 75 % |" in text
    assert "| FastCMS | 1.2.3 |" in text


def test_the_page_has_every_chart_for_light_and_dark(page: Any, results: Results, tmp_path: Path) -> None:
    page.write(results, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    for name in ("throughput", "writers", "sizes"):
        for theme in ("light", "dark"):
            path = f"images/benchmark-{name}-{theme}.svg"
            assert path in text
            assert "<svg" in (tmp_path / path).read_text()


def test_a_run_that_measured_nothing_still_has_a_page(page: Any, tmp_path: Path) -> None:
    page.write(Results("quick", {}, {}), tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.count("not measured") == len(TARGETS)
    assert ".svg" not in text


def test_the_terminal_shows_the_table(page: Any, results: Results) -> None:
    console = Console(width=200, record=True)
    console.print(page.targets_for_terminal(results))
    assert "at least 5 × faster than PocketBase" in console.export_text()
