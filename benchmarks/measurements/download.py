"""Downloading a backup over the loopback interface, whole and in two parts."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.context import Bench
from benchmarks.http_client import Connection

NAME = "download"
WHOLE = "whole"
RESUMED = "second half, with a Range header"
DIFFERING = "resumed_downloads_that_differ"
_BUFFER_BYTES = 1024**2


def run(bench: Bench) -> None:
    filename = bench.cms.create_backup()["filename"]
    archive = bench.cms.backups_dir / filename
    middle = archive.stat().st_size // 2
    for _ in range(bench.plan.rounds):
        for name, byte_range in ((WHOLE, "bytes=0-"), (RESUMED, f"bytes={middle}-")):
            bench.settle()
            rate = _download(bench, filename, byte_range, lambda _part: None)
            bench.results.add(NAME, name, {"bytes_per_second": rate})
            bench.say(f"{NAME}, {name}: {rate / 1e6:.0f} MB/s")
    bench.results.facts[DIFFERING] = float(not _is_identical(bench, archive, middle))
    bench.cms.delete_backup(filename)


def _download(bench: Bench, filename: str, byte_range: str, take: Callable[[memoryview], object]) -> float:
    """Give each part of the answer to `take`; return the bytes per second."""
    connection = Connection(bench.cms.server.port)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    request = bench.cms.api.reading_of(f"/api/v1/backups/{filename}/download", byte_range)
    started = time.perf_counter()
    status, length, first = connection.send_for_head(request)
    take(memoryview(first))
    left = length - len(first)
    while left and (received := connection.receive_into(buffer)):
        take(buffer[:received])
        left -= received
    seconds = time.perf_counter() - started
    connection.close()
    if left or not length:
        raise RuntimeError(f"The download was answered with {status} and ended {left} bytes early.")
    return length / seconds


def _is_identical(bench: Bench, archive: Path, middle: int) -> bool:
    """Whether a download that broke off in the middle and was resumed has the archive's bytes."""
    digest = hashlib.sha256()
    for byte_range in (f"bytes=0-{middle - 1}", f"bytes={middle}-"):
        _download(bench, archive.name, byte_range, digest.update)
    with archive.open("rb") as file:
        return digest.digest() == hashlib.file_digest(file, "sha256").digest()
