"""Restore a backup on trial: with the engine that restores the site itself, but beside it; start it there."""

from pathlib import Path

from sqlalchemy.exc import DBAPIError

from fastcms.backups import contents
from fastcms.backups.creation import OMITTED_TABLES
from fastcms.backups.engine import staging
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import PendingRestore
from fastcms.backups.engine.process import call_by_name, run_apart
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.engine.verify import open_unchanged
from fastcms.backups.engine.whole_archive import WholeCheck
from fastcms.backups.schemas import Backup
from fastcms.backups.verification_report import SiteReading, Trial, compare_counts
from fastcms.database import known_revisions
from fastcms.durability import require_free_space
from fastcms.errors import FailedTrialError
from fastcms.logs import get_logger
from fastcms.site import Site
from fastcms.sqlite import sqlite3

# By its name: it starts the whole application, which backups are a part of and must not import.
_TRY_OUT, _OUTPUT_NAME = "fastcms.trial:try_out", "trial.log"
_SHOWN_OUTPUT_CHARACTERS = 4000
_SHOWN_DIFFERENCES = 5


def restore_on_trial(
    site: Site, backup: Backup, scratch_dir: Path, check_whole: WholeCheck, on_progress: OnProgress
) -> Trial:
    """Restore a backup into an empty folder, start the application there, and compare what it finds.

    On disk: all of it in scratch_dir, which the caller removes.
    Raises: the subclasses of ArchiveError; NotEnoughSpaceError; BackupError when a process was killed.
    """
    paths = DataPaths(scratch_dir / "data")
    paths.backups_dir.mkdir(mode=0o700, parents=True)
    pending, revision = _stage(paths, backup, check_whole, on_progress)
    manifest = check_whole.manifest
    assert manifest is not None  # noqa: S101 - it has been called, or an error was raised
    total_bytes = manifest.database_size_bytes + manifest.files_size_bytes
    try:
        found: SiteReading = run_apart(
            call_by_name,
            _TRY_OUT,
            paths.data_dir,
            known_problems=manifest.problems,
            on_progress=lambda phase: on_progress(Progress(phase, total_bytes, total_bytes)),
        )
    except FailedTrialError:
        require_free_space(scratch_dir, 0, "The verification")  # a full disk is no fault of the backup
        output = (scratch_dir / _OUTPUT_NAME).read_text(errors="replace")[-_SHOWN_OUTPUT_CHARACTERS:]
        get_logger().error("A site restored as a test failed.", backup=backup.filename, output=output)
        raise
    counts = compare_counts(found.counts, dict(manifest.counts), _count_live(site))
    trial = Trial(
        restore=found.restore,
        schema_revision_before=revision,
        schema_revision_after=found.schema_revision,
        was_migrated=found.schema_revision != revision,
        contents=counts,
        seconds=pending.seconds | found.seconds,
        files_read=found.files_read,
        files_read_bytes=found.files_read_bytes,
    )
    _refuse_differences(trial)
    return trial


def _stage(
    paths: DataPaths, backup: Backup, check_whole: WholeCheck, on_progress: OnProgress
) -> tuple[PendingRestore, str]:
    """Stage the restore as for the site itself; return it with the revision of the schema in the backup."""
    revisions: list[str] = []

    def check_contents(database_path: Path) -> None:
        with open_unchanged(database_path) as database:
            contents.refuse_strange_contents(database)
            revisions.append(contents.read_schema_revision(database))

    pending = run_apart(
        staging.stage_restore,
        paths,
        Path(backup.path),
        requested_by="verification",
        known_revisions=known_revisions(),
        check_contents=check_contents,
        omit_rows_of=OMITTED_TABLES,
        check_whole=check_whole,
        on_progress=on_progress,
    )
    return pending, revisions[0]


def _refuse_differences(trial: Trial) -> None:
    """Compare a restored site with the manifest. Raises: FailedTrialError with all the counts."""
    different = [
        f"{count.name} ({count.backup:,} instead of {count.manifest:,})"
        for count in trial.contents
        if count.manifest not in (None, count.backup)
    ]
    if different:
        error = FailedTrialError(
            "The site that was restored from it has not what its manifest says: "
            f"{', '.join(different[:_SHOWN_DIFFERENCES])}.",
            hint="Do not rely on this backup: use another one, or make a new one.",
        )
        error.details = {"trial": trial.model_dump(mode="json")}
        raise error


def _count_live(site: Site) -> dict[str, int] | None:
    """How much of everything the live site has now; None when that cannot be told."""
    try:
        return contents.count_live_contents(site)
    except (sqlite3.Error, DBAPIError, OSError):
        return None
