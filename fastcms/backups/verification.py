"""Find out whether a backup can be relied on, and note the verdict. Nothing else is changed, or stays.

Lightly: every byte is compared with its checksum, and the database checked. In full: it is restored on trial.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from fastcms.backups import backup_notes
from fastcms.backups.backup_notes import Notes, VerificationLevel, VerificationOutcome
from fastcms.backups.deletion import hold_backup
from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.engine.whole_archive import WholeCheck
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.receiving import check_archive
from fastcms.backups.schemas import Backup
from fastcms.backups.service import find_backup
from fastcms.backups.trial_restore import restore_on_trial
from fastcms.backups.verification_report import Verification, VerifiedBackup, note_verdict, report_sound
from fastcms.durability import remove
from fastcms.errors import ArchiveError, BackupBusyError, NotFoundError, describe
from fastcms.locks import FileLock
from fastcms.site import Site


def verify_backup(
    site: Site,
    filename: str,
    on_progress: OnProgress = ignore_progress,
    *,
    level: VerificationLevel = VerificationLevel.FULL,
) -> VerifiedBackup:
    """Verify a backup, and note the verdict.

    Backups and restores go on meanwhile: the lock is one of its own.
    Raises: the subclasses of ArchiveError for a backup that cannot be relied on, which is a verdict, too;
    BackupNotFoundError; InvalidInputError; BackupBusyError; NotEnoughSpaceError; BackupError.
    """
    with (
        explained("The verification"),
        _scratch_folder(site) as scratch_dir,
        hold_backup(site, filename) as backup,
    ):
        check_whole = WholeCheck(backup.notes.crc32)
        try:
            report = _verify(site, backup, scratch_dir, check_whole, on_progress, level=level)
        except ArchiveError as error:
            note_verdict(site, filename, level, describe(error), error.message)
            raise
        _note_success(site, backup.notes, report, check_whole.crc32)
        return report


def verify_fetched(
    site: Site,
    fetch: Callable[[Path], AbstractContextManager[Backup]],
    on_progress: OnProgress = ignore_progress,
    *,
    level: VerificationLevel = VerificationLevel.FULL,
) -> VerifiedBackup:
    """Verify what is fetched into the scratch folder for that; nothing is noted, and nothing stays.

    Raises: what `fetch` and `verify_backup` raise.
    """
    with explained("The verification"), _scratch_folder(site) as scratch_dir, fetch(scratch_dir) as backup:
        return _verify(site, backup, scratch_dir, WholeCheck(), on_progress, level=level)


def find_verification(site: Site, filename: str) -> Verification:
    """The latest verdict on a backup.

    Raises: BackupNotFoundError; InvalidInputError; NotFoundError when there is none; BackupError.
    """
    notes = find_backup(site, filename).notes
    if notes.verified is None:
        raise NotFoundError(
            f"{filename} has not been verified so far.",
            hint=f"Verify it: fastcms backup verify {filename}",
            code="backup_not_verified",
        )
    told = backup_notes.read_report(site, filename)
    is_sound = notes.verified_outcome == VerificationOutcome.OK
    return Verification.model_validate(
        {
            "filename": filename,
            "outcome": notes.verified_outcome,
            "level": notes.verified_level,
            "verified": notes.verified,
            "reason": notes.verified_reason,
            "report": told if is_sound else None,
            "error": None if is_sound else told,
        }
    )


def _verify(
    site: Site,
    backup: Backup,
    scratch_dir: Path,
    check_whole: WholeCheck,
    on_progress: OnProgress,
    *,
    level: VerificationLevel,
) -> VerifiedBackup:
    started, trial = time.monotonic(), None
    if level is VerificationLevel.FULL:
        trial = restore_on_trial(site, backup, scratch_dir, check_whole, on_progress)
    else:
        check_archive(Path(backup.path), scratch_dir, check_whole, on_progress)
    assert check_whole.manifest is not None  # noqa: S101 - it has been called, or an error was raised
    report = report_sound(backup, level, check_whole.manifest, trial)
    report.seconds = round(time.monotonic() - started, 3)
    return report


def remove_left_overs(site: Site) -> None:
    """Remove what a killed verification left; one that is under way keeps its own."""
    with suppress(BackupBusyError), _scratch_folder(site):
        pass


@contextmanager
def _scratch_folder(site: Site) -> Iterator[Path]:
    """An empty folder for one verification at a time, gone afterwards. Raises: BackupBusyError."""
    backups_dir = data_paths(site).backups_dir
    scratch_dir = backups_dir / ".verifying"
    with FileLock(backups_dir / ".verifying_lock").hold(purpose="verifying a backup", timeout_seconds=0):
        remove(scratch_dir)
        scratch_dir.mkdir(mode=0o700)
        try:
            yield scratch_dir
        finally:
            with suppress(OSError):  # the next verification or start removes it
                remove(scratch_dir)


def _note_success(site: Site, notes: Notes, report: VerifiedBackup, crc32: int) -> None:
    if notes.crc32 is None:  # of an archive that was put there by hand: from now on
        backup_notes.note(site, report.filename, crc32=crc32)
    # What a look at the bytes finds says nothing against, or for, what a trial has found.
    if report.level is VerificationLevel.FULL or notes.verified_level != VerificationLevel.FULL:
        note_verdict(site, report.filename, report.level, report.model_dump(mode="json"))
