"""Reckoning with space: what the next backup needs, how a disk fills up, and when that is said."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fastcms.backups.storage import (
    Disk,
    Filling,
    _why_low,
    reckon_filling,
    reckon_next_backup,
)
from fastcms.durability import SPARE_BYTES

GB = 10**9
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
DISK = Disk(folder="data/backups", total_bytes=100 * GB, free_bytes=50 * GB)


def observed(used: dict[int, int], total_bytes: int = DISK.total_bytes) -> dict[str, list[int]]:
    """What the history would have, from days ago -> bytes used."""
    return {
        (NOW - timedelta(days=days_ago)).date().isoformat(): [used_bytes, total_bytes]
        for days_ago, used_bytes in used.items()
    }


def test_a_backup_needs_the_database_twice_and_the_files() -> None:
    assert reckon_next_backup(5 * GB, 20 * GB, 0) == 30 * GB + SPARE_BYTES


def test_files_that_no_table_knows_are_reckoned_by_the_newest_backup() -> None:
    assert reckon_next_backup(5 * GB, 20 * GB, 60 * GB) == 65 * GB + SPARE_BYTES
    assert reckon_next_backup(0, None, 60 * GB) == 60 * GB + SPARE_BYTES


def test_growth_and_the_day_on_which_the_disk_is_full_follow_from_what_was_seen() -> None:
    used = {day: 50 * GB - day * GB for day in range(30)}
    assert reckon_filling(observed(used), DISK, NOW) == Filling(GB, date(2026, 8, 19))


def test_a_day_on_which_much_came_or_went_does_not_decide() -> None:
    used = {day: 50 * GB - day * GB for day in range(30)}
    used[12] += 40 * GB
    used[20] -= 15 * GB
    assert reckon_filling(observed(used), DISK, NOW).bytes_per_day == GB


@pytest.mark.parametrize("bytes_per_day", [0, -GB, 1000])
def test_a_disk_that_does_not_fill_up_is_never_full(bytes_per_day: int) -> None:
    used = {day: 50 * GB - day * bytes_per_day for day in range(30)}
    assert reckon_filling(observed(used), DISK, NOW) == Filling(bytes_per_day, None)


def test_a_full_disk_that_does_not_fill_up_is_no_forecast() -> None:
    full = DISK.model_copy(update={"free_bytes": 0})
    assert reckon_filling(observed(dict.fromkeys(range(30), 100 * GB)), full, NOW) == Filling(0, None)


@pytest.mark.parametrize("days", [(), (0,), (0, 1, 2, 3, 4, 5), (0, 5, 9, 20)])
def test_too_little_seen_is_no_growth(days: tuple[int, ...]) -> None:
    used = {day: 50 * GB - day * GB for day in days}
    assert reckon_filling(observed(used), DISK, NOW) == Filling(None, None)


def test_what_was_seen_long_ago_or_of_another_disk_does_not_count() -> None:
    old = observed({day: 50 * GB - day * GB for day in range(31, 60)})
    assert reckon_filling(old, DISK, NOW) == Filling(None, None)
    smaller = observed({day: 5 * GB - day * GB // 10 for day in range(30)}, 10 * GB)
    assert reckon_filling(smaller, DISK, NOW) == Filling(None, None)


def low(free_bytes: int, next_backup_bytes: int, full_on: date | None = None) -> str | None:
    disk = DISK.model_copy(update={"free_bytes": free_bytes})
    return _why_low(disk, next_backup_bytes, Filling(GB, full_on), NOW)


def test_space_is_low_when_not_two_backups_fit() -> None:
    assert low(50 * GB, 24 * GB) is None
    assert "a second one may not" in str(low(50 * GB, 26 * GB))


def test_space_is_low_when_less_than_a_tenth_is_free_unless_ten_backups_fit() -> None:
    assert "9%" in str(low(9 * GB, 1 * GB))
    assert low(9 * GB, GB // 10) is None
    assert low(11 * GB, 2 * GB) is None


def test_space_is_low_when_the_disk_is_full_within_two_weeks() -> None:
    assert low(50 * GB, GB, date(2026, 7, 15)) is None
    assert low(50 * GB, GB, date(2026, 7, 14)) == (
        "50.0 GB are free in data/backups. "
        "If it fills up as now, by 1.0 GB a day, the disk is full on 2026-07-14."
    )
