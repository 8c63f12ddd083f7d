"""Turn a site into an archive."""

from contextlib import closing
from datetime import datetime
from pathlib import Path, PurePosixPath

import fastcms
from fastcms.backups import contents
from fastcms.backups.engine.archive_writer import ArchiveWriter, open_regular_file
from fastcms.backups.engine.manifest import DATABASE_NAME, FILES_PREFIX, METADATA_NAME, BackupManifest
from fastcms.backups.engine.names import collision_key
from fastcms.backups.engine.paths import DataPaths, beside
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.engine.snapshot import open_snapshot, write_snapshot
from fastcms.backups.engine.zip_directory import MOST_ENTRIES
from fastcms.database import format_utc
from fastcms.durability import new_file, partial_path_of, remove, require_free_space
from fastcms.errors import ArchiveError, BackupError
from fastcms.media.service import TRASH_NAME, find_files_without_row
from fastcms.site import Site
from fastcms.sqlite import sqlite3

# Logins are not part of the state worth keeping: whoever restores, logs in again.
OMITTED_TABLES = ("sessions",)
# Named in the archive; a site that has lost all of its files need not list every one.
_MOST_PROBLEMS = 1000
# How the most serious of them begins.
RESTORE_REFUSED = "A restore of this backup will be refused."
_OTHER_ENTRIES = 4  # database.db, files/, metadata.json, checksums.sha256


def write_backup(
    site: Site, paths: DataPaths, final_path: Path, created: datetime, on_progress: OnProgress
) -> list[str]:
    """Write the archive of a site, and give it its final name when it is complete.

    Returns: what was wrong with the site's own files.
    On disk: final_path is complete and fsynced, or absent.
    Raises: NotEnoughSpaceError; SnapshotError; OSError.
    """
    snapshot_path = partial_path_of(beside(final_path, ".db"))
    by_hand = find_files_without_row(site)
    by_hand_bytes = sum(_size(paths.files_dir / path) for path in by_hand)
    database_bytes = _size(paths.database) + _size(beside(paths.database, "-wal"))
    require_free_space(paths.backups_dir, 2 * database_bytes, "A backup")
    try:
        on_progress(Progress("copying the database", 0, database_bytes))
        write_snapshot(paths.database, snapshot_path, omit_rows_of=OMITTED_TABLES)
        with (
            closing(open_snapshot(snapshot_path)) as snapshot,
            new_file(final_path) as file,
            ArchiveWriter(file) as archive,
        ):
            known_bytes = snapshot_path.stat().st_size + contents.read_file_bytes_total(snapshot)
            total_bytes = known_bytes + by_hand_bytes
            require_free_space(paths.backups_dir, total_bytes, "A backup")
            _require_few_files(contents.count_file_rows(snapshot) + len(by_hand))
            writer = _BackupWriter(paths, archive, total_bytes, on_progress)
            writer.add_database(snapshot_path, snapshot)
            writer.add_known_files(snapshot)
            writer.add_files(by_hand)
            archive.add_text(METADATA_NAME, writer.describe(snapshot, final_path, created).to_json())
    finally:
        remove(snapshot_path)
    return writer.problems


def _require_few_files(count: int) -> None:
    if count + _OTHER_ENTRIES > MOST_ENTRIES:
        raise BackupError(
            f"The site has {count:,} files: a backup that can be restored holds up to {MOST_ENTRIES:,}.",
            hint="Move files that nobody uses out of the site.",
        )


class _BackupWriter:
    """Adds a site's parts to an archive, counting bytes and problems."""

    def __init__(
        self, paths: DataPaths, archive: ArchiveWriter, total_bytes: int, on_progress: OnProgress
    ) -> None:
        self._paths = paths
        self._archive = archive
        self._total_bytes = total_bytes
        self._on_progress = on_progress
        self._database_bytes = 0
        self._files_bytes = 0
        self._names: dict[str, str] = {}
        self.problems: list[str] = []

    def add_database(self, snapshot_path: Path, snapshot: sqlite3.Connection) -> None:
        """Add the database, and say today what would otherwise be found out on the day of the restore."""
        try:
            contents.refuse_strange_contents(snapshot)
        except ArchiveError as error:
            self.problems.append(f"{RESTORE_REFUSED} {error.message}")
        with snapshot_path.open("rb") as source:
            added = self._archive.add_file(DATABASE_NAME, source, self._on_progress, self._progress())
        self._database_bytes = added.size_bytes
        self._archive.add_folder(FILES_PREFIX)

    def add_known_files(self, snapshot: sqlite3.Connection) -> None:
        """Add the bytes of every row.

        A file that is missing or damaged on disk is reported, not fatal: a site that has lost one picture
        needs its backups more than ever.
        """
        files_dir = self._paths.files_dir
        for row in contents.read_file_rows(snapshot):
            if not contents.is_upload_path(row.path):
                self.problems.append(f"{row.path!r} in the database is no place for an uploaded file")
                continue
            # What is deleted meanwhile stays in the trash until the backup has ended; a deletion that fails
            # puts it back.
            stored = files_dir / row.path
            added = self._add_file(row.path, [stored, files_dir / TRASH_NAME / row.path, stored])
            if added is None:
                self.problems.append(f"files/{row.path} is missing on disk")
            elif added != row.sha256:
                self.problems.append(f"files/{row.path} differs from what was uploaded")

    def add_files(self, by_hand: list[str]) -> None:
        """Add what the database does not know: files that somebody put there by hand."""
        for path in by_hand:
            reason = contents.unsafe_name_reason(path) or self._collision(path)
            stored = self._paths.files_dir / path
            if reason is not None:
                self.problems.append(f"files/{path!r} was left out: its name {reason}")
            elif self._add_file(path, [stored]) is None and stored.exists():
                self.problems.append(f"files/{path} was left out: it cannot be read")

    def describe(self, snapshot: sqlite3.Connection, final_path: Path, created: datetime) -> BackupManifest:
        return BackupManifest(
            backup_name=final_path.stem,
            timestamp=format_utc(created),
            app_version=fastcms.__version__,
            schema_revision=contents.read_schema_revision(snapshot),
            counts=contents.count_contents(snapshot),
            database_size_bytes=self._database_bytes,
            files_size_bytes=self._files_bytes,
            problems=self.problems[:_MOST_PROBLEMS],
        )

    def _collision(self, path: str) -> str | None:
        """Say which file another machine would take for this one: Note.txt and note.txt."""
        parents = [str(parent) for parent in PurePosixPath(path).parents][:-1]
        taken = [self._names.get(collision_key(name)) for name in (path, *parents)]
        clash = next((name for name in taken if name is not None and name not in parents), None)
        return None if clash is None else f"is the same as {clash!r} on other systems"

    def _add_file(self, path: str, places: list[Path]) -> str | None:
        source = open_regular_file(places)
        if source is None:
            return None
        for name in (path, *(str(parent) for parent in PurePosixPath(path).parents)):
            self._names.setdefault(collision_key(name), name)
        with source:
            added = self._archive.add_file(FILES_PREFIX + path, source, self._on_progress, self._progress())
        self._files_bytes += added.size_bytes
        return added.sha256

    def _progress(self) -> Progress:
        return Progress("writing the archive", self._database_bytes + self._files_bytes, self._total_bytes)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
