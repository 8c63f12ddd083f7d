"""What FastCMS wants to reach, what was measured, and whether it does."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contestants import cms, pocketbase
from benchmarks.contestants.archivers import TAR_DURABLE, UNTAR, UNZIP
from benchmarks.measurements import (
    create,
    download,
    listing,
    memory,
    offsite,
    small_files,
    stage,
    swap,
    uploads,
    writers,
)
from benchmarks.results import Results

# How the results call the two sizes at which memory and start are measured.
USUAL, LARGE = "usual size", "8 times that size"
_FAST = next(iter(writers.PACES))


@dataclass(frozen=True)
class Target:
    """One line of the table; `limit` is a maximum unless `is_minimum`."""

    group: str
    text: str
    limit: float
    measure: Callable[[Results], float | None]
    shown: str = "{:.2f} ×"
    is_minimum: bool = False

    def show(self, results: Results) -> str:
        value = self.measure(results)
        return "not measured" if value is None else self.shown.format(value)

    def is_reached(self, results: Results) -> bool | None:
        """None if it was not measured."""
        value = self.measure(results)
        if value is None:
            return None
        return value >= self.limit if self.is_minimum else value <= self.limit


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _ratio(measurement: str, metric: str, contestant: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(measurement, metric, contestant, other)


def _added_start_ms(size: str) -> Callable[[Results], float | None]:
    with_pending, without = swap.with_pending(size), swap.without(size)
    return lambda results: _scaled(results.difference(swap.NAME, "seconds", with_pending, without), 1000)


def _more_mb(name: str) -> Callable[[Results], float | None]:
    return lambda results: _scaled(results.median(memory.NAME, name, "more_bytes"), 1e-6)


def _p99_ratio(pace: str) -> Callable[[Results], float | None]:
    busy, quiet = (writers.label(cms.NAME, pace, busy=busy) for busy in (True, False))
    return _ratio(writers.NAME, "p99_ms", busy, quiet)


def _largest(metric: str, pace: str) -> Callable[[Results], float | None]:
    name = writers.label(cms.NAME, pace, busy=True)
    return lambda results: results.largest(writers.NAME, name, metric)


def _failed_backups(results: Results) -> float | None:
    succeeded = results.get(uploads.NAME, cms.NAME, "succeeded")
    return len(succeeded) - sum(succeeded) if succeeded else None


def _wrong_files(results: Results) -> float | None:
    wrong = [results.get(uploads.NAME, cms.NAME, metric) for metric in ("missing", "different")]
    return sum(map(sum, wrong)) if all(wrong) else None


TARGETS = (
    Target(
        "Create",
        "at most 1.2 × `tar cf` followed by fsync",
        1.2,
        _ratio(create.NAME, "seconds", cms.NAME, TAR_DURABLE),
    ),
    Target(
        "Create",
        "at least 5 × faster than PocketBase",
        5,
        _ratio(create.NAME, "seconds", pocketbase.NAME, cms.NAME),
        is_minimum=True,
    ),
    Target(
        "Create",
        "archive at most 1.02 × PocketBase's",
        1.02,
        _ratio(create.NAME, "archive_bytes", cms.NAME, pocketbase.NAME),
        "{:.3f} ×",
    ),
    Target(
        "Stage",
        "no slower than PocketBase, from accepting a restore to refusing connections",
        1,
        _ratio(stage.NAME, "seconds", cms.NAME, pocketbase.NAME),
    ),
    Target(
        "Stage",
        "at least 3 × faster than `unzip`",
        3,
        _ratio(stage.NAME, "seconds", UNZIP, cms.NAME),
        is_minimum=True,
    ),
    Target("Start", "at most 50 ms longer with a pending restore", 50, _added_start_ms(USUAL), "{:+.0f} ms"),
    Target("Start", "the same with 8 times the content", 50, _added_start_ms(LARGE), "{:+.0f} ms"),
    Target("Writers", "p99 during backups at most 1.5 × the p99 without", 1.5, _p99_ratio(_FAST)),
    Target(
        "Writers",
        "the slowest write during backups at most 100 ms",
        100,
        _largest("slowest_ms", _FAST),
        "{:.0f} ms",
    ),
    Target("Writers", "no error", 0, _largest("errors", _FAST), "{:.0f}"),
    Target("Uploads and deletes", "no backup fails meanwhile", 0, _failed_backups, "{:.0f} failed"),
    Target(
        "Uploads and deletes",
        "no file missing or different after restoring each backup",
        0,
        _wrong_files,
        "{:.0f} files",
    ),
    Target(
        "Memory",
        "creating: at most 128 MB more than idle",
        128,
        _more_mb(memory.creating(cms.NAME, USUAL)),
        "{:.0f} MB",
    ),
    Target(
        "Memory",
        "the same with 8 times the content",
        128,
        _more_mb(memory.creating(cms.NAME, LARGE)),
        "{:.0f} MB",
    ),
    Target(
        "Memory", "staging: at most 128 MB more than idle", 128, _more_mb(memory.staging(USUAL)), "{:.0f} MB"
    ),
    Target("Memory", "the same with 8 times the content", 128, _more_mb(memory.staging(LARGE)), "{:.0f} MB"),
    *(
        Target(
            "Memory",
            f"{text}: at most 128 MB more than idle",
            128,
            _more_mb(name(encrypt=encrypt)),
            "{:.0f} MB",
        )
        for encrypt, words in ((False, ""), (True, ", encrypted"))
        for name, text in (
            (offsite.copying, f"copying 2 GB to S3{words}"),
            (offsite.fetching, f"fetching 2 GB from S3{words}"),
        )
    ),
    Target(
        "Many small files",
        "create at most 2.5 × `tar cf` followed by fsync",
        2.5,
        _ratio(small_files.CREATE, "seconds", cms.NAME, TAR_DURABLE),
    ),
    Target(
        "Many small files",
        "stage at most 2.5 × `tar xf`",
        2.5,
        _ratio(small_files.STAGE, "seconds", cms.NAME, UNTAR),
    ),
    Target(
        "Copies",
        "to S3 no slower than 1.25 × `rclone copy`",
        1.25,
        _ratio(offsite.COPY, "seconds", cms.NAME, offsite.RCLONE),
    ),
    Target(
        "Copies",
        "encrypted: no slower than 1.25 × `age` piped into `rclone rcat`",
        1.25,
        _ratio(offsite.COPY, "seconds", offsite.ENCRYPTED, offsite.AGE),
    ),
    Target(
        "Copies",
        "back from S3 no slower than 1.25 × `rclone copy` followed by fsync",
        1.25,
        _ratio(offsite.FETCH, "seconds", cms.NAME, offsite.RCLONE_BACK),
    ),
    Target(
        "List",
        "under 100 ms",
        100,
        lambda results: _scaled(results.median(listing.NAME, listing.CONTESTANT, "seconds"), 1000),
        "{:.0f} ms",
    ),
    Target(
        "Download",
        "at least 500 MB/s",
        500,
        lambda results: _scaled(results.median(download.NAME, download.WHOLE, "bytes_per_second"), 1e-6),
        "{:.0f} MB/s",
        is_minimum=True,
    ),
    Target(
        "Download",
        "resumed, it has the same bytes",
        0,
        lambda results: results.facts.get(download.DIFFERING),
        "{:.0f} bad",
    ),
)
