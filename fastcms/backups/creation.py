"""Turn a site into an archive."""

from contextlib import closing
from datetime import datetime
from pathlib import Path

import fastcms
from fastcms.backups import contents
from fastcms.backups.engine.packing import Description, Packed, Packing, write_archive
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.process import run_apart
from fastcms.backups.engine.progress import OnProgress
from fastcms.backups.engine.snapshot import open_snapshot
from fastcms.database import format_utc
from fastcms.errors import ArchiveError
from fastcms.media.service import TRASH_NAME, find_files_without_row
from fastcms.site import Site

# Logins are not part of the state worth keeping: whoever restores, logs in again.
OMITTED_TABLES = ("sessions",)
# How the most serious of a backup's problems begins.
RESTORE_REFUSED = "A restore of this backup will be refused."


def write_backup(
    site: Site, paths: DataPaths, final_path: Path, created: datetime, on_progress: OnProgress
) -> Packed:
    """Write the archive of a site, and give it its final name when it is complete.

    On disk: final_path is complete and fsynced, or absent.
    Raises: NotEnoughSpaceError; SnapshotError; BackupError; OSError.
    """
    packing = Packing(
        database_path=paths.database,
        files_dir=paths.files_dir,
        trash_name=TRASH_NAME,
        by_hand=find_files_without_row(site),
        omit_rows_of=OMITTED_TABLES,
        archive_path=final_path,
        timestamp=format_utc(created),
        app_version=fastcms.__version__,
    )
    return run_apart(write_archive, packing, describe=_describe, on_progress=on_progress)


def _describe(snapshot_path: Path) -> Description:
    """Look into the copied database, and say today what would otherwise be found out when it is restored."""
    problems = []
    with closing(open_snapshot(snapshot_path)) as snapshot:
        try:
            contents.refuse_strange_contents(snapshot)
        except ArchiveError as error:
            problems.append(f"{RESTORE_REFUSED} {error.message}")
        return Description(
            contents.read_schema_revision(snapshot), contents.count_contents(snapshot), problems
        )
