"""docs/scaling.md, from the results of `make scaling`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measurements import memory
from benchmarks.report.templates import open_template
from benchmarks.results import Results

BACKUPS, REQUESTS, EDITORS = "backups", "requests", "editors"
# Each size of site by the name that the page gives it.
SITES = {"small": "Small", "magazine": "Magazine", "million": "A million records"}

_Cell = Callable[[Results, str], str | None]


def write(results: Results, folder: Path) -> None:
    """Write scaling.md into a folder."""
    editors = [name.removesuffix(", reading") for name in results.values if name.endswith(", reading")]
    requests = [name for name in results.values if name.startswith(REQUESTS)]
    text = open_template("scaling.md.jinja").render(
        results=results,
        sites=_table(results, _SITE_ROWS),
        requests=_table(results, {_label(name): _rate(name) for name in requests}),
        editors=_table(results, {_label(name): _waits(name) for name in editors}),
    )
    (folder / "scaling.md").write_text(text)


def _number(measurement: str, metric: str, shown: str, factor: float = 1) -> _Cell:
    def cell(results: Results, site: str) -> str | None:
        value = results.median(measurement, site, metric)
        return None if value is None else shown.format(value * factor)

    return cell


_SITE_ROWS: Mapping[str, _Cell] = {
    "Records": _number(BACKUPS, "records", "{:,.0f}"),
    "Files": _number(BACKUPS, "files", "{:,.0f}"),
    "Database": _number(BACKUPS, "database_bytes", "{:,.0f} MB", 1e-6),
    "Database and files": _number(BACKUPS, "content_bytes", "{:,.0f} MB", 1e-6),
    "One backup takes": _number(BACKUPS, "seconds", "{:,.1f} s"),
    "and is as large as": _number(BACKUPS, "archive_bytes", "{:,.0f} MB", 1e-6),
    "Checking and staging a restore": _number(BACKUPS, "stage_seconds", "{:,.1f} s"),
    "The restart that completes it": _number(BACKUPS, "start_seconds", "{:,.1f} s"),
    "Memory of the server, idle": _number(memory.NAME, "idle_bytes", "{:,.0f} MB", 1e-6),
    "and more during a backup": _number(memory.NAME, "more_bytes", "{:,.0f} MB", 1e-6),
}


def _rate(measurement: str) -> _Cell:
    def cell(results: Results, site: str) -> str | None:
        per_second, p99 = (results.median(measurement, site, name) for name in ("per_second", "p99_ms"))
        if per_second is None or p99 is None:
            return None
        return f"{per_second:,.0f} a second (99 % within {_milliseconds(p99)})"

    return cell


def _waits(measurement: str) -> _Cell:
    def cell(results: Results, site: str) -> str | None:
        found = [
            (results.median(name, site, "p50_ms"), results.median(name, site, "p99_ms"))
            for name in (f"{measurement}, reading", f"{measurement}, saving")
        ]
        shown = [_milliseconds(value) for pair in found for value in pair if value is not None]
        if len(shown) != 4:  # noqa: PLR2004 - two of each
            return None
        return f"reading {shown[0]}, 99 % within {shown[1]}; saving {shown[2]}, 99 % within {shown[3]}"

    return cell


def _milliseconds(value: float) -> str:
    return f"{value / 1000:,.1f} s" if value >= 1000 else f"{value:.0f} ms"  # noqa: PLR2004 - of a second


def _label(measurement: str) -> str:
    return measurement.partition(": ")[2]


def _table(results: Results, rows: Mapping[str, _Cell]) -> str:
    """A column for each site that was measured."""
    sites = [site for site in SITES.values() if results.get(BACKUPS, site, "seconds")]
    lines = ["| | " + " | ".join(sites) + " |", "| --- |" + " --- |" * len(sites)]
    for label, cell in rows.items():
        lines.append(f"| {label} | " + " | ".join(cell(results, site) or "" for site in sites) + " |")
    return "\n".join(lines)
