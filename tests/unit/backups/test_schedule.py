"""What is due when: missed times, retries, changed schedules, and clocks that jump."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from fastcms.backups import history, schedule
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.history_file import history_path
from fastcms.backups.schedule import Duty
from fastcms.config import Settings
from fastcms.errors import BackupError
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3
from tests.runs import add_run, job_at_work

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# The default schedule is 2:00 UTC.
TWO = datetime(2026, 6, 10, 2, tzinfo=UTC)
BERLIN = "Europe/Berlin"


@pytest.fixture
def seen(site: Site) -> Site:
    """A site whose schedule was looked at ten minutes before a due time."""
    assert not begin(site, TWO - 10 * MINUTE)
    return site


def begin(site: Site, now: datetime, duty: Duty = Duty.BACKUP) -> bool:
    return schedule.begin(site, duty, now)


def succeed(site: Site, now: datetime) -> None:
    assert begin(site, now)
    schedule.succeed(site, Duty.BACKUP)


def fail(site: Site, now: datetime) -> None:
    assert begin(site, now)
    schedule.fail(site, Duty.BACKUP, now)


def next_run(site: Site, now: datetime) -> datetime | None:
    return schedule.next_run(site, Duty.BACKUP, now)


def look_every(step: timedelta, first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += step


def test_nothing_of_the_time_before_the_first_look_is_due(site: Site) -> None:
    assert not begin(site, TWO + 8 * HOUR)
    assert not begin(site, TWO + 9 * HOUR)
    assert next_run(site, TWO + 9 * HOUR) == TWO + DAY
    assert begin(site, TWO + DAY + MINUTE)


def test_after_a_history_was_lost_what_is_due_since_the_newest_backup_is_done(site: Site) -> None:
    newest = TWO - DAY + MINUTE
    (site.settings.backups_dir / f"backup_{newest:%Y%m%d_%H%M%S}.zip").write_bytes(b"any archive")
    assert not begin(site, TWO - MINUTE)
    history_path(site).unlink()
    succeed(site, TWO + MINUTE)
    assert not begin(site, TWO + 2 * MINUTE)


def test_what_is_due_is_done_once(seen: Site) -> None:
    assert not begin(seen, TWO - MINUTE)
    succeed(seen, TWO)
    for now in look_every(HOUR, TWO + MINUTE, TWO + 23 * HOUR):
        assert not begin(seen, now)
    assert begin(seen, TWO + DAY + MINUTE)


def test_several_missed_times_are_caught_up_by_one_run(seen: Site) -> None:
    later = TWO + 30 * DAY + 5 * HOUR
    assert schedule.find_due(seen, Duty.BACKUP, later) == TWO + 30 * DAY
    succeed(seen, later)
    assert not begin(seen, later + MINUTE)
    assert next_run(seen, later) == TWO + 31 * DAY


def test_backups_and_verifications_are_due_each_on_its_own(seen: Site) -> None:
    begin(seen, TWO - MINUTE, Duty.VERIFICATION)
    succeed(seen, TWO)
    first_of_july = datetime(2026, 7, 1, 4, tzinfo=UTC)
    assert schedule.next_run(seen, Duty.VERIFICATION, TWO) == first_of_july
    assert not begin(seen, first_of_july - MINUTE, Duty.VERIFICATION)
    assert begin(seen, first_of_july, Duty.VERIFICATION)


def test_a_failed_attempt_is_tried_again_ever_later_and_then_at_the_next_due_time(seen: Site) -> None:
    now = TWO
    for wait in (15 * MINUTE, HOUR, 3 * HOUR):
        fail(seen, now)
        assert next_run(seen, now) == now + wait
        assert not begin(seen, now + wait - MINUTE)
        now += wait
    fail(seen, now)
    assert next_run(seen, now) == TWO + DAY
    assert not begin(seen, TWO + 23 * HOUR)
    fail(seen, TWO + DAY)
    assert next_run(seen, TWO + DAY) == TWO + DAY + 15 * MINUTE


def test_the_wait_begins_when_the_attempt_has_failed_not_when_it_began(seen: Site) -> None:
    assert begin(seen, TWO)
    schedule.fail(seen, Duty.BACKUP, TWO + 2 * HOUR)
    assert not begin(seen, TWO + 2 * HOUR + 14 * MINUTE)
    assert begin(seen, TWO + 2 * HOUR + 15 * MINUTE)


def test_an_attempt_that_nobody_has_ended_counts(seen: Site) -> None:
    assert begin(seen, TWO)
    assert not begin(seen, TWO + 14 * MINUTE)
    assert begin(seen, TWO + 15 * MINUTE)
    assert not begin(seen, TWO + 74 * MINUTE)


def test_an_attempt_that_others_were_in_the_way_of_does_not_count(seen: Site) -> None:
    for _ in range(10):
        assert begin(seen, TWO)
        schedule.withdraw(seen, Duty.BACKUP)
    fail(seen, TWO)
    assert next_run(seen, TWO) == TWO + 15 * MINUTE


def test_a_success_after_failures_ends_the_retries(seen: Site) -> None:
    fail(seen, TWO)
    succeed(seen, TWO + 15 * MINUTE)
    assert not begin(seen, TWO + 5 * HOUR)
    fail(seen, TWO + DAY)
    assert next_run(seen, TWO + DAY) == TWO + DAY + 15 * MINUTE


def test_a_changed_schedule_counts_from_the_next_look_on(seen: Site) -> None:
    succeed(seen, TWO)
    change_settings(seen, {"schedule": "0 9 * * *"})
    at_ten = TWO + 8 * HOUR
    assert not begin(seen, at_ten)
    assert next_run(seen, at_ten) == TWO + 31 * HOUR
    assert not begin(seen, TWO + DAY)
    assert begin(seen, TWO + 31 * HOUR)


def test_a_changed_time_zone_counts_from_the_next_look_on(seen: Site) -> None:
    succeed(seen, TWO)
    change_settings(seen, {"timezone": "America/New_York"})
    assert not begin(seen, TWO + 8 * HOUR)
    assert next_run(seen, TWO + 8 * HOUR) == TWO + DAY + 4 * HOUR


def test_what_was_due_before_the_schedule_was_changed_is_still_done(seen: Site) -> None:
    fail(seen, TWO)
    change_settings(seen, {"schedule": "0 9 * * *"})
    assert next_run(seen, TWO + MINUTE) == TWO + 15 * MINUTE
    succeed(seen, TWO + 15 * MINUTE)
    assert begin(seen, TWO + 7 * HOUR)


def test_a_cron_job_without_the_servers_environment_makes_the_server_miss_nothing(
    site: Site, settings: Settings
) -> None:
    server = new_site(settings.model_copy(update={"backup_schedule": "0 3 * * *"}))
    done = []
    for day in (TWO, TWO + DAY):
        for now in look_every(5 * MINUTE, day - 10 * MINUTE, day + 70 * MINUTE):
            # The cron job comes at the full minute, a moment before the server.
            for who, moment in ((site, now), (server, now + timedelta(seconds=20))):
                if begin(who, moment):
                    schedule.succeed(who, Duty.BACKUP)
                    done.append(moment)
    assert [(now.day, now.hour) for now in done] == [(10, 3), (11, 3)]


def test_a_schedule_that_is_off_drops_what_is_due(seen: Site) -> None:
    fail(seen, TWO)
    change_settings(seen, {"schedule": "off"})
    assert not begin(seen, TWO + HOUR)
    assert (next_run(seen, TWO + HOUR), schedule.overdue_since(seen, TWO + 9 * DAY)) == (None, None)
    change_settings(seen, {"schedule": None})
    assert not begin(seen, TWO + 2 * HOUR)
    assert begin(seen, TWO + DAY)


@pytest.mark.parametrize(
    ("year_month_day", "offsets"),
    [
        # 2:30 is skipped on the 29th: the clock goes from 2:00 to 3:00.
        ((2026, 3, 27), [1.5, 1.5, 1.0, 0.5, 0.5]),
        # 2:30 comes twice on the 25th: the first one counts.
        ((2026, 10, 23), [0.5, 0.5, 0.5, 1.5, 1.5]),
    ],
)
@pytest.mark.parametrize("minutes", [7, 45])
def test_each_day_has_one_backup_also_when_the_clock_changes(
    site: Site, year_month_day: tuple[int, int, int], offsets: list[float], minutes: int
) -> None:
    change_settings(site, {"schedule": "30 2 * * *", "timezone": BERLIN})
    midnight, step = datetime(*year_month_day, tzinfo=UTC), timedelta(minutes=minutes)
    due = [midnight + number * DAY + offset * HOUR for number, offset in enumerate(offsets)]
    done = []
    begin(site, midnight)
    for expected in due:  # of the rest of the day, some looks are enough
        for now in (*look_every(step, expected - 2 * HOUR, expected + 3 * HOUR), expected + 12 * HOUR):
            if begin(site, now):
                schedule.succeed(site, Duty.BACKUP)
                done.append(now)
    assert len(done) == len(due)
    assert all(expected <= now < expected + step for expected, now in zip(due, done, strict=True))


def test_a_clock_that_was_set_back_stops_no_schedule(seen: Site) -> None:
    succeed(seen, TWO + 365 * DAY)
    assert not begin(seen, TWO + HOUR)
    assert next_run(seen, TWO + HOUR) == TWO + DAY
    assert begin(seen, TWO + DAY)


def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(seen: Site) -> None:
    fail(seen, TWO + 365 * DAY)
    assert not begin(seen, TWO + HOUR)
    assert begin(seen, TWO + HOUR + 15 * MINUTE)


def test_a_backup_is_overdue_an_hour_after_its_time(seen: Site) -> None:
    assert schedule.overdue_since(seen, TWO + HOUR) is None
    assert schedule.overdue_since(seen, TWO + HOUR + 2 * MINUTE) == TWO
    fail(seen, TWO)
    assert schedule.overdue_since(seen, TWO + HOUR + 2 * MINUTE) == TWO
    # A new due time does not make it less overdue.
    fail(seen, TWO + DAY)
    assert schedule.overdue_since(seen, TWO + DAY + MINUTE) == TWO
    succeed(seen, TWO + DAY + 15 * MINUTE)
    assert schedule.overdue_since(seen, TWO + DAY + 20 * HOUR) is None


def test_a_site_that_nobody_has_looked_at_is_not_overdue(site: Site) -> None:
    assert schedule.overdue_since(site, TWO + 9 * DAY) is None


def test_a_backup_by_hand_counts_until_the_next_due_time(seen: Site) -> None:
    fail(seen, TWO)
    add_run(seen, TWO + 2 * HOUR)
    assert schedule.overdue_since(seen, TWO + 23 * HOUR) is None
    assert schedule.overdue_since(seen, TWO + DAY + 2 * HOUR) == TWO + DAY


def test_a_backup_that_is_being_made_is_not_overdue_unless_it_is_stuck(seen: Site) -> None:
    assert begin(seen, TWO)
    with job_at_work(seen, TWO):
        assert schedule.overdue_since(seen, TWO + 5 * HOUR) is None
        assert schedule.overdue_since(seen, TWO + 25 * HOUR) == TWO
    assert schedule.overdue_since(seen, TWO + 5 * HOUR) == TWO


def test_the_next_runs_are_shown_as_clocks_in_the_time_zone_show_them(site: Site) -> None:
    change_settings(site, {"schedule": "30 2 * * *", "timezone": BERLIN})
    shown = schedule.next_runs(site, 3, datetime(2026, 3, 27, 12, tzinfo=UTC))
    assert [time.isoformat() for time in shown] == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


@pytest.mark.parametrize(
    "mark",
    [
        "x",
        {},
        {"schedule": "0 2 * * *", "timezone": "Mars/Base", "until": "2026-01-01T00:00:00Z"},
        {"schedule": "0 2 * * *", "timezone": "UTC", "until": "yesterday"},
    ],
)
def test_a_mark_that_makes_no_sense_is_begun_anew(site: Site, mark: object) -> None:
    history.write_mark(site, "schedule:backup", mark)
    assert not begin(site, TWO - HOUR)
    assert begin(site, TWO)


def test_an_attempt_that_cannot_be_remembered_is_not_begun(seen: Site) -> None:
    """Otherwise there would be one backup after the other."""
    with closing(sqlite3.connect(history_path(seen))) as database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON marks BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    with pytest.raises(BackupError, match="could not be noted"):
        begin(seen, TWO)
