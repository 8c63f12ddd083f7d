"""Four clients that write records, without a backup and during backups."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import requests

from benchmarks.contestants import cms, pocketbase
from benchmarks.context import Bench, describe
from benchmarks.http_client import Api
from benchmarks.load import Load, LoadProcess, Write

NAME = "writers"
SERIES = "writers over time"
# As fast as the server answers; and a rate at which a small machine has time to spare.
PACES: dict[str, float | None] = {"as fast as they can": None, "50 a second": 50}
_BIN_SECONDS = 0.1


def run(bench: Bench) -> None:
    process = LoadProcess()
    for number in range(bench.plan.window_rounds):
        for pace, per_second in PACES.items():
            for contestant, api, back_up in _contestants(bench):
                for busy in (False, True):
                    bench.settle()
                    load = Load(api.port, api.new_record, bench.plan.window_seconds, per_second)
                    writes, backups, failed = _measure(process, load, back_up if busy else None)
                    name = label(contestant, pace, busy=busy)
                    metrics = summarise(writes, load.seconds) | {"backups": len(backups), "failed": failed}
                    bench.results.add(NAME, name, metrics)
                    bench.results.series.setdefault(SERIES, {})[name] = over_time(writes, backups)
                    bench.say(f"{NAME}, round {number + 1}, {name}: {describe(metrics)}")
    process.close()


def label(contestant: str, pace: str, *, busy: bool) -> str:
    return f"{contestant}, {pace}, {'during backups' if busy else 'no backup'}"


BackUp = Callable[[], Callable[[], object]]


def _contestants(bench: Bench) -> list[tuple[str, Api, BackUp]]:
    """Each server, and a function that makes a backup and returns one that deletes it."""

    def back_up_cms() -> Callable[[], object]:
        filename = bench.cms.create_backup()["filename"]
        return lambda: bench.cms.delete_backup(filename)

    found: list[tuple[str, Api, BackUp]] = [(cms.NAME, bench.cms.api, back_up_cms)]
    if server := bench.pocketbase:

        def back_up_pocketbase() -> Callable[[], object]:
            name = server.create_backup()
            return lambda: server.delete_backup(name)

        found.append((pocketbase.NAME, server.api, back_up_pocketbase))
    return found


def _measure(
    process: LoadProcess, load: Load, back_up: BackUp | None
) -> tuple[list[Write], list[tuple[float, float]], int]:
    """Run the load, and meanwhile one backup after the other.

    Returns: the writes; when each backup began and ended; how many backups failed.
    """
    backups: list[tuple[float, float]] = []
    deletions: list[Callable[[], object]] = []
    ended = threading.Event()

    def make_backups() -> int:
        failed = 0
        while back_up and not ended.is_set():
            began = time.perf_counter()
            try:
                deletions.append(back_up())
            except (requests.HTTPError, RuntimeError):
                failed += 1
            else:
                backups.append((began, time.perf_counter()))
        return failed

    with ThreadPoolExecutor(1) as pool:
        maker = pool.submit(make_backups)
        writes = process.start(load).result()
        ended.set()
        failed = maker.result()
    # Not while it is measured: deleting gigabytes keeps a disk busy, too.
    for delete in deletions:
        delete()
    return writes, backups, failed


def summarise(writes: Sequence[Write], seconds: float) -> dict[str, float]:
    """Percentiles in milliseconds; what failed counts as an error, and with the time until it did."""
    times = sorted(write.seconds * 1000 for write in writes)
    percentiles = statistics.quantiles(times, n=100)
    return {
        "p50_ms": percentiles[49],
        "p99_ms": percentiles[98],
        "slowest_ms": times[-1],
        "errors": sum(write.is_error for write in writes),
        "per_second": len(writes) / seconds,
    }


def over_time(writes: Sequence[Write], backups: Sequence[tuple[float, float]]) -> dict[str, object]:
    """For the chart: the median and the slowest write of each tenth of a second, from the first one on."""
    start = writes[0].began
    bins = [
        (number, [write.seconds * 1000 for write in group])
        for number, group in groupby(writes, key=lambda write: int((write.began - start) / _BIN_SECONDS))
    ]
    return {
        "seconds": [round(number * _BIN_SECONDS, 3) for number, _ in bins],
        "median_ms": [round(statistics.median(times), 3) for _, times in bins],
        "slowest_ms": [round(max(times), 3) for _, times in bins],
        "backups": [[round(began - start, 3), round(ended - start, 3)] for began, ended in backups],
    }
