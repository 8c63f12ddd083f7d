"""The page of what one machine carries, from given results."""

from pathlib import Path

from benchmarks.measurements import memory
from benchmarks.report import scaling_page
from benchmarks.report.scaling_page import BACKUPS, EDITORS, REQUESTS, SITES
from benchmarks.results import Results


def test_each_site_has_a_column_with_what_it_carries(tmp_path: Path) -> None:
    results = Results("scaling", {"Processor": "A processor, 2 cores"}, {})
    small, magazine = list(SITES.values())[:2]
    for site, factor in ((small, 1), (magazine, 100)):
        results.add(BACKUPS, site, {"records": 1000 * factor, "seconds": 0.123 * factor})
        results.add(memory.NAME, site, {"idle_bytes": 90e6, "more_bytes": 40e6})
        answers = {"per_second": 1234, "p50_ms": 2, "p99_ms": 15.4 * factor}
        results.add(f"{REQUESTS}: Read a record", site, answers)
        for what in ("reading", "saving"):
            results.add(f"{EDITORS}: 50 people, {what}", site, answers)
    scaling_page.write(results, tmp_path)
    lines = (tmp_path / "scaling.md").read_text().splitlines()
    assert f"| | {small} | {magazine} |" in lines
    assert "| Records | 1,000 | 100,000 |" in lines
    assert "| One backup takes | 0.1 s | 12.3 s |" in lines
    assert (
        "| Read a record | 1,234 a second (99 % within 15 ms) | 1,234 a second (99 % within 1.5 s) |" in lines
    )
    waits = "reading 2 ms, 99 % within {0}; saving 2 ms, 99 % within {0}"
    assert f"| 50 people | {waits.format('15 ms')} | {waits.format('1.5 s')} |" in lines
