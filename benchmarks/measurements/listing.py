"""Listing very many backups."""

import os
from datetime import UTC, datetime, timedelta

from benchmarks.contestants.archivers import time_of
from benchmarks.context import Bench

NAME = "list"
CONTESTANT = "GET /api/v1/backups"
_REQUESTS = 20


def run(bench: Bench) -> None:
    """Give one archive as many names as there are to be backups."""
    first = bench.cms.backups_dir / bench.cms.create_backup()["filename"]
    start = datetime(2020, 1, 1, tzinfo=UTC)
    for number in range(bench.plan.listed_backups - 1):
        name = f"backup_{start + timedelta(hours=number):%Y%m%d_%H%M%S}.zip"
        os.link(first, first.with_name(name))
    total = bench.cms.client.call("GET", "/backups")["total"]
    if total != bench.plan.listed_backups:
        raise RuntimeError(f"{total} backups are listed.")
    for _ in range(_REQUESTS):
        seconds = time_of(lambda: bench.cms.client.call("GET", "/backups"))
        bench.results.add(NAME, CONTESTANT, {"seconds": seconds})
    bench.say(f"{NAME}: {bench.results.median(NAME, CONTESTANT, 'seconds'):.3f} s for {total} backups")
