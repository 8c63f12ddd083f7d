"""What became of each of the last 30 days, told from simulated histories."""

from datetime import UTC, date, datetime, timedelta

import pytest

from fastcms.backups import history, schedule
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.days import Day, Days, DayState, list_days
from fastcms.backups.history import RunKind
from fastcms.backups.job_files import JobError, JobState
from fastcms.backups.schedule import Duty
from fastcms.backups.schedule_history import held_schedules, note_schedule
from fastcms.config import Settings
from fastcms.site import Site
from tests.runs import add_run, job_at_work

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# A Wednesday, and the default schedule is 2:00 UTC.
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
LONG_AGO = NOON - 50 * DAY


@pytest.fixture
def scheduled(site: Site) -> Site:
    """A site with a backup every day at 2:00, as was known before the first day that is shown."""
    schedule.begin(site, Duty.BACKUP, LONG_AGO)
    return site


def run(
    site: Site,
    started: datetime,
    state: JobState = JobState.SUCCEEDED,
    *,
    kind: RunKind = RunKind.CREATE,
    reason: str = "No space.",
    problems: int = 0,
) -> None:
    add_run(
        site,
        started,
        state,
        kind=kind,
        backup_filename=f"backup_{started:%Y%m%d_%H%M%S}.zip",
        finished=started + timedelta(seconds=4),
        error=JobError(status=507, detail=reason, code="x") if state is JobState.FAILED else None,
        details={"problem_count": problems} if problems else {},
    )


def days(site: Site, now: datetime = NOON) -> Days:
    return list_days(site, now)


def today(site: Site, now: datetime = NOON) -> tuple[DayState, str]:
    day = days(site, now).items[-1]
    return day.state, day.sentence


def on(site: Site, when: date) -> Day:
    (day,) = [day for day in days(site).items if day.date == when]
    return day


def test_there_are_thirty_days_and_the_last_one_is_today(scheduled: Site) -> None:
    found = days(scheduled)
    assert [day.date for day in found.items] == [date(2026, 5, 12) + number * DAY for number in range(30)]
    assert found.timezone == "UTC"
    assert (found.counts, found.sentence) == ({"overdue": 30}, "The last 30 days: 30 overdue.")


def test_of_a_site_that_nobody_has_looked_at_nothing_is_claimed(site: Site) -> None:
    assert days(site).counts == {"unknown": 30}
    assert today(site)[1] == "No backup was made. Whether one was due is not known."
    assert days(site).items[0].sentence == "There is no record of this day."


def test_days_before_the_schedule_was_known_are_not_overdue(site: Site) -> None:
    run(site, NOON - 20 * DAY)
    schedule.begin(site, Duty.BACKUP, NOON - 5 * DAY)
    states = [day.state for day in days(site).items]
    assert states[:9] == ["unknown"] * 9
    assert states[9] == "ok"
    assert states[10:24] == ["unknown"] * 14  # the history is known, the schedule is not
    assert states[24] == "none_expected"  # it was looked at after 2:00
    assert states[25:] == ["overdue"] * 5
    assert on(site, date(2026, 5, 15)).sentence == "There is no record of this day."
    assert "Whether one was due is not known" in on(site, date(2026, 5, 25)).sentence


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([2], "1 backup, at 02:00."),
        ([2, 9, 11], "3 backups, the last at 11:00."),
    ],
)
def test_a_day_with_backups_says_when(scheduled: Site, hours: list[int], expected: str) -> None:
    for hour in hours:
        run(scheduled, NOON.replace(hour=hour))
    assert today(scheduled) == ("ok", expected)
    assert days(scheduled).items[-1].made == len(hours)


def test_a_failure_is_a_warning_once_there_is_a_backup(scheduled: Site) -> None:
    run(scheduled, NOON - 10 * HOUR, JobState.FAILED, reason="Too little space.")
    assert today(scheduled) == ("failed", "Failed at 02:00: Too little space.")
    run(scheduled, NOON - 9 * HOUR, JobState.FAILED)
    assert today(scheduled) == ("failed", "Failed twice, the last time at 03:00: No space.")
    run(scheduled, NOON - 8 * HOUR, JobState.FAILED)
    assert "Failed 3 times" in today(scheduled)[1]
    run(scheduled, NOON - 7 * HOUR)
    state, sentence = today(scheduled)
    assert (state, sentence[:19]) == ("warning", "1 backup, at 05:00.")
    assert "Failed 3 times, the last time at 04:00" in sentence
    assert (days(scheduled).items[-1].made, days(scheduled).items[-1].failed) == (1, 3)


def test_problems_and_failed_verifications_are_warnings(scheduled: Site) -> None:
    run(scheduled, NOON - 10 * HOUR, problems=2)
    run(scheduled, NOON - 10 * HOUR - DAY)
    run(scheduled, NOON - 9 * HOUR - DAY, JobState.FAILED, kind=RunKind.VERIFY, reason="It is damaged.")
    assert today(scheduled)[0] == "warning"
    assert "Not all of the site was in order: 2 problems." in today(scheduled)[1]
    yesterday = days(scheduled).items[-2]
    assert (yesterday.state, yesterday.failed) == ("warning", 0)
    assert "The verification of backup_20260609_030000.zip failed: It is damaged." in yesterday.sentence


def test_today_is_overdue_only_when_its_time_has_long_passed(scheduled: Site) -> None:
    two = NOON.replace(hour=2)
    assert today(scheduled, two - HOUR) == ("waiting", "A backup is due at 02:00.")
    assert today(scheduled, two + HOUR) == ("waiting", "A backup is due since 02:00.")
    assert today(scheduled, two + 2 * HOUR) == ("overdue", "A backup was due at 02:00 and was not made.")
    run(scheduled, two + 2 * HOUR, JobState.CANCELLED)
    state, sentence = today(scheduled)
    assert (state, sentence[-18:]) == ("overdue", "One was cancelled.")


def test_a_backup_that_runs_is_shown_on_the_day_it_began(scheduled: Site) -> None:
    started = NOON - HOUR
    run(scheduled, started - HOUR)
    with job_at_work(scheduled, started):
        assert today(scheduled) == ("running", "A backup is being made since 11:00. 1 backup, at 10:00.")
    # Its process was killed: the history does not know of it yet.
    state, sentence = today(scheduled)
    assert (state, days(scheduled).items[-1].failed) == ("warning", 1)
    assert "Failed at 11:00" in sentence


def test_with_a_weekly_schedule_most_days_expect_nothing(site: Site) -> None:
    change_settings(site, {"schedule": "0 2 * * 0"})
    schedule.begin(site, Duty.BACKUP, LONG_AGO)
    run(site, datetime(2026, 6, 7, 2, tzinfo=UTC))
    assert on(site, date(2026, 6, 7)).state == "ok"
    assert on(site, date(2026, 5, 31)).state == "overdue"
    assert on(site, date(2026, 6, 3)).sentence == "No backup was due."
    assert days(site).counts == {"ok": 1, "overdue": 3, "none_expected": 26}


def test_each_day_has_the_schedule_that_held_then(scheduled: Site) -> None:
    change_settings(scheduled, {"schedule": "off"})
    schedule.begin(scheduled, Duty.BACKUP, NOON - 10 * DAY)
    change_settings(scheduled, {"schedule": "0 18 * * *"})
    schedule.begin(scheduled, Duty.BACKUP, NOON - 3 * DAY)
    states = [day.state for day in days(scheduled).items]
    assert states == ["overdue"] * 20 + ["none_expected"] * 6 + ["overdue"] * 3 + ["waiting"]


def test_days_are_those_of_the_sites_time_zone(site: Site) -> None:
    change_settings(site, {"timezone": "Asia/Tokyo"})
    schedule.begin(site, Duty.BACKUP, LONG_AGO)
    run(site, datetime(2026, 6, 9, 17, 0, 20, tzinfo=UTC))  # 2:00 of the tenth in Tokyo
    assert today(site) == ("ok", "1 backup, at 02:00.")
    evening = NOON + 4 * HOUR
    assert days(site, evening).items[-1].date == date(2026, 6, 11)
    assert today(site, evening) == ("waiting", "A backup is due at 02:00.")


def test_in_another_time_zone_the_days_of_before_are_judged_by_what_was_due_then(scheduled: Site) -> None:
    """2:00 UTC is 22:00 of the day before in New York."""
    run(scheduled, datetime(2026, 6, 6, 2, 0, 5, tzinfo=UTC))
    change_settings(scheduled, {"timezone": "America/New_York"})
    schedule.begin(scheduled, Duty.BACKUP, NOON)
    assert on(scheduled, date(2026, 6, 5)).sentence == "1 backup, at 22:00."
    assert on(scheduled, date(2026, 6, 4)).sentence == "A backup was due at 22:00 and was not made."
    assert [one.timezone for one in held_schedules(scheduled)] == ["UTC", "America/New_York"]


def test_a_day_of_23_hours_loses_no_backup(site: Site) -> None:
    change_settings(site, {"timezone": "Europe/Berlin", "schedule": "30 2 * * *"})
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    schedule.begin(site, Duty.BACKUP, now - 40 * DAY)
    for number in range(30):
        day = datetime(2026, 3, 2, 1, 30, 9, tzinfo=UTC) + number * DAY
        run(site, day if day < datetime(2026, 3, 30, tzinfo=UTC) else day - HOUR)
    assert days(site, now).counts == {"ok": 30}


def test_a_backup_due_before_midnight_may_begin_after_it(site: Site) -> None:
    change_settings(site, {"schedule": "59 23 * * 1"})
    schedule.begin(site, Duty.BACKUP, LONG_AGO)
    run(site, datetime(2026, 6, 9, 0, 0, 40, tzinfo=UTC))
    assert on(site, date(2026, 6, 8)).state == "ok"
    assert "was made at 00:00" in on(site, date(2026, 6, 8)).sentence
    assert on(site, date(2026, 6, 1)).state == "overdue"


def test_backups_that_the_history_has_lost_count(scheduled: Site, settings: Settings) -> None:
    (settings.backups_dir / "backup_20260609_020001.zip").write_bytes(b"PK")
    assert days(scheduled).items[-2].sentence == "1 backup, at 02:00."


def test_what_a_wrong_clock_has_noted_hides_nothing(scheduled: Site) -> None:
    run(scheduled, NOON + 300 * DAY, JobState.FAILED)
    note_schedule(scheduled, "0 3 * * *", "UTC", NOON + 300 * DAY)
    schedule.begin(scheduled, Duty.BACKUP, NOON)
    assert [one.since for one in held_schedules(scheduled)] == [LONG_AGO]
    assert today(scheduled)[0] == "overdue"


def test_schedules_of_long_ago_are_forgotten_but_for_the_one_that_held(site: Site) -> None:
    for number in range(10):
        note_schedule(site, f"{number} 2 * * *", "UTC", NOON - (100 - 10 * number) * DAY)
    assert held_schedules(site)[0].since == NOON - 70 * DAY
    note_schedule(site, "9 2 * * *", "UTC", NOON)  # nothing new
    assert len(held_schedules(site)) == 7


def test_a_mark_that_makes_no_sense_is_taken_for_none(scheduled: Site) -> None:
    history.write_mark(scheduled, "schedules", [{"since": "yesterday"}])
    assert held_schedules(scheduled) == []
    assert "overdue" not in days(scheduled).counts
