"""Times to come, in words."""

from datetime import UTC, datetime

import pytest

from fastcms.backups.plain_times import say_when_next

MONDAY_NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "now", "words"),
    [
        ("2026-11-24 01:00", MONDAY_NOON, "tonight at 02:00 (Europe/Berlin)"),
        ("2026-11-23 20:30", MONDAY_NOON, "tonight at 21:30 (Europe/Berlin)"),
        ("2026-11-23 14:00", MONDAY_NOON, "today at 15:00 (Europe/Berlin)"),
        ("2026-11-24 08:00", MONDAY_NOON, "tomorrow at 09:00 (Europe/Berlin)"),
        ("2026-11-26 01:00", MONDAY_NOON, "on Thursday at 02:00 (Europe/Berlin)"),
        ("2026-11-30 13:00", MONDAY_NOON, "on 30 November at 14:00 (Europe/Berlin)"),
        ("2027-01-01 01:00", MONDAY_NOON, "on 1 January 2027 at 02:00 (Europe/Berlin)"),
        ("2026-11-23 12:00", MONDAY_NOON, "in a moment"),
        # Shortly after midnight, 02:00 of this night is near, that of the next one is not.
        ("2026-11-23 01:00", datetime(2026, 11, 23, 0, 10, tzinfo=UTC), "tonight at 02:00 (Europe/Berlin)"),
        ("2026-11-24 00:00", datetime(2026, 11, 23, 1, 10, tzinfo=UTC), "tomorrow at 01:00 (Europe/Berlin)"),
    ],
)
def test_a_time_is_said_as_people_say_it(time: str, now: datetime, words: str) -> None:
    assert say_when_next(datetime.fromisoformat(f"{time}+00:00"), "Europe/Berlin", now) == words
