"""Time against size: the same kind of site, larger and smaller."""

from functools import partial

from benchmarks.context import Bench, Contestant
from benchmarks.measurements import create
from benchmarks.measurements.create import content_bytes, create_durably_with_tar
from benchmarks.results import Results

NAME = "sizes"


def run(bench: Bench, rounds: int) -> None:
    """Measure a site of one size; the results are kept under its size in bytes."""
    contestants: list[Contestant] = [bench.cms.create, partial(create_durably_with_tar, bench)]
    if bench.pocketbase:
        contestants.append(bench.pocketbase.create)
    bench.in_turn(f"{NAME} {content_bytes(bench)}", rounds, contestants)


def medians(results: Results, contestant: str) -> list[tuple[int, float]]:
    """The bytes of content and the seconds of each size, the usual one included, smallest first."""
    found = [(int(results.facts.get("content_bytes", 0)), results.median(create.NAME, contestant, "seconds"))]
    found += [
        (int(name.split()[1]), results.median(name, contestant, "seconds"))
        for name in results.values
        if name.startswith(NAME)
    ]
    return sorted((size, seconds) for size, seconds in found if seconds is not None)
