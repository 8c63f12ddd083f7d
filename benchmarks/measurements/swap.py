"""Starting the server with a pending restore, and without one."""

from collections.abc import Mapping
from functools import partial

from benchmarks.context import Bench
from benchmarks.results import Metrics

NAME = "start"


def run(bench: Bench, size: str, rounds: int) -> None:
    """Measure both in turn; `size` is how the report calls the size of this site."""
    filename = bench.cms.create_backup()["filename"]
    bench.cms.restart()
    contestants = [partial(_start_without, bench, size), partial(_start_with, bench, size, filename)]
    bench.in_turn(NAME, rounds, contestants)
    bench.cms.client.call("DELETE", "/backups/restore/undo")
    bench.cms.wait_for_removals()
    bench.cms.delete_backup(filename)


def without(size: str) -> str:
    return f"without a pending restore, {size}"


def with_pending(size: str) -> str:
    return f"with a pending restore, {size}"


def _start_without(bench: Bench, size: str) -> Mapping[str, Metrics]:
    return {without(size): {"seconds": bench.cms.restart()}}


def _start_with(bench: Bench, size: str, filename: str) -> Mapping[str, Metrics]:
    bench.cms.stage(filename)
    bench.settle()
    seconds = bench.cms.restart()
    _require_restored(bench)
    bench.cms.wait_for_removals()
    return {with_pending(size): {"seconds": seconds}}


def _require_restored(bench: Bench) -> None:
    state = bench.cms.client.call("GET", "/backups/restore")["state"]
    if state != "restored":
        raise RuntimeError(f"The restore ended as {state!r}.")
