"""What every measurement gets: the plan, the sites, and the place for its numbers."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.contestants.cms import CmsSite
from benchmarks.contestants.pocketbase import PocketBaseSite, find_program
from benchmarks.dataset import Dataset
from benchmarks.machine import settle, warm_cache
from benchmarks.plan import Plan
from benchmarks.results import Metrics, Results

# Measures itself once; the metrics of each name under which it competes.
Contestant = Callable[[], Mapping[str, Metrics]]


@dataclass
class Bench:
    """The sites of one size, with the same content; `pocketbase` is None where it takes no part.

    `folder` is for whatever a measurement needs besides.
    """

    plan: Plan
    folder: Path
    results: Results
    console: Console
    cms: CmsSite
    pocketbase: PocketBaseSite | None

    def settle(self) -> None:
        settle(self.plan.pause_seconds)

    def in_turn(self, measurement: str, rounds: int, contestants: Sequence[Contestant]) -> None:
        """Let each measure itself once a round: what changes on the machine meanwhile meets them all.

        Each round begins with another one, because whoever comes first may find the machine different.
        """
        for number in range(rounds):
            first = number % len(contestants)
            for measure in (*contestants[first:], *contestants[:first]):
                self.settle()
                for name, metrics in measure().items():
                    self.results.add(measurement, name, metrics)
                    self.say(f"{measurement}, round {number + 1}, {name}: {describe(metrics)}")

    def say(self, text: str) -> None:
        self.console.print(f"  [dim]{text}")


@contextmanager
def open_bench(
    plan: Plan, folder: Path, dataset: Dataset, results: Results, console: Console, *, with_pocketbase: bool
) -> Iterator[Bench]:
    """Build the sites of a size in a folder, read them once, and delete them in the end."""
    program = find_program() if with_pocketbase else None
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cms = CmsSite(folder / "fastcms", dataset)
        stack.callback(cms.stop)
        pocketbase = None
        if program:
            pocketbase = PocketBaseSite(folder / "pocketbase", program)
            stack.callback(pocketbase.stop)
            pocketbase.fill_like(cms)
        warm_cache(folder)
        scratch = folder / "scratch"
        scratch.mkdir()
        yield Bench(plan, scratch, results, console, cms, pocketbase)


def describe(metrics: Metrics) -> str:
    return ", ".join(f"{name} {value:,.3f}".rstrip("0").rstrip(".") for name, value in metrics.items())
