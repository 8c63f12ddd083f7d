"""When schedules are due, also when the clock changes."""

from datetime import UTC, datetime

import pytest

from fastcms.cron import check_schedule, check_timezone, latest_time, next_times

BERLIN = "Europe/Berlin"


def utc(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize("text", ["", "x", "0 2 * *", "0 2 * * * *", "61 * * * *", "0 2 31 2 *", "@daily"])
def test_what_is_no_cron_expression_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"`0 2 \* \* \*`"):
        check_schedule(text)


def test_expressions_are_tidied_and_off_is_one_of_them() -> None:
    assert check_schedule(" 0  2 * * MON-FRI ") == "0 2 * * MON-FRI"
    assert check_schedule("OFF") == "off"
    assert next_times("off", "UTC", utc(2026, 1, 1)) == []
    assert latest_time("off", "UTC", utc(2026, 1, 1)) is None


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "/etc/passwd", "Europe", "a\0b"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        check_timezone(name)


def test_the_next_time_is_later_and_the_latest_is_earlier_than_the_moment_itself() -> None:
    two = utc(2026, 11, 23, 2)
    assert next_times("0 2 * * *", "UTC", two) == [utc(2026, 11, 24, 2)]
    assert latest_time("0 2 * * *", "UTC", two) == utc(2026, 11, 22, 2)


def test_zero_and_seven_are_sunday() -> None:
    sunday = utc(2026, 11, 29, 2)
    for day in ("0", "7", "SUN"):
        assert next_times(f"0 2 * * {day}", "UTC", utc(2026, 11, 23)) == [sunday]


def test_a_time_that_spring_skips_is_due_when_the_clock_has_jumped() -> None:
    # 2026-03-29: 2:00 is 3:00 in Berlin, which is 1:00 UTC.
    times = next_times("30 2 * * *", BERLIN, utc(2026, 3, 28, 12), 2)
    assert times == [utc(2026, 3, 29, 1), utc(2026, 3, 30, 0, 30)]


def test_a_time_that_autumn_repeats_is_due_once() -> None:
    # 2026-10-25: 3:00 is 2:00 again in Berlin, at 1:00 UTC.
    times = next_times("30 2 * * *", BERLIN, utc(2026, 10, 24, 12), 2)
    assert times == [utc(2026, 10, 25, 0, 30), utc(2026, 10, 26, 1, 30)]
    assert latest_time("30 2 * * *", BERLIN, utc(2026, 10, 25, 5)) == utc(2026, 10, 25, 0, 30)


def test_within_the_hour_that_comes_twice_what_was_due_is_past() -> None:
    again = utc(2026, 10, 25, 1, 15)  # 2:15 for the second time
    assert next_times("30 2 * * *", BERLIN, again) == [utc(2026, 10, 26, 1, 30)]
    assert latest_time("30 2 * * *", BERLIN, again) == utc(2026, 10, 25, 0, 30)
