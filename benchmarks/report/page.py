"""docs/benchmarks.md, from the results of a run."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.contestants import cms
from benchmarks.contestants.archivers import TAR_DURABLE
from benchmarks.measurements import (
    create,
    download,
    listing,
    memory,
    offsite,
    profile,
    sizes,
    small_files,
    stage,
    swap,
    uploads,
    writers,
)
from benchmarks.report.charts import write_charts
from benchmarks.report.targets import TARGETS, Target
from benchmarks.report.templates import open_template
from benchmarks.results import Results

_VERDICTS = {True: "yes", False: "**no**", None: "–"}


def write(results: Results, folder: Path) -> None:
    """Write benchmarks.md and images/benchmark-*.svg into a folder."""
    charts = write_charts(results, folder / "images")
    text = open_template("benchmarks.md.jinja").render(
        results=results,
        charts=charts,
        targets=[(target, target.show(results), _VERDICTS[target.is_reached(results)]) for target in TARGETS],
        tables=_tables(results),
        profile=results.series.get(profile.NAME, {}),
    )
    (folder / "benchmarks.md").write_text(text)


def targets_for_terminal(results: Results) -> Table:
    """The table of targets, in colours."""
    table = Table("", "Target", "Measured", "Reached", title="FastCMS and what it wants to reach")
    for target in TARGETS:
        table.add_row(
            target.group, target.text.replace("`", ""), target.show(results), _coloured(target, results)
        )
    return table


def _coloured(target: Target, results: Results) -> str:
    return {True: "[green]yes", False: "[bold red]no", None: "[dim]–"}[target.is_reached(results)]


@dataclass(frozen=True)
class Column:
    """A metric, in a unit that people read; with `against`, the ratio to that contestant instead."""

    heading: str
    metric: str
    factor: float = 1
    digits: int = 2
    against: str = ""
    combine: Callable[[Sequence[float]], float] | None = None


_SECONDS = Column("Seconds", "seconds")
_ARCHIVE = Column("Archive, MB", "archive_bytes", 1e-6, 0)
_AGAINST_TAR = Column(f"Against {TAR_DURABLE}", "seconds", against=TAR_DURABLE)
_RATE = Column("MB per second", "bytes_per_second", 1e-6, 0)
_COLUMNS = {
    create.NAME: [_SECONDS, _AGAINST_TAR, _ARCHIVE],
    stage.NAME: [
        _SECONDS,
        Column(f"Against {cms.NAME}", "seconds", against=cms.NAME),
        Column("Then refuses connections for, seconds", "refusing_seconds"),
    ],
    swap.NAME: [Column("Milliseconds", "seconds", 1000, 0)],
    writers.NAME: [
        Column("Writes per second", "per_second", digits=0),
        Column("p50, ms", "p50_ms", digits=1),
        Column("p99, ms", "p99_ms", digits=1),
        Column("Slowest, ms", "slowest_ms", digits=0),
        Column("Errors", "errors", digits=0, combine=sum),
        Column("Backups made", "backups", digits=0, combine=sum),
        Column("failed", "failed", digits=0, combine=sum),
    ],
    uploads.NAME: [
        Column("Backups tried", "succeeded", digits=0, combine=len),
        Column("succeeded", "succeeded", digits=0, combine=sum),
        Column("Files restored", "files", digits=0, combine=sum),
        Column("missing", "missing", digits=0, combine=sum),
        Column("different", "different", digits=0, combine=sum),
        Column("Uploads meanwhile", "uploads", digits=0),
        Column("Deletes meanwhile", "deletes", digits=0),
    ],
    memory.NAME: [
        Column("Idle, MB", "idle_bytes", 1e-6, 0),
        Column("Peak, MB", "peak_bytes", 1e-6, 0),
        Column("More than idle, MB", "more_bytes", 1e-6, 0),
    ],
    small_files.CREATE: [_SECONDS, _AGAINST_TAR],
    small_files.STAGE: [_SECONDS],
    listing.NAME: [Column("Milliseconds", "seconds", 1000, 0)],
    offsite.COPY: [_SECONDS, _RATE, Column(f"Against {offsite.RCLONE}", "seconds", against=offsite.RCLONE)],
    offsite.FETCH: [
        _SECONDS,
        _RATE,
        Column(f"Against {offsite.RCLONE_BACK}", "seconds", against=offsite.RCLONE_BACK),
    ],
    download.NAME: [_RATE],
}


def _tables(results: Results) -> dict[str, str]:
    """A Markdown table for each measurement; empty for what was not measured."""
    tables = {name: _table(results, name, columns) for name, columns in _COLUMNS.items()}
    by_size = {int(name.split()[1]): name for name in results.values if name.startswith(sizes.NAME)}
    lines = [
        f"| {size_bytes / 1e9:.2f} GB: {contestant} | {_cell(results, name, contestant, _SECONDS)} |"
        for size_bytes, name in sorted(by_size.items())
        for contestant in results.values[name]
    ]
    return tables | {sizes.NAME: "\n".join(["| | Seconds |", "| --- | --- |", *lines]) if lines else ""}


def _table(results: Results, measurement: str, columns: Sequence[Column]) -> str:
    contestants = results.values.get(measurement)
    if not contestants:
        return ""
    lines = [
        "| | " + " | ".join(column.heading for column in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for contestant in contestants:
        cells = [_cell(results, measurement, contestant, column) for column in columns]
        lines.append(f"| {contestant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(results: Results, measurement: str, contestant: str, column: Column) -> str:
    if column.against:
        ratio = results.ratio(measurement, column.metric, contestant, column.against)
        return "" if ratio is None else f"{ratio:.2f} ×"
    values = [value * column.factor for value in results.get(measurement, contestant, column.metric)]
    if not values:
        return ""
    if column.combine:
        return f"{column.combine(values):,.{column.digits}f}"
    middle, least, most = (
        f"{v:,.{column.digits}f}" for v in (statistics.median(values), min(values), max(values))
    )
    return middle if least == most else f"{middle} ({least}–{most})"
