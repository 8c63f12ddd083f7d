"""How much memory a server and its children take while they make and stage a backup."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contestants import cms, pocketbase
from benchmarks.contestants.pocketbase import PocketBaseSite
from benchmarks.context import Bench

NAME = "memory"
_INTERVAL_SECONDS = 0.02


def run(bench: Bench, size: str, rounds: int) -> None:
    """Measure with a fresh server each time; `size` is how the report calls the size of this site."""
    for _ in range(rounds):
        _measure_cms(bench, size)
        if bench.pocketbase:
            _measure_pocketbase(bench, bench.pocketbase, size)


def creating(contestant: str, size: str) -> str:
    return f"{contestant}, creating, {size}"


def staging(size: str) -> str:
    return f"{cms.NAME}, staging, {size}"


def _measure_cms(bench: Bench, size: str) -> None:
    bench.cms.restart()
    bench.cms.client.call("GET", "/backups")
    with watched(bench, creating(cms.NAME, size), bench.cms.server.pid):
        filename = bench.cms.create_backup()["filename"]
    bench.cms.restart()
    bench.cms.client.call("GET", "/backups")
    with watched(bench, staging(size), bench.cms.server.pid):
        bench.cms.stage(filename)
    bench.cms.cancel()
    bench.cms.delete_backup(filename)


def _measure_pocketbase(bench: Bench, server: PocketBaseSite, size: str) -> None:
    server.stop()
    server.start()
    with watched(bench, creating(pocketbase.NAME, size), server.pid):
        name = server.create_backup()
    server.delete_backup(name)


@contextmanager
def watched(bench: Bench, name: str, pid: int) -> Iterator[None]:
    """Note how much more memory a process and its children take meanwhile than at the beginning.

    What one look finds and the next one does not is left out: a child that has yet to start its program
    shares all memory with its parent, and is counted as if it did not.
    """
    idle_bytes = measure_memory(pid)
    peak_bytes, ended = idle_bytes, threading.Event()

    def watch() -> None:
        nonlocal peak_bytes
        last_bytes = idle_bytes
        while not ended.wait(_INTERVAL_SECONDS):
            found_bytes = measure_memory(pid)
            peak_bytes = max(peak_bytes, min(last_bytes, found_bytes))
            last_bytes = found_bytes

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    metrics = {"idle_bytes": idle_bytes, "peak_bytes": peak_bytes, "more_bytes": peak_bytes - idle_bytes}
    bench.results.add(NAME, name, metrics)
    bench.say(f"{NAME}, {name}: {metrics['more_bytes'] / 1e6:.0f} MB more than idle")


def measure_memory(pid: int) -> int:
    """The memory of a process and all its descendants, each page that they share counted once (PSS)."""
    return sum(_pss_bytes(one) for one in _family(pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(children).split():
            yield from _family(int(child))


def _pss_bytes(pid: int) -> int:
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process or thread has ended
        return ""
