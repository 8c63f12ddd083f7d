"""How the dashboard writes times and sizes."""

from datetime import UTC, datetime, timedelta

import pytest

from fastcms.admin.filters import at_home, next_try
from fastcms.database import utc_now


def test_a_next_try_whose_time_has_come_is_told_no_time() -> None:
    now = utc_now()
    assert next_try(now - timedelta(seconds=1)) == "It is tried again now"
    assert next_try(now + timedelta(hours=1)).startswith("The next try is at ")


@pytest.mark.parametrize(
    ("moment", "timezone", "said"),
    [
        (datetime(2026, 11, 23, 11, 11, tzinfo=UTC), "Europe/Berlin", "12:11 in Europe/Berlin"),
        (datetime(2026, 11, 23, 23, 30, tzinfo=UTC), "Europe/Berlin", "2026-11-24 00:30 in Europe/Berlin"),
        (datetime(2026, 11, 23, 11, 11, tzinfo=UTC), "UTC", ""),
        (datetime(2026, 1, 23, 11, 11, tzinfo=UTC), "Europe/London", ""),
    ],
)
def test_a_moment_is_told_on_the_clocks_of_the_site_where_they_differ(
    moment: datetime, timezone: str, said: str
) -> None:
    assert at_home(moment, timezone) == said
