"""Schedules as a form has them, as cron has them, and in words."""

import pytest

from fastcms.backups.schedule_choice import ScheduleChoice, ScheduleKind, choice_of, in_words


@pytest.mark.parametrize(
    ("expression", "kind", "words"),
    [
        ("off", "off", "never"),
        ("0 2 * * *", "daily", "every day at 02:00"),
        ("05 23 * * *", "daily", "every day at 23:05"),
        ("30 4 * * 1", "weekly", "every Monday at 04:30"),
        ("30 4 * * 7", "weekly", "every Sunday at 04:30"),
        ("0 4 28 * *", "monthly", "on day 28 of every month at 04:00"),
        ("0 4 31 * *", "cron", "by the cron expression 0 4 31 * *"),
        ("0 4 0 * *", "cron", "by the cron expression 0 4 0 * *"),
        ("0 4 1 * 1", "cron", "by the cron expression 0 4 1 * 1"),
        ("0 4 * * 8", "cron", "by the cron expression 0 4 * * 8"),
        ("*/5 * * * *", "cron", "by the cron expression */5 * * * *"),
        ("60 4 * * *", "cron", "by the cron expression 60 4 * * *"),
        ("0 24 * * *", "cron", "by the cron expression 0 24 * * *"),
        ("0 2 * 6 *", "cron", "by the cron expression 0 2 * 6 *"),
    ],
)
def test_a_schedule_is_told_in_words(expression: str, kind: str, words: str) -> None:
    assert (choice_of(expression).kind, in_words(expression)) == (kind, words)


@pytest.mark.parametrize(
    "expression", ["off", "0 2 * * *", "30 4 * * 0", "30 4 * * 6", "5 14 28 * *", "*/5 1-3 * * mon"]
)
def test_a_choice_means_the_same_schedule(expression: str) -> None:
    assert choice_of(expression).expression == expression


@pytest.mark.parametrize("time", ["", "25:00", "2", "02:60", "two", "02:00:00"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(ValueError, match="a time looks like 02:00"):
        _ = ScheduleChoice(ScheduleKind.DAILY, time).expression
