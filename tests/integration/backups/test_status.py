"""Whether the site is safe, and how much space it has, on real sites in all kinds of states."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
import time_machine

from fastcms.backups import history, jobs, notifications, restoring, service, storage, tasks
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.delivery import Message, MessageLevel
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobKind, jobs_dir, replace_job
from fastcms.backups.jobs import Task
from fastcms.backups.origin import Newcomers, Origin, write_origin
from fastcms.backups.schemas import Backup, describe_created
from fastcms.backups.status import SafetyState, Status, describe_status
from fastcms.backups.storage import StorageLevel, measure_storage
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import BackupError
from fastcms.media.service import add_file
from fastcms.site import Site, make_folders, new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import serve_site
from tests.e2e.conftest import free_port
from tests.integration.doctor.conftest import state_of
from tests.runs import job_of

DAY = timedelta(days=1)


@pytest.fixture
def served(settings: Settings) -> Site:
    """A site that was served once, and has nothing in it."""
    serve(settings)
    return new_site(settings)


@pytest.fixture
def backed_up(served: Site) -> Site:
    create(served)
    return served


def serve(settings: Settings) -> None:
    with serve_site(new_site(settings)):
        pass


def create(site: Site) -> Backup:
    return jobs.run(site, tasks.creation(site, "me"))


def fail(site: Site) -> None:
    def work(on_progress: OnProgress) -> Backup:
        on_progress(Progress("failing", 0, 0))
        raise BackupError("The disk is full.", hint="Make space.")

    with pytest.raises(BackupError):
        jobs.run(site, Task(JobKind.CREATE, "me", work, describe_created))


def archive(site: Site) -> Path:
    return Path(service.list_backups(site)[0].path)


def codes(status: Status) -> set[str]:
    return {reason.code for reason in status.reasons}


def seen(site: Site) -> tuple[SafetyState, set[str]]:
    status = describe_status(site)
    return status.state, codes(status)


def test_a_new_site_waits_for_its_first_backup_and_is_safe_with_it(served: Site) -> None:
    status = describe_status(served)
    assert (status.sentence, status.is_safe) == ("Waiting for the first backup", False)
    assert (status.last_success, status.last_failure, status.verified) == (None, None, None)
    backup = create(served)
    status = describe_status(served)
    assert (status.sentence, status.is_safe, status.reasons) == ("Everything is backed up", True, [])
    assert status.last_success is not None
    assert (status.last_success.filename, status.last_success.size_bytes) == (
        backup.filename,
        backup.size_bytes,
    )
    assert status.next_run is not None
    assert status.next_run - utc_now() <= DAY


@pytest.mark.parametrize("is_first", [True, False])
def test_while_a_backup_is_made_the_site_is_as_safe_as_before(served: Site, is_first: bool) -> None:
    if not is_first:
        create(served)
    during: list[Status] = []

    def work(on_progress: OnProgress) -> Backup:
        on_progress(Progress("copying", 0, 0))
        during.append(describe_status(served))
        return service.create_backup(served)

    jobs.run(served, Task(JobKind.CREATE, "me", work, describe_created))
    (status,) = during
    assert (status.sentence, status.is_safe) == ("Backing up now", not is_first)


def test_a_backup_that_failed_needs_attention_until_one_succeeds(backed_up: Site) -> None:
    fail(backed_up)
    status = describe_status(backed_up)
    assert (status.state, status.is_safe, codes(status)) == ("attention", False, {"backup_failed"})
    assert "The disk is full." in status.reasons[0].message
    create(backed_up)
    status = describe_status(backed_up)
    assert (status.state, codes(status)) == ("ok", set())
    assert status.last_failure is not None
    assert (status.last_failure.reason, status.last_failure.is_current) == ("The disk is full.", False)


def test_what_a_wrong_clock_has_put_into_the_future_hides_no_failure_and_is_none(backed_up: Site) -> None:
    with time_machine.travel(utc_now() + timedelta(days=2)):
        create(backed_up)
    fail(backed_up)
    assert "backup_failed" in codes(describe_status(backed_up))
    with time_machine.travel(utc_now() + timedelta(days=3)):
        fail(backed_up)
    create(backed_up)
    assert codes(describe_status(backed_up)) == {"backup_from_the_future"}


def test_a_first_backup_that_failed_needs_attention(served: Site) -> None:
    fail(served)
    assert seen(served) == ("attention", {"backup_failed"})


def test_a_backup_whose_process_was_killed_needs_attention_unless_it_was_complete(backed_up: Site) -> None:
    started = utc_now() + timedelta(seconds=2)
    replace_job(jobs_dir(backed_up), job_of(started))
    status = describe_status(backed_up)
    assert codes(status) == {"backup_failed"}
    assert status.last_failure is not None
    assert status.last_failure.code == "job_abandoned"
    first = archive(backed_up)
    shutil.copy(first, first.with_name(f"backup_{started:%Y%m%d_%H%M%S}.zip"))
    assert seen(backed_up) == ("ok", set())


def test_a_backup_of_another_machine_does_not_count(backed_up: Site, tmp_path: Path) -> None:
    origin = Origin("me", "2026-01-01T00:00:00+00:00", "", Newcomers([], []))
    write_origin(archive(backed_up), origin, tmp_path)
    assert seen(backed_up) == ("attention", {"backups_gone"})


def test_a_backup_that_the_history_does_not_know_counts(backed_up: Site) -> None:
    history_path(backed_up).unlink()
    fail(backed_up)
    assert seen(backed_up) == ("attention", {"backup_failed"})
    later = utc_now() + timedelta(seconds=2)
    shutil.copy(archive(backed_up), archive(backed_up).with_name(f"backup_{later:%Y%m%d_%H%M%S}.zip"))
    assert seen(backed_up) == ("ok", set())


@pytest.mark.parametrize("is_known", [True, False])
def test_a_newest_backup_that_was_cut_off_needs_attention(backed_up: Site, is_known: bool) -> None:
    if not is_known:
        history_path(backed_up).unlink()
    os.truncate(archive(backed_up), 1000)
    assert seen(backed_up) == ("attention", {"newest_backup_damaged"})


@pytest.mark.parametrize("is_known", [True, False])
def test_what_the_newest_backup_lacks_is_said(backed_up: Site, is_known: bool) -> None:
    (backed_up.settings.files_dir / "tab\t").write_text("no name for a backup")
    problems = create(backed_up).problems
    if not is_known:
        history_path(backed_up).unlink()
    status = describe_status(backed_up)
    assert (status.state, status.is_safe, codes(status)) == ("warnings", True, {"newest_backup_incomplete"})
    assert status.last_success is not None
    assert tuple(status.last_success.problems) == problems


def test_a_backup_that_no_restore_would_take_needs_attention(backed_up: Site) -> None:
    with closing(sqlite3.connect(backed_up.settings.database_path)) as database:
        database.execute("CREATE TABLE mine (id)")
    create(backed_up)
    assert seen(backed_up) == ("attention", {"newest_backup_refused"})


def test_a_damaged_history_is_a_warning_until_it_is_removed(backed_up: Site) -> None:
    history_path(backed_up).write_bytes(b"no database" * 1000)
    assert seen(backed_up) == ("warnings", {"history_begun_anew"})
    create(backed_up)
    assert seen(backed_up) == ("warnings", {"history_begun_anew"})
    (kept,) = backed_up.settings.backups_dir.glob("history.db.damaged-*")
    kept.unlink()
    assert seen(backed_up) == ("ok", set())


def test_what_cannot_be_looked_at_is_said_and_hides_nothing_else(backed_up: Site) -> None:
    history_path(backed_up).unlink()
    history_path(backed_up).mkdir()
    (backed_up.settings.backups_dir / "settings.json").write_text("no settings")
    status = describe_status(backed_up)
    assert (status.state, codes(status)) == ("attention", {"cannot_look", "settings_unreadable"})
    assert status.last_success is not None
    assert status.storage is not None


def test_backups_that_cannot_be_listed_need_attention(backed_up: Site) -> None:
    shutil.rmtree(backed_up.settings.backups_dir)
    backed_up.settings.backups_dir.write_text("no folder")
    status = describe_status(backed_up)
    assert (status.state, status.is_safe) == ("attention", False)


def test_a_restore_that_was_rolled_back_is_noted(backed_up: Site) -> None:
    restoring.stage_restore(backed_up, archive(backed_up).name, "me")
    backed_up.database.close()
    os.utime(backed_up.settings.backups_dir / "restore_staging/database.db", (0, 0))
    serve(backed_up.settings)
    assert seen(backed_up) == ("warnings", {"restore_failed_lately"})


def test_a_notification_that_did_not_arrive_is_noted(backed_up: Site) -> None:
    change_settings(backed_up, {"notify_urls": [f"json://127.0.0.1:{free_port()}"]})
    notifications.send(backed_up, Message("title", "body", MessageLevel.FAILURE))
    assert seen(backed_up) == ("warnings", {"notification_failed"})
    change_settings(backed_up, {"notify_urls": []})
    assert seen(backed_up) == ("ok", set())


def test_looking_changes_nothing(served: Site) -> None:
    before = state_of(served.settings.data_dir)
    describe_status(new_site(served.settings))
    assert state_of(served.settings.data_dir) == before


def add(site: Site, content: bytes) -> None:
    add_file(site, BytesIO(content), "a.bin")


def test_the_space_of_a_site_is_what_its_parts_take(served: Site) -> None:
    assert measure_storage(served).files_bytes == 0
    add(served, b"x" * 70_000)
    found = measure_storage(served)
    assert (found.files_bytes, found.backups) == (70_000, 0)
    backup = create(served)
    add(served, b"x" * 30_000)
    found = measure_storage(served)
    assert (found.level, found.files_bytes) == (StorageLevel.OK, 100_000)
    assert (found.backups, found.backups_bytes) == (1, backup.size_bytes)
    assert found.next_backup_bytes > 100_000 + 2 * served.settings.database_path.stat().st_size
    assert found.other_disks == []


def measured_apart(site: Site) -> str:
    """The bytes of the files, as a process sees them that does not serve the site."""
    program = (
        "import sys; from pathlib import Path; from fastcms.backups.storage import measure_storage\n"
        "from fastcms.config import Settings; from fastcms.site import new_site\n"
        "settings = Settings(_env_file=None, data_dir=Path(sys.argv[1]))\n"
        "print(measure_storage(new_site(settings)).files_bytes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, site.settings.data_dir], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def damage(site: Site) -> None:
    site.settings.database_path.write_text("no database" * 1000)


def remove(site: Site) -> None:
    site.settings.database_path.unlink()


def test_the_files_are_measured_beside_a_server_and_after_it_was_killed(served: Site, tmp_path: Path) -> None:
    with serve_site(served):
        add(served, b"x" * 70_000)
        killed = new_site(Settings(_env_file=None, data_dir=tmp_path / "killed"))
        shutil.copytree(served.settings.data_dir, killed.settings.data_dir)
        assert measured_apart(served) == "70000"
    for site in (new_site(served.settings), killed):
        before = state_of(site.settings.data_dir)
        assert measure_storage(site).files_bytes == 70_000
        assert state_of(site.settings.data_dir) == before


@pytest.mark.parametrize("spoil", [damage, remove])
def test_without_a_database_the_newest_backup_says_what_is_needed(
    backed_up: Site, spoil: Callable[[Site], None]
) -> None:
    backed_up.database.close()
    spoil(backed_up)
    before = state_of(backed_up.settings.data_dir)
    found = measure_storage(backed_up)
    assert found.files_bytes is None
    assert found.next_backup_bytes >= archive(backed_up).stat().st_size
    assert state_of(backed_up.settings.data_dir) == before


def test_how_full_the_disk_is_is_remembered_at_each_backup(backed_up: Site) -> None:
    (used_bytes, total_bytes) = storage.read_observed(backed_up)[utc_now().date().isoformat()]
    assert 0 < used_bytes < total_bytes


def test_a_forecast_is_made_of_what_is_remembered(backed_up: Site) -> None:
    disk = measure_storage(backed_up).disk
    used_bytes = disk.total_bytes - disk.free_bytes
    today = utc_now().date()
    by_day = disk.free_bytes // 10
    remembered = {
        (today - day * DAY).isoformat(): [used_bytes - day * by_day, disk.total_bytes] for day in range(20)
    }
    history.write_mark(backed_up, "disk_used", remembered)
    found = measure_storage(backed_up)
    assert (found.growth_bytes_per_day, found.level) == (by_day, StorageLevel.WARNING)
    assert found.full_on is not None
    assert abs(found.full_on - today - 10 * DAY) <= DAY
    assert seen(backed_up) == ("warnings", {"space_low"})


def test_a_disk_on_which_the_next_backup_does_not_fit_needs_attention(
    backed_up: Site, small_disk: Path
) -> None:
    on_other_disk = Settings(_env_file=None, data_dir=backed_up.settings.data_dir)
    shutil.copytree(backed_up.settings.backups_dir, small_disk, dirs_exist_ok=True)
    shutil.rmtree(backed_up.settings.backups_dir)
    backed_up.settings.backups_dir.symlink_to(small_disk)
    site = new_site(on_other_disk)
    found = measure_storage(site)
    assert (found.level, len(found.other_disks)) == (StorageLevel.CRITICAL, 1)
    assert "The next backup needs" in str(found.reason)
    assert seen(site) == ("attention", {"space_critical"})


def test_a_site_without_folders_can_be_measured(settings: Settings) -> None:
    assert measure_storage(new_site(settings)).backups == 0
    assert not settings.data_dir.exists()
    make_folders(settings.data_dir)
    assert describe_status(new_site(settings)).state == "waiting"


def test_backups_whose_disk_is_not_there_any_more_are_missed_though_the_history_went_with_it(
    backed_up: Site,
) -> None:
    backed_up.settings.backups_dir.rename(backed_up.settings.data_dir / "unmounted")
    backed_up.settings.backups_dir.mkdir()
    assert seen(backed_up) == ("attention", {"backups_gone"})
