"""Backups that are removed by the policy or by hand, and those that must not be, on real folders."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastcms.backups import (
    backup_notes,
    deletion,
    history,
    jobs,
    pinning,
    pruning,
    receiving,
    restoring,
    service,
    tasks,
)
from fastcms.backups.backup_notes import VerificationLevel, VerificationOutcome
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.engine.progress import Progress
from fastcms.backups.history import RunKind
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import (
    Job,
    JobKind,
    JobState,
    Trigger,
    jobs_dir,
    replace_job,
)
from fastcms.backups.origin import record_path
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import BackupBusyError, BackupError, BackupNotFoundError, ConflictError
from fastcms.site import Site, make_folders, new_site
from tests.conftest import AS_ROOT
from tests.runs import add_run, job_at_work, job_of

NEWEST = "backup_20210101_020000.zip"
OLD = "backup_20200101_020000.zip"
OLDER = "backup_20190101_020000.zip"


def keeps_one(data_dir: Path) -> Site:
    """A site that keeps its newest backup, whatever others there are."""
    settings = Settings(
        _env_file=None,
        data_dir=data_dir,
        backup_keep_last=1,
        backup_keep_daily=0,
        backup_keep_weekly=0,
        backup_keep_monthly=0,
    )
    return new_site(settings)


@pytest.fixture
def site(settings: Settings) -> Site:
    """A folder of three files that pass for backups, as long as nobody opens them."""
    make_folders(settings.data_dir, settings.backups_dir)
    for filename in (NEWEST, OLD, OLDER):
        (settings.backups_dir / filename).write_bytes(b"an archive")
    return keeps_one(settings.data_dir)


@pytest.fixture
def real(stopped: Site) -> Site:
    """A site with three real backups: of today, OLD and OLDER."""
    today = Path(service.list_backups(stopped)[0].path)
    for filename in (OLD, OLDER):
        shutil.copy(today, today.with_name(filename))
    return keeps_one(stopped.settings.data_dir)


def path_of(site: Site, filename: str) -> Path:
    return site.settings.backups_dir / filename


def names(site: Site) -> list[str]:
    return [backup.filename for backup in service.list_backups(site)]


def reasons(site: Site) -> dict[str, list[str]]:
    return {
        decision.filename: [reason.code for reason in decision.reasons] for decision in pruning.plan(site)
    }


def note_verified(site: Site, filename: str, level: VerificationLevel) -> None:
    backup_notes.note(site, filename, verified_outcome=VerificationOutcome.OK, verified_level=level)


def test_what_no_rule_keeps_is_removed_with_its_notes_and_history_says_so(site: Site) -> None:
    size_bytes = path_of(site, OLD).stat().st_size
    backup_notes.note(site, OLD, seconds=1.0)
    assert reasons(site) == {NEWEST: ["newest", "last"], OLD: ["not_kept"], OLDER: ["not_kept"]}
    pruned = pruning.prune(site, "schedule", Trigger.SCHEDULED)
    assert pruned.model_dump() == {"removed": [OLDER, OLD], "removed_bytes": 2 * size_bytes, "failed": {}}
    assert names(site) == [NEWEST]
    assert backup_notes.read_notes(site) == {}
    [run] = history.list_runs(site, kind=RunKind.PRUNE)
    assert (run.state, run.requested_by, run.trigger) == ("succeeded", "schedule", "scheduled")
    assert run.details == {"removed": [OLDER, OLD], "bytes": 2 * size_bytes, "failed": {}}
    assert pruning.prune(site, "schedule").removed == []
    assert history.count_runs(site, kind=RunKind.PRUNE) == 1


def test_pinned_uploaded_staged_and_verified_ones_stay(real: Site) -> None:
    newest, *_ = names(real)
    uploaded, verified = "backup_20180101_020000.zip", "backup_20170101_020000.zip"
    for filename in (uploaded, verified):
        shutil.copy(path_of(real, newest), path_of(real, filename))
    pinning.pin(real, OLDER, "somebody")
    record_path(path_of(real, uploaded)).write_text("{}")
    backup_notes.note(real, verified, verified_outcome=VerificationOutcome.OK)
    restoring.stage_restore(real, OLD, "somebody")
    assert reasons(real) == {
        newest: ["newest", "last"],
        OLD: ["in_use"],
        OLDER: ["pinned"],
        uploaded: ["uploaded"],
        verified: ["newest_verified"],
    }
    assert pruning.prune(real, "somebody").removed == []
    restoring.cancel_restore(real)
    pinning.unpin(real, OLDER)
    assert pruning.prune(real, "somebody").removed == [OLDER, OLD]


def test_what_was_restored_as_a_test_stays_until_a_newer_one_was(site: Site) -> None:
    """Newer ones were only compared with their checksums."""
    note_verified(site, OLDER, VerificationLevel.FULL)
    note_verified(site, NEWEST, VerificationLevel.LIGHT)
    assert pruning.prune(site, "somebody").removed == [OLD]
    note_verified(site, NEWEST, VerificationLevel.FULL)
    assert pruning.prune(site, "somebody").removed == [OLDER]


def test_while_the_newest_backup_is_damaged_nothing_is_removed(site: Site) -> None:
    backup_notes.note(site, NEWEST, verified_outcome=VerificationOutcome.FAILED)
    assert pruning.prune(site, "somebody").removed == []
    assert reasons(site)[OLDER] == ["nothing_goes"]


def test_a_damaged_backup_does_not_push_a_sound_one_out(site: Site) -> None:
    backup_notes.note(site, OLD, verified_outcome=VerificationOutcome.FAILED)
    change_settings(site, {"keep_last": 2})
    assert pruning.prune(site, "somebody").removed == []
    backup_notes.note(site, OLD, verified_outcome=VerificationOutcome.OK)
    assert pruning.prune(site, "somebody").removed == [OLDER]


def test_after_a_failed_backup_nothing_is_removed_until_one_succeeds(site: Site) -> None:
    add_run(site, utc_now(), JobState.FAILED)
    add_run(site, utc_now(), JobState.CANCELLED)
    assert all("nothing_goes" in found for found in reasons(site).values())
    assert pruning.prune(site, "somebody").removed == []
    [message] = {reason.message for d in pruning.plan(site) for reason in d.reasons if d.filename == OLD}
    assert message == "the latest backup failed: nothing is removed until one succeeds"
    add_run(site, utc_now(), JobState.SUCCEEDED)
    assert len(pruning.prune(site, "somebody").removed) == 2


def test_a_backup_that_was_killed_has_failed(site: Site) -> None:
    """Nobody has put it into history yet."""
    add_run(site, utc_now(), JobState.SUCCEEDED)
    make_folders(jobs_dir(site))
    replace_job(jobs_dir(site), job_of(utc_now()))
    assert pruning.prune(site, "somebody").removed == []


def lose_history(site: Site) -> None:
    backup_notes.note(site, OLD, pinned="2020-01-01T00:00:00.000000Z", pinned_by="somebody")
    history_path(site).write_bytes(b"no database " * 1000)


def spoil_settings(site: Site) -> None:
    path_of(site, "settings.json").write_text('{"keep_daily": "many"}')


@pytest.mark.parametrize("lose", [lose_history, spoil_settings])
def test_nothing_is_removed_while_it_is_not_known_what_to_keep(
    site: Site, lose: Callable[[Site], None]
) -> None:
    lose(site)
    assert pruning.prune(site, "somebody").removed == []
    assert all("nothing_goes" in found for found in reasons(site).values())


def test_nothing_is_removed_while_the_history_cannot_be_read(site: Site) -> None:
    history_path(site).unlink(missing_ok=True)
    history_path(site).mkdir()
    with pytest.raises(BackupError, match="Reading the history of backups failed"):
        pruning.prune(site, "somebody")
    with pytest.raises(BackupError) as caught:
        pinning.pin(site, OLD, "somebody")
    assert caught.value.code == "pin_failed"
    assert len(names(site)) == 3


def test_a_backup_that_somebody_reads_is_not_deleted_though_no_job_names_it(site: Site) -> None:
    with deletion.hold_backup(site, OLD), deletion.hold_backup(site, OLD):
        with pytest.raises(ConflictError, match="is in use: somebody reads it") as caught:
            deletion.delete_backup(site, OLD, "somebody")
        assert caught.value.code == "backup_in_use"
        assert pruning.prune(site, "somebody").model_dump()["removed"] == [OLDER]
    deletion.delete_backup(site, OLD, "somebody")
    with pytest.raises(BackupNotFoundError), deletion.hold_backup(site, OLD):
        pass


def test_a_verification_under_way_keeps_its_archive(real: Site) -> None:
    seen: list[object] = []

    def look(job: Job) -> None:
        if not job.is_running or seen:
            return
        seen.append(reasons(real)[OLD])
        seen.append(pruning.prune(real, "somebody").removed)
        with pytest.raises(ConflictError, match=f"a job that runs: verify {job.id}"):
            deletion.delete_backup(real, OLD, "somebody")

    jobs.run(real, tasks.verifying(real, OLD, "somebody", level=VerificationLevel.LIGHT), look)
    assert seen == [["in_use"], [OLDER]]


def test_a_restore_that_is_being_staged_keeps_its_archive(real: Site) -> None:
    refused: list[str] = []

    def interfere(_progress: Progress) -> None:
        if refused:
            return
        with pytest.raises(ConflictError) as caught:
            deletion.delete_backup(real, OLD, "somebody")
        refused.append(caught.value.code)
        with pytest.raises(BackupBusyError):
            pruning.prune(real, "somebody")

    restoring.stage_restore(real, OLD, "somebody", interfere)
    with pytest.raises(ConflictError, match="its restore is staged"):
        deletion.delete_backup(real, OLD, "somebody")
    assert refused == ["backup_in_use"]
    assert OLD in names(real)


def test_a_job_that_runs_elsewhere_keeps_the_backup_that_it_names(site: Site) -> None:
    with job_at_work(site, utc_now(), kind=JobKind.RESTORE, backup_filename=OLD):
        assert pruning.prune(site, "somebody").removed == [OLDER]
    assert pruning.prune(site, "somebody").removed == [OLD]


@pytest.fixture
def immovable(site: Site) -> Iterator[str]:
    """A backup that the system will not let go: a mount point."""
    path = path_of(site, OLDER)
    subprocess.run([*AS_ROOT, "mount", "--bind", path, path], check=True)
    yield OLDER
    subprocess.run([*AS_ROOT, "umount", path], check=True)


def test_a_backup_that_cannot_be_removed_keeps_no_other_one_and_is_told_of(
    site: Site, immovable: str
) -> None:
    pruned = pruning.prune(site, "somebody")
    assert pruned.removed == [OLD]
    assert "Device or resource busy" in pruned.failed[immovable]
    run = history.latest_run(site, RunKind.PRUNE)
    assert run is not None
    assert run.state == "failed"
    assert run.error is not None
    assert run.error.code == "prune_incomplete"
    assert run.details["failed"] == pruned.failed


def test_a_deletion_by_hand_is_noted_and_its_notes_are_forgotten(site: Site) -> None:
    backup_notes.note(site, OLD, seconds=1.0)
    deletion.delete_backup(site, OLD, "somebody")
    [run] = history.list_runs(site)
    assert (run.kind, run.backup_filename, run.requested_by) == ("delete", OLD, "somebody")
    assert run.size_bytes == path_of(site, OLDER).stat().st_size
    assert backup_notes.read_notes(site) == {}


def test_a_pinned_backup_is_not_deleted_by_hand_before_it_is_unpinned(site: Site) -> None:
    pinning.pin(site, OLD, "somebody")
    pinning.pin(site, OLD, "somebody else")
    with pytest.raises(ConflictError, match="is pinned: somebody wants it kept") as caught:
        deletion.delete_backup(site, OLD, "me")
    assert caught.value.code == "backup_pinned"
    pinning.unpin(site, OLD)
    deletion.delete_backup(site, OLD, "me")
    assert OLD not in names(site)


def test_an_archive_that_comes_again_has_no_notes_of_the_one_that_was_removed_by_hand(
    real: Site, tmp_path: Path
) -> None:
    newest, *_ = names(real)
    copy = Path(shutil.copy(path_of(real, newest), tmp_path / "copy.zip"))
    pinning.pin(real, newest, "somebody")
    path_of(real, newest).unlink()
    assert receiving.import_archive(real, copy, "somebody").filename == newest
    assert service.find_backup(real, newest).notes.pinned is None


def test_a_clock_that_was_in_the_future_does_not_make_todays_backups_go(real: Site) -> None:
    newest, *_ = names(real)
    for year in (2096, 2097):
        shutil.copy(path_of(real, newest), path_of(real, f"backup_{year}0101_020000.zip"))
    assert reasons(real)[newest] == ["newest", "last"]
    assert pruning.prune(real, "somebody").removed == [OLDER, OLD]
    assert reasons(real)["backup_20970101_020000.zip"] == ["future"]
    assert service.find_newest(service.list_backups(real)) == service.find_backup(real, newest)


def test_a_server_that_stops_removes_nothing_more(site: Site) -> None:
    site.stopping.set()
    assert pruning.prune(site, "somebody").removed == []
