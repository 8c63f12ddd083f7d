"""The history of backups: it survives what it has to, and never stops anybody."""

from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from fastcms.backups import backup_notes, history, jobs, service, tasks
from fastcms.backups.history import Run, RunKind
from fastcms.backups.history_file import damaged_history, history_path, mend_history
from fastcms.backups.job_files import JobState, Trigger
from fastcms.durability import remove
from fastcms.errors import BackupError
from fastcms.site import Site
from fastcms.sqlite import sqlite3

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def run(number: int, **changed: object) -> Run:
    started = NOON + timedelta(minutes=number)
    values: dict[str, object] = {
        "id": f"{started:%Y%m%d_%H%M%S_%f}",
        "kind": RunKind.PRUNE,
        "trigger": Trigger.SCHEDULED,
        "state": JobState.SUCCEEDED,
        "requested_by": "schedule",
        "started": started,
        "finished": started,
    }
    return Run.model_validate(values | changed)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def damage_page(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def test_every_job_that_ends_is_kept(site: Site) -> None:
    backup = jobs.run(site, tasks.creation(site, "me"))
    (succeeded,) = history.list_runs(site)
    assert (succeeded.kind, succeeded.state, succeeded.trigger) == ("create", "succeeded", "manual")
    assert (succeeded.backup_filename, succeeded.size_bytes) == (backup.filename, backup.size_bytes)


def test_runs_are_listed_newest_first_by_kind_state_and_time(site: Site) -> None:
    for number in range(5):
        history.add_run(site, run(number, state=JobState.FAILED if number % 2 else JobState.SUCCEEDED))
    history.add_run(site, run(9, kind=RunKind.DELETE, details={"why": "by hand"}))
    assert [found.started.minute for found in history.list_runs(site)] == [9, 4, 3, 2, 1, 0]
    assert [
        found.started.minute for found in history.list_runs(site, kind=RunKind.PRUNE, offset=1, limit=2)
    ] == [3, 2]
    assert history.count_runs(site, state=JobState.FAILED) == 2
    assert history.count_runs(site, since=NOON + timedelta(minutes=4)) == 2
    with time_machine.travel(NOON + timedelta(minutes=3, seconds=30)):
        assert history.latest_run(site, RunKind.PRUNE) == run(3, state=JobState.FAILED)
        assert history.latest_run(site, RunKind.DELETE) is None
    with time_machine.travel(NOON + timedelta(minutes=9)):
        latest = history.latest_run(site, RunKind.DELETE)
    assert latest == run(9, kind=RunKind.DELETE, details={"why": "by hand"})
    assert history.latest_run(site, RunKind.VERIFY) is None


def test_a_run_is_kept_once(site: Site) -> None:
    history.add_run(site, run(1))
    history.add_run(site, run(1, state=JobState.FAILED))
    assert [found.state for found in history.list_runs(site)] == ["succeeded"]


def test_notes_and_marks_keep_the_latest(site: Site) -> None:
    backup_notes.note(site, "a.zip", trigger=Trigger.SCHEDULED, seconds=1.5)
    backup_notes.note(site, "a.zip", pinned="2026-11-23", pinned_by="me")
    assert backup_notes.read_notes(site)["a.zip"] == backup_notes.Notes(
        "a.zip", trigger="scheduled", seconds=1.5, pinned="2026-11-23", pinned_by="me"
    )
    backup_notes.forget_notes(site, "a.zip")
    assert backup_notes.read_notes(site) == {}
    assert history.read_mark(site, "x") is None
    history.write_mark(site, "x", {"since": 1})
    history.write_mark(site, "x", {"since": 2})
    assert history.read_mark(site, "x") == {"since": 2}


def test_a_backup_is_made_and_listed_without_a_history(site: Site) -> None:
    path = history_path(site)
    path.unlink(missing_ok=True)
    path.mkdir()
    backup = jobs.run(site, tasks.creation(site, "me"))
    assert [found.filename for found in service.list_backups(site)] == [backup.filename]
    with pytest.raises(BackupError, match=r"history\.db|history of backups"):
        history.list_runs(site)


def test_a_damaged_history_is_set_aside_and_begun_anew(site: Site) -> None:
    history.add_run(site, run(1))
    path = history_path(site)
    path.write_bytes(b"not a database at all" * 1000)
    assert history.list_runs(site) == []
    history.add_run(site, run(2))
    assert len(history.list_runs(site)) == 1
    (kept,) = path.parent.glob("history.db.damaged-*")
    assert kept.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("table", ["runs", "notes", "marks"])
def test_one_damaged_page_is_noticed_and_the_history_begun_anew(site: Site, table: str) -> None:
    history.add_run(site, run(1))
    backup_notes.note(site, "a.zip", seconds=1)
    path = history_path(site)
    damage_page(path, table)
    assert damaged_history(site) == path
    mend_history(site)
    (kept,) = path.parent.glob("history.db.damaged-*")
    assert damaged_history(site) == kept
    history.add_run(site, run(2))
    assert (len(history.list_runs(site)), backup_notes.read_notes(site)) == (1, {})


def test_what_does_not_fit_a_damaged_page_is_noted_in_a_new_history(site: Site) -> None:
    history.write_mark(site, "x", 1)
    damage_page(history_path(site), "marks")
    history.write_mark(site, "x", 2)
    assert history.read_mark(site, "x") == 2


def test_a_sound_history_is_not_begun_anew(site: Site) -> None:
    history.add_run(site, run(1))
    mend_history(site)
    assert len(history.list_runs(site)) == 1


def test_only_its_owner_may_read_it(site: Site) -> None:
    history.add_run(site, run(1))
    for path in history_path(site).parent.glob("history.db*"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_full_disk_has_made_fail_can_still_be_noted(site: Site, small_disk: Path) -> None:
    remove(site.settings.backups_dir)
    site.settings.backups_dir.symlink_to(small_disk)
    history.add_run(site, run(0))
    fill(small_disk / "filler")
    for number in range(1, 20):
        history.add_run(site, run(number, state=JobState.FAILED))
    assert history.count_runs(site) == 20


def test_on_a_full_disk_the_journal_needs_no_more_space_however_the_history_has_grown(
    site: Site, small_disk: Path
) -> None:
    remove(site.settings.backups_dir)
    site.settings.backups_dir.symlink_to(small_disk)
    for number in range(0, 400, 10):
        backup_notes.note(site, f"backup_{number}", report="x" * (number * 37 % 3000))
        fill(small_disk / "filler")
        for failed in range(number, number + 10):
            history.add_run(site, run(failed, state=JobState.FAILED))
        assert history.count_runs(site) == number + 10
        (small_disk / "filler").unlink()


def test_a_mark_that_somebody_has_spoilt_counts_for_nothing(site: Site) -> None:
    history.write_mark(site, "x", 1)
    with closing(sqlite3.connect(history_path(site), isolation_level=None)) as connection:
        connection.execute("UPDATE marks SET value = '{' WHERE name = 'x'")
    assert history.read_mark(site, "x") is None
