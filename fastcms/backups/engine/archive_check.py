"""Check an archive as a restore does, without restoring it."""

from collections.abc import Collection
from pathlib import Path

from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.progress import OnProgress, Work, ignore_progress
from fastcms.backups.engine.verify import CheckContents, check_database
from fastcms.durability import require_free_space


def check_archive_whole(
    archive_path: Path,
    *,
    database_path: Path,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    on_progress: OnProgress = ignore_progress,
) -> BackupManifest:
    """Compare every entry with its checksum, and check the database, which is unpacked to database_path.

    check_contents gets that path (see `verify.check_database`), in another thread than the caller's;
    on_progress is called in any thread.
    On disk: the database, not durably; the caller removes it.
    Raises: NotEnoughSpaceError; the subclasses of ArchiveError; OSError; what the callbacks raise.
    """

    def check(work: Work) -> None:
        check_database(
            database_path,
            known_revisions=known_revisions,
            check_contents=check_contents,
            keep_going=lambda: work.add(0),
        )

    with open_archive(archive_path) as archive:
        require_free_space(database_path.parent, archive.database_bytes, "Checking the archive")
        extract_archive(
            archive, database_path=database_path, files_dir=None, on_progress=on_progress, then=check
        )
        return archive.manifest
