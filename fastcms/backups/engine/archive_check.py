"""Check an archive as a restore does, without restoring it."""

from collections.abc import Collection
from pathlib import Path

from isal import isal_zlib

from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.progress import OnProgress, Work, ignore_progress
from fastcms.backups.engine.verify import CheckContents, check_database
from fastcms.backups.engine.whole_archive import OnWhole, accept_whole, read_whole
from fastcms.durability import require_free_space


def check_archive_whole(
    archive_path: Path,
    *,
    database_path: Path,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    check_whole: OnWhole = accept_whole,
    on_progress: OnProgress = ignore_progress,
) -> BackupManifest:
    """Compare every entry with its checksum, and check the database, which is unpacked to database_path.

    check_contents gets that path (see `verify.check_database`), in another thread than the caller's;
    on_progress is called in any thread; for check_whole see `whole_archive`.
    On disk: the database, not durably; the caller removes it.
    Raises: NotEnoughSpaceError; the subclasses of ArchiveError; OSError; what the callbacks raise.
    """
    crc32 = 0

    def check(work: Work) -> None:
        check_database(
            database_path,
            known_revisions=known_revisions,
            check_contents=check_contents,
            keep_going=lambda: work.add(0),
        )

    def sum_up(work: Work) -> None:
        nonlocal crc32
        for piece in read_whole(archive.descriptor, work):
            crc32 = isal_zlib.crc32(piece, crc32)

    with open_archive(archive_path) as archive:
        require_free_space(database_path.parent, archive.database_bytes, "Checking the archive")
        extract_archive(
            archive,
            database_path=database_path,
            files_dir=None,
            on_progress=on_progress,
            then=check,
            meanwhile=sum_up,
        )
        check_whole(archive.manifest, crc32)
        return archive.manifest
