"""Live through a whole year of automatic backups, and say for each evening which ones are kept."""

import tempfile
import time as clock
from datetime import date, time
from pathlib import Path

from tests.year.events import YEAR, live
from tests.year.life import Life, at
from tests.year.simulated_site import simulated_site

_FIRST, _DAYS = date(2026, 2, 10), 365
_LEGEND = """\
Every evening: the date, what the status says, how many backups there are, and the days on which they were
made. m: by hand, p: pinned, d: damaged. Uploaded ones are only counted. At the end, what happened that day.
"""


def main() -> None:
    started = clock.perf_counter()
    print(_LEGEND)
    start = at(_FIRST, time(18))
    with tempfile.TemporaryDirectory() as folder, simulated_site(Path(folder), start) as site:
        life = Life(site, start, lambda evening: print(evening, flush=True))
        live(life, YEAR, _DAYS)
    runs = ", ".join(f"{count} {kind}" for kind, count in life.count_runs().items())
    minutes = (clock.perf_counter() - started) / 60
    print(
        f"\n{_DAYS} days in {minutes:.0f} minutes, {runs}: on every evening what is kept was what should be."
    )


if __name__ == "__main__":
    main()
