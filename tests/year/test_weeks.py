"""A sample of `make year`, which lives through a whole one: some weeks, in which much happens."""

from datetime import date, time
from pathlib import Path

from tests.year.events import WEEKS, live
from tests.year.life import Life, at
from tests.year.simulated_site import simulated_site


def test_whatever_happens_the_right_backups_are_kept_and_the_status_says_how_things_stand(
    tmp_path: Path,
) -> None:
    evenings: list[str] = []
    start = at(date(2026, 3, 15), time(18))
    with simulated_site(tmp_path, start) as site:
        live(Life(site, start, evenings.append), WEEKS, days=24)
    assert len(evenings) == 24
    assert {evening.split()[1] for evening in evenings} == {"ok", "warnings", "attention", "waiting", "off:"}
