"""What people are told, and how often: on a real site, over days and months of an injected clock."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
import time_machine

from fastcms.backups import jobs, service, upkeep
from fastcms.backups.alarms import find_alarms, raise_alarms
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.engine.pending import Kind, RestoreReceipt, add_receipt
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.folder import data_paths
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobKind, JobState
from fastcms.backups.jobs import Task
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.storage import measure_storage
from fastcms.backups.upkeep import keeping_up, run_due
from fastcms.config import Settings
from fastcms.database import format_utc, utc_now
from fastcms.errors import BackupError
from fastcms.locks import FileLock
from fastcms.logs import configure_logs
from fastcms.site import Site, new_site
from fastcms.startup import serve_site, use_site
from tests.conftest import AS_ROOT, wait_until
from tests.e2e.conftest import clean_environment
from tests.far_side import FarSide, listening, refusing_host
from tests.runs import add_run

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def far_side() -> Iterator[FarSide]:
    with listening() as far_side:
        yield far_side


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a site with one backup."""
    site = new_site(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("template") / "data"))
    with serve_site(site):
        service.create_backup(site)
    return site.settings.data_dir


@pytest.fixture
def site(settings: Settings, template: Path, far_side: FarSide) -> Site:
    """A site with one backup, whose alarms go to the far side."""
    configure_logs(settings)
    shutil.copytree(template, settings.data_dir)
    site = new_site(settings)
    change_settings(site, {"notify_urls": [f"json://{far_side.host}"], "schedule": "off"})
    return site


@pytest.fixture
def watched(site: Site, far_side: FarSide) -> Site:
    """The same after a first look."""
    raise_alarms(site)
    assert far_side.received == []
    return site


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        yield clock


def note_backup(site: Site, state: JobState, filename: str | None = None) -> None:
    """What a backup leaves in the history, now."""
    add_run(
        site,
        utc_now(),
        state,
        backup_filename=filename,
        finished=utc_now() + timedelta(seconds=4),
        size_bytes=newest(site).stat().st_size if filename else None,
    )


def newest(site: Site) -> Path:
    return max(site.settings.backups_dir.glob("backup_*.zip"))


def fail(site: Site) -> None:
    note_backup(site, JobState.FAILED)


def succeed(site: Site) -> None:
    path = site.settings.backups_dir / f"backup_{utc_now():%Y%m%d_%H%M%S}.zip"
    path.write_bytes(newest(site).read_bytes())
    note_backup(site, JobState.SUCCEEDED, path.name)


def restore(site: Site, outcome: RestoreState, restore_id: str) -> None:
    now = format_utc(utc_now())
    reason = "The database is damaged." if outcome is RestoreState.ROLLED_BACK else ""
    add_receipt(
        data_paths(site),
        RestoreReceipt(
            restore_id, "backup_20250115_100000.zip", "ann", now, now, outcome, reason, Kind.BACKUP
        ),
    )


def test_the_first_look_tells_what_needs_attention_and_nothing_of_the_past(
    site: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    change_settings(site, {"notify_success": True})
    restore(site, RestoreState.RESTORED, "1")
    clock.shift(HOUR)
    succeed(site)
    clock.shift(HOUR)
    fail(site)
    raise_alarms(site)
    assert far_side.titles == ["Backups need attention"]
    assert "The disk is full." in far_side.messages[0]["message"]


def test_an_alarm_is_told_at_once_then_daily_and_when_it_is_over(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    fail(watched)
    for _ in range(30):
        raise_alarms(watched)
        clock.shift(HOUR)
    fail(watched)
    assert far_side.titles == ["Backups need attention", "Backups still need attention"]
    first, second = far_side.messages
    assert "What to do: Make space." in first["message"]
    assert "It has been so since" in second["message"]
    clock.shift(HOUR)
    succeed(watched)
    raise_alarms(watched)
    raise_alarms(watched)
    assert far_side.titles[2:] == ["Backups need no attention any more"]
    assert "The disk is full." in far_side.messages[2]["message"]


def test_a_month_of_failures_is_one_message_a_day(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    for _ in range(30):
        fail(watched)
        for _ in range(4):
            raise_alarms(watched)
            clock.shift(6 * HOUR)
    raise_alarms(watched)
    # From the ninth day on, the newest backup is old, too.
    old = next(n for n, message in enumerate(far_side.messages) if "days old" in message["message"])
    assert far_side.titles[:old] == ["Backups need attention", *["Backups still need attention"] * (old - 1)]
    assert len(far_side.received) <= 2 * 31
    assert "It has failed 30 times" in far_side.messages[-1]["message"]
    before = len(far_side.received)
    succeed(watched)
    raise_alarms(watched)
    assert far_side.titles[before:] == ["Backups need no attention any more"]
    assert far_side.messages[-1]["message"].count("This is over") == 2


def test_several_things_at_once_are_one_message(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    change_settings(watched, {"notify_success": True})
    clock.shift(HOUR)
    succeed(watched)
    restore(watched, RestoreState.RESTORED, "1")
    restore(watched, RestoreState.ROLLED_BACK, "2")
    clock.shift(HOUR)
    fail(watched)
    raise_alarms(watched)
    raise_alarms(watched)
    assert far_side.titles == ["Backups need attention"]
    body = far_side.messages[0]["message"]
    for part in ("The disk is full.", "is done since", "The database is damaged.", "was made on"):
        assert part in body


def test_a_restore_is_told_whether_it_was_done_or_rolled_back(watched: Site, far_side: FarSide) -> None:
    restore(watched, RestoreState.RESTORED, "1")
    raise_alarms(watched)
    restore(watched, RestoreState.ROLLED_BACK, "2")
    raise_alarms(watched)
    raise_alarms(watched)
    assert far_side.titles == ["The site was restored", "A restore failed"]


def test_receipts_that_somebody_has_removed_bring_no_old_news(watched: Site, far_side: FarSide) -> None:
    restore(watched, RestoreState.RESTORED, "1")
    raise_alarms(watched)
    data_paths(watched).receipts.unlink()
    restore(watched, RestoreState.RESTORED, "2")
    raise_alarms(watched)
    restore(watched, RestoreState.RESTORED, "3")
    raise_alarms(watched)
    assert far_side.titles == ["The site was restored"] * 2


def test_a_success_is_told_if_that_is_wanted(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    succeed(watched)
    raise_alarms(watched)
    assert far_side.titles == []
    change_settings(watched, {"notify_success": True})
    raise_alarms(watched)
    assert far_side.titles == []
    clock.shift(HOUR)
    succeed(watched)
    raise_alarms(watched)
    raise_alarms(watched)
    assert far_side.titles == ["A backup was made"]
    assert "in 4 seconds" in far_side.messages[0]["message"]


def test_what_reached_nobody_is_tried_again_ever_more_seldom_and_not_forgotten(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    far_side.status = 500
    clock.shift(HOUR)
    fail(watched)
    restore(watched, RestoreState.RESTORED, "1")
    raise_alarms(watched)
    for tries, minutes in enumerate([1, 2, 4, 8, 16, 32, 60, 60], 1):
        clock.shift(timedelta(minutes=minutes, seconds=-1))
        raise_alarms(watched)
        assert len(far_side.received) == tries
        clock.shift(timedelta(seconds=1))
        raise_alarms(watched)
        assert len(far_side.received) == tries + 1
    far_side.received.clear()
    far_side.status = 200
    clock.shift(HOUR)
    raise_alarms(watched)
    raise_alarms(watched)
    assert far_side.titles == ["Backups need attention"]
    assert "is done since" in far_side.messages[0]["message"]


def test_an_alarm_that_is_over_before_anybody_was_reached_is_not_told(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    far_side.status = 500
    clock.shift(HOUR)
    fail(watched)
    raise_alarms(watched)
    clock.shift(HOUR)
    succeed(watched)
    raise_alarms(watched)
    assert len(far_side.received) == 1


def test_somebody_reached_is_enough_and_the_others_are_a_warning(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    urls = [f"json://{refusing_host()}", f"json://{far_side.host}"]
    change_settings(watched, {"notify_urls": urls})
    clock.shift(HOUR)
    fail(watched)
    for _ in range(10):
        raise_alarms(watched)
        clock.shift(HOUR)
    assert far_side.titles == ["Backups need attention"]


def test_whoever_is_named_later_hears_of_what_lasts(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    change_settings(watched, {"notify_urls": []})
    clock.shift(HOUR)
    fail(watched)
    restore(watched, RestoreState.RESTORED, "1")
    raise_alarms(watched)
    [alarm] = find_alarms(watched)
    assert (alarm.code, alarm.since, alarm.told) == ("backup_failed", utc_now(), None)
    change_settings(watched, {"notify_urls": None})
    clock.shift(HOUR)
    change_settings(watched, {"notify_urls": [f"json://{far_side.host}"]})
    raise_alarms(watched)
    assert far_side.titles == ["Backups need attention"]
    assert "is done since" not in far_side.messages[0]["message"]
    [alarm] = find_alarms(watched)
    assert (alarm.since, alarm.told) == (utc_now() - HOUR, utc_now())


def test_what_comes_and_goes_is_told_once_an_hour(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    for _ in range(12):  # over two hours
        for change in (fail, succeed):
            change(watched)
            raise_alarms(watched)
            clock.shift(timedelta(minutes=5))
    assert len(far_side.received) <= 6
    fail(watched)
    raise_alarms(watched)
    clock.shift(HOUR)
    raise_alarms(watched)
    assert far_side.titles[-1] == "Backups need attention"


def test_a_clock_that_was_wrong_silences_nothing(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    fail(watched)
    raise_alarms(watched)
    clock.shift(-DAY)
    raise_alarms(watched)
    raise_alarms(watched)
    assert len(far_side.received) == 2


def test_a_disk_that_gets_fuller_is_told_without_good_news_in_between(
    watched: Site, far_side: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, needed_bytes = os.statvfs, measure_storage(watched).next_backup_bytes

    def with_free(free_bytes: int) -> Callable[[str], os.statvfs_result]:
        def statvfs(path: str) -> os.statvfs_result:
            values = list(real(path))
            values[4] = free_bytes // values[1]  # f_bavail, f_frsize
            return os.statvfs_result(values)

        return statvfs

    for free_bytes in (needed_bytes * 3 // 2, 1_000_000, needed_bytes * 3 // 2, needed_bytes * 100):
        monkeypatch.setattr(os, "statvfs", with_free(free_bytes))
        raise_alarms(watched)
    assert far_side.titles == [
        "Backups need attention",
        "Backups need attention",
        "A problem with backups is over",
        "Backups need no attention any more",
    ]


def test_a_history_that_cannot_be_written_makes_no_storm_of_messages(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    newest(watched).write_bytes(b"damaged")
    history_path(watched).unlink()
    history_path(watched).mkdir()
    for _ in range(5):
        raise_alarms(watched)
        clock.shift(timedelta(seconds=20))
    assert far_side.titles == ["Backups need attention"]


def test_looking_when_nothing_is_new_writes_nothing(watched: Site, clock: time_machine.Traveller) -> None:
    clock.shift(HOUR)
    fail(watched)
    raise_alarms(watched)
    before = history_path(watched).stat().st_mtime_ns
    for _ in range(10):
        raise_alarms(watched)
        clock.shift(timedelta(seconds=20))
    assert history_path(watched).stat().st_mtime_ns == before


def test_a_round_of_what_is_due_raises_alarms(site: Site, far_side: FarSide) -> None:
    newest(site).write_bytes(b"damaged")
    with use_site(site, "a test"):
        run_due(site)
    assert far_side.titles == ["Backups need attention"]


def test_alarms_are_raised_while_a_backup_takes_long(
    site: Site, far_side: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_TICK_SECONDS", 0.05)
    newest(site).write_bytes(b"damaged")
    lock = FileLock(data_paths(site).backups_dir / ".upkeep_lock")
    with use_site(site, "a test"), lock.hold(), keeping_up(site):
        wait_until(lambda: far_side.titles)
    assert far_side.titles == ["Backups need attention"]


def test_a_disk_that_has_become_read_only_is_told_once(
    watched: Site, far_side: FarSide, small_disk: Path
) -> None:
    backups_dir = data_paths(watched).backups_dir
    shutil.copytree(backups_dir, small_disk, dirs_exist_ok=True)
    shutil.rmtree(backups_dir)
    backups_dir.symlink_to(small_disk)
    subprocess.run([*AS_ROOT, "mount", "-o", "remount,ro", small_disk], check=True)
    for _ in range(3):
        raise_alarms(watched)
    assert far_side.titles == ["Backups need attention"]
    assert "is read-only: nothing can be saved" in far_side.messages[0]["message"]


def test_a_backup_that_fails_is_told_when_the_history_cannot_be_read(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    with use_site(watched, "a test"), pytest.raises(BackupError):
        jobs.run(watched, Task(JobKind.CREATE, "me", break_down, lambda body: body))
    history_path(watched).unlink()
    history_path(watched).mkdir()
    raise_alarms(watched)
    assert "The disk is broken." in far_side.messages[0]["message"]


def break_down(on_progress: OnProgress) -> NoReturn:
    on_progress(Progress("breaking down", 1, 1))
    raise BackupError("The disk is broken.")


def test_a_server_that_stops_raises_no_alarm(
    watched: Site, far_side: FarSide, clock: time_machine.Traveller
) -> None:
    clock.shift(HOUR)
    fail(watched)
    watched.stopping.set()
    raise_alarms(watched)
    assert far_side.received == []


def test_the_command_lists_what_needs_attention(watched: Site) -> None:
    newest(watched).write_bytes(b"damaged")
    shown = subprocess.run(
        ["fastcms", "backup", "alarms"],
        check=True,
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(watched.settings.data_dir), "COLUMNS": "200"},
        cwd=watched.settings.data_dir.parent,
        capture_output=True,
        text=True,
    )
    assert "The newest backup is damaged" in shown.stdout
