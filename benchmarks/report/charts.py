"""The charts of docs/benchmarks.md, each once for a light page and once for a dark one."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.contestants import cms, pocketbase
from benchmarks.contestants.archivers import TAR_DURABLE
from benchmarks.measurements import create, sizes, stage, writers
from benchmarks.results import Results


@dataclass(frozen=True)
class Theme:
    """Colours that can be read on GitHub's page of this kind, also by those who see fewer of them."""

    name: str
    text: str
    faint: str
    ours: str
    theirs: str
    others: str


THEMES = (
    Theme("light", text="#1f2328", faint="#d1d9e0", ours="#0b6bcb", theirs="#c2560c", others="#818b98"),
    Theme("dark", text="#f0f6fc", faint="#3d444d", ours="#58a6ff", theirs="#f0883e", others="#9198a1"),
)
Draw = Callable[[Figure, Theme, Results], None]


def write_charts(results: Results, folder: Path) -> list[str]:
    """Write each chart that there are numbers for.

    Returns: their names; the files are NAME-light.svg and NAME-dark.svg.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, (_, is_possible) in _CHARTS.items() if is_possible(results)]
    for name in names:
        for theme in THEMES:
            with _look(theme):
                figure = Figure(layout="constrained")
                FigureCanvasSVG(figure)
                _CHARTS[name][0](figure, theme, results)
                figure.savefig(folder / f"{name}-{theme.name}.svg", transparent=True, metadata={"Date": None})
    return names


@contextmanager
def _look(theme: Theme) -> Iterator[None]:
    settings: Any = {
        "font.size": 10.5,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "fastcms",  # the same numbers give the same file
        "axes.edgecolor": theme.faint,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.labelcolor": theme.text,
    }
    for name in ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor"):
        settings[name] = theme.text
    for name in ("xtick.color", "ytick.color"):
        settings[name] = theme.faint
    with mpl.rc_context(settings):
        yield


def _colour(contestant: str, theme: Theme) -> str:
    if contestant.startswith(cms.NAME):
        return theme.ours
    return theme.theirs if contestant == pocketbase.NAME else theme.others


def _draw_throughput(figure: Figure, theme: Theme, results: Results) -> None:
    figure.set_size_inches(9, 6)
    upper, lower = figure.subplots(2, 1, height_ratios=[11, 5], sharex=True)
    _draw_bars(upper, "Creating a backup", results, create.NAME, theme)
    _draw_bars(lower, "Getting it back", results, stage.NAME, theme)
    lower.set_xlabel(
        "MB of content per second (more is better): median, and the slowest to the fastest round"
    )


def _draw_bars(axes: Axes, title: str, results: Results, measurement: str, theme: Theme) -> None:
    content_mb = results.facts["content_bytes"] / 1e6
    rates = {
        name: sorted(content_mb / seconds for seconds in metrics["seconds"])
        for name, metrics in results.values[measurement].items()
    }
    names = sorted(rates, key=lambda name: statistics.median(rates[name]))
    middles = [statistics.median(rates[name]) for name in names]
    whiskers = [
        [middle - rates[name][0] for name, middle in zip(names, middles, strict=True)],
        [rates[name][-1] - middle for name, middle in zip(names, middles, strict=True)],
    ]
    colours = [_colour(name, theme) for name in names]
    axes.barh(names, middles, color=colours, height=0.7)
    axes.errorbar(middles, names, xerr=whiskers, fmt="none", ecolor=theme.text, elinewidth=1, capsize=2)
    right = max(rate[-1] for rate in rates.values())
    for row, (name, middle) in enumerate(zip(names, middles, strict=True)):
        axes.text(rates[name][-1] + right * 0.01, row, f"{middle:,.0f}", va="center")
    axes.grid(visible=False, axis="y")
    axes.set_title(title)


def _draw_writers(figure: Figure, theme: Theme, results: Results) -> None:
    pace = next(iter(writers.PACES))
    contestants = [
        name for name in (cms.NAME, pocketbase.NAME) if _series(results, writers.label(name, pace, busy=True))
    ]
    figure.set_size_inches(9, 2 + 2 * len(contestants))
    panels = figure.subplots(len(contestants), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, contestants, strict=True):
        over_time = _series(results, writers.label(name, pace, busy=True))
        for number, (began, ended) in enumerate(over_time["backups"]):
            label = "a backup is being made" if number == 0 else None
            axes.axvspan(began, ended, color=theme.faint, alpha=0.5 if number % 2 else 0.8, lw=0, label=label)
        colour = _colour(name, theme)
        axes.plot(
            over_time["seconds"], over_time["slowest_ms"], color=colour, lw=1, alpha=0.6, label="slowest"
        )
        axes.plot(over_time["seconds"], over_time["median_ms"], color=colour, lw=1.8, label="median")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel("milliseconds")
        axes.set_title(name)
        axes.legend(ncols=3, loc="upper right", bbox_to_anchor=(1, 1.18), borderaxespad=0)
    panels[-1].set_xlabel("seconds; each point stands for a tenth of one")


def _draw_sizes(figure: Figure, theme: Theme, results: Results) -> None:
    figure.set_size_inches(9, 4.5)
    axes = figure.subplots()
    for name in (pocketbase.NAME, TAR_DURABLE, cms.NAME):
        points = [(size / 1e9, seconds) for size, seconds in sizes.medians(results, name)]
        if points:
            x, y = zip(*points, strict=True)
            colour = _colour(name, theme)
            axes.plot(x, y, marker="o", color=colour, lw=1.8)
            axes.annotate(name, (x[-1], y[-1]), (8, 0), textcoords="offset points", va="center", color=colour)
    axes.set(xscale="log", yscale="log", xlabel="GB of content", ylabel="seconds to create a backup")
    ticks = [size / 1e9 for size, _ in sizes.medians(results, cms.NAME)]
    axes.set_xticks(ticks, [f"{size:.2g}" for size in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(right=axes.get_xlim()[1] * 2)


def _series(results: Results, name: str) -> dict[str, Any]:
    found: dict[str, Any] = results.series.get(writers.SERIES, {}).get(name, {})
    return found


_CHARTS: dict[str, tuple[Draw, Callable[[Results], bool]]] = {
    "benchmark-throughput": (
        _draw_throughput,
        lambda results: {create.NAME, stage.NAME} <= results.values.keys(),
    ),
    "benchmark-writers": (_draw_writers, lambda results: writers.SERIES in results.series),
    "benchmark-sizes": (_draw_sizes, lambda results: len(sizes.medians(results, cms.NAME)) > 1),
}
