"""Measure what one machine carries, and write docs/scaling.md.

Run it with `make scaling` (ten minutes). Three sites, from small to large, are built in turn, backed up,
restored, and asked by clients on the same machine, who take their share of the processor.
"""

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.bench import REPOSITORY, console
from benchmarks.contestants.cms import CmsSite
from benchmarks.context import Bench, describe, open_bench
from benchmarks.dataset import MAGAZINE, MILLION, Dataset
from benchmarks.load import Load, LoadProcess, Write
from benchmarks.measurements import memory
from benchmarks.measurements.create import content_bytes
from benchmarks.measurements.writers import summarise
from benchmarks.plan import FULL
from benchmarks.report import scaling_page
from benchmarks.report.scaling_page import BACKUPS, EDITORS, REQUESTS, SITES
from benchmarks.results import Results

_RESULTS_PATH = REPOSITORY / "benchmarks/scaling.json"
_SIZES: dict[str, Dataset] = {"small": MAGAZINE.times(0.01), "magazine": MAGAZINE, "million": MILLION}
_REQUEST_SECONDS = 4.0
_EDITORS_SECONDS = 10.0
_EDITORS = (50, 200, 500)
# Somebody who works in the dashboard asks for something every five seconds, and saves every 20.
_READS_A_SECOND, _SAVES_A_SECOND = 0.15, 0.05


class _Clients(NamedTuple):
    """Two processes, so that who reads does not wait for who saves."""

    readers: LoadProcess
    writers: LoadProcess


def main() -> int:
    options = _read_options()
    if options.render:
        scaling_page.write(Results.load(_RESULTS_PATH), REPOSITORY / "docs")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="fastcms-scaling-", dir=options.folder) as folder:
        results = Results("scaling", machine.describe_machine(Path(folder)), machine.find_versions())
        for name, dataset in _SIZES.items():
            console.print(f"[bold]{name}[/]: building a site of {dataset.size_bytes / 1e9:.2f} GB")
            with open_bench(
                FULL, Path(folder) / name, dataset, results, console, with_pocketbase=False
            ) as bench:
                measure(bench, SITES[name], dataset)
    results.save(_RESULTS_PATH)
    scaling_page.write(results, REPOSITORY / "docs")
    console.print("Written: docs/scaling.md")
    return 0


def measure(bench: Bench, site_name: str, dataset: Dataset) -> None:
    """Add all that is known of a site to the results, under its name."""
    _measure_backup(bench, site_name, dataset)
    with _open_clients() as clients:
        _measure_requests(bench, site_name, clients.readers)
        for editors in _EDITORS:
            _measure_editors(bench, site_name, clients, editors)
        with _backing_up(bench.cms):
            _measure_editors(bench, site_name, clients, _EDITORS[1], ", during backups")


def _measure_backup(bench: Bench, site_name: str, dataset: Dataset) -> None:
    site = bench.cms
    bench.settle()
    site.restart()
    site.client.call("GET", "/backups")
    with memory.watched(bench, site_name, site.server.pid):
        started = time.perf_counter()
        backup = site.create_backup()
        seconds = time.perf_counter() - started
    bench.settle()
    stage_seconds = site.stage(backup["filename"])
    start_seconds = site.restart()
    site.client.call("DELETE", "/backups/restore/undo")
    site.wait_for_removals()
    site.delete_backup(backup["filename"])
    metrics = {
        "records": dataset.records,
        "files": dataset.pictures + dataset.texts,
        "database_bytes": (site.data_dir / "app.db").stat().st_size,
        "content_bytes": content_bytes(bench),
        "archive_bytes": backup["size_bytes"],
        "seconds": seconds,
        "stage_seconds": stage_seconds,
        "start_seconds": start_seconds,
    }
    bench.results.add(BACKUPS, site_name, metrics)
    bench.say(describe(metrics))


def _measure_requests(bench: Bench, site_name: str, clients: LoadProcess) -> None:
    """Each kind of request, as fast as it is answered."""
    bench.settle()
    for kind, request in _requests_of(bench.cms).items():
        load = Load(bench.cms.server.port, request, _REQUEST_SECONDS)
        _note(bench, f"{REQUESTS}: {kind}", site_name, clients.start(load).result(), load)


def _requests_of(site: CmsSite) -> dict[str, bytes]:
    api = site.api
    record = site.client.call("GET", "/collections/articles/records", params={"per_page": 1})["items"][0]
    picture = site.client.call("GET", "/files", params={"per_page": 1, "search": "photo"})["items"][0]
    paths = {
        "Read a record": f"{api.records_path}/{record['id']}",
        "List the newest 20": f"{api.records_path}?per_page=20",
        "Search for a word in all": f"{api.records_path}?per_page=20&search=nowhere-to-be-found",
        "Serve a picture of 256 KB": picture["url"],
    }
    requests = {kind: api.reading_of(path, "") for kind, path in paths.items()}
    return requests | {
        "Create a record": api.new_record,
        "Upload a file of 20 KB": api.new_file("note.txt", b"Some text. " * 2000),
    }


def _measure_editors(
    bench: Bench, site_name: str, clients: _Clients, editors: int, meanwhile: str = ""
) -> None:
    """So many people at work, however slow the answers are."""
    bench.settle()
    api = bench.cms.api
    newest = api.reading_of(f"{api.records_path}?per_page=20", "")
    reading = Load(api.port, newest, _EDITORS_SECONDS, editors * _READS_A_SECOND)
    saving = Load(api.port, api.new_record, _EDITORS_SECONDS, editors * _SAVES_A_SECOND)
    read, saved = clients.readers.start(reading), clients.writers.start(saving)
    name = f"{EDITORS}: {editors} people{meanwhile}"
    _note(bench, f"{name}, reading", site_name, read.result(), reading)
    _note(bench, f"{name}, saving", site_name, saved.result(), saving)


def _note(bench: Bench, measurement: str, site_name: str, answers: list[Write], load: Load) -> None:
    metrics = summarise(answers, load.seconds)
    bench.results.add(measurement, site_name, metrics)
    bench.say(f"{measurement}: {describe(metrics)}")


@contextmanager
def _open_clients() -> Iterator[_Clients]:
    clients = _Clients(LoadProcess(), LoadProcess())
    try:
        yield clients
    finally:
        clients.readers.close()
        clients.writers.close()


@contextmanager
def _backing_up(site: CmsSite) -> Iterator[None]:
    """Make one backup after the other meanwhile."""
    ended = threading.Event()
    made: list[str] = []

    def make_backups() -> None:
        while not ended.is_set():
            made.append(site.create_backup()["filename"])

    with ThreadPoolExecutor(1) as pool:
        maker = pool.submit(make_backups)
        try:
            yield
        finally:
            ended.set()
            maker.result()
    for filename in made:
        site.delete_backup(filename)


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to measure (default: /var/tmp)")  # noqa: S108
    parser.add_argument(
        "--render", action="store_true", help="only write the page again, from benchmarks/scaling.json"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
