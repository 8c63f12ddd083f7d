"""Turn a site's database and files into an archive, on all cores.

The copy of the database is checked while the files are read and compressed; the database follows them. Of
what the archive holds, no more is in memory than the threads work on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fastcms.backups.engine.archive_writer import ArchiveWriter, PackedFile
from fastcms.backups.engine.file_reading import (
    NotRead,
    in_batches,
    open_folder,
    open_regular_file,
    places_of,
    read_batch,
)
from fastcms.backups.engine.file_rows import FileRow, count_files, is_upload_path, read_file_rows
from fastcms.backups.engine.manifest import DATABASE_NAME, FILES_PREFIX, METADATA_NAME, BackupManifest
from fastcms.backups.engine.names import collision_key, unsafe_reason
from fastcms.backups.engine.paths import beside
from fastcms.backups.engine.progress import OnProgress, Work
from fastcms.backups.engine.snapshot import check_snapshot, open_snapshot, write_snapshot
from fastcms.backups.engine.zip_directory import MOST_ENTRIES
from fastcms.durability import new_file, partial_path_of, remove, require_free_space
from fastcms.errors import BackupError
from fastcms.sqlite import sqlite3

# Named in the archive; a site that has lost all of its files need not list every one.
MOST_PROBLEMS = 1000
_OTHER_ENTRIES = 4  # database.db, files/, metadata.json, checksums.sha256
_ROWS_AT_ONCE = 2000
# For files that are smaller on average, threads would hand the interpreter to and fro more than they do.
_SMALL_FILE_BYTES = 32 * 1024


class Description(NamedTuple):
    """What only the program above the engine knows of a database."""

    schema_revision: str
    counts: dict[str, int]
    problems: list[str]


@dataclass(frozen=True)
class Packing:
    """What goes into a backup. `by_hand`: files that the database does not know, below files_dir."""

    database_path: Path
    files_dir: Path
    trash_name: str
    by_hand: Sequence[str]
    omit_rows_of: Sequence[str]
    archive_path: Path
    timestamp: str
    app_version: str


class Packed(NamedTuple):
    """What is known of a finished archive: what was wrong with the site's own files, and its whole CRC-32.

    `counts` say how much there is in it, as in its manifest.
    """

    problems: list[str]
    crc32: int
    counts: Mapping[str, int]


Describe = Callable[[Path], Description]


def write_archive(packing: Packing, *, describe: Describe, on_progress: OnProgress) -> Packed:
    """Write the archive of a site, and give it its final name when it is complete.

    describe gets the path of the copied database.
    On disk: archive_path is complete and fsynced, or absent.
    Raises: NotEnoughSpaceError; SnapshotError; BackupError; OSError.
    """
    return _Packer(packing, describe, on_progress).write()


class _Packer:
    def __init__(self, packing: Packing, describe: Describe, on_progress: OnProgress) -> None:
        self._packing = packing
        self._describe = describe
        self._snapshot_path = partial_path_of(beside(packing.archive_path, ".db"))
        self._work = Work(on_progress)
        self._files_bytes = 0
        self._files_are_small = False
        self._names: dict[str, str] = {}
        self._problems: list[str] = []

    def write(self) -> Packed:
        packing, snapshot_path = self._packing, self._snapshot_path
        database_bytes = _size(packing.database_path) + _size(beside(packing.database_path, "-wal"))
        require_free_space(packing.archive_path.parent, 2 * database_bytes, "A backup")
        self._work.total_bytes = database_bytes
        self._work.begin("copying the database")
        try:
            write_snapshot(
                packing.database_path,
                snapshot_path,
                omit_rows_of=packing.omit_rows_of,
                on_bytes=self._work.add,
            )
            with (
                closing(open_snapshot(snapshot_path)) as snapshot,
                open_folder(packing.files_dir) as folder,
                new_file(packing.archive_path) as file,
                ArchiveWriter(file, packing.archive_path.parent) as archive,
                self._work,
            ):
                self._require_space(snapshot)
                self._work.begin("writing the archive")
                description = archive.submit(self._check_snapshot)
                archive.add_folder(FILES_PREFIX, time.time())
                self._add_known(archive, folder, _read_rows(snapshot, description))
                self._add_by_hand(archive, folder)
                description.result()
                with snapshot_path.open("rb", buffering=0) as source:
                    database = archive.add_file(DATABASE_NAME, source, self._work.add)
                manifest = self._manifest(description.result(), database.size_bytes)
                archive.add_text(METADATA_NAME, manifest.to_json(), time.time())
                self._work.begin_last("making the archive durable")
        finally:
            remove(snapshot_path)
        return Packed(self._problems, archive.crc32, manifest.counts)

    def _require_space(self, snapshot: sqlite3.Connection) -> None:
        packing = self._packing
        count, files_bytes = count_files(snapshot)
        count += len(packing.by_hand)
        files_bytes += sum(_size(packing.files_dir / path) for path in packing.by_hand)
        self._files_are_small = files_bytes < count * _SMALL_FILE_BYTES
        archive_bytes = _size(self._snapshot_path) + files_bytes
        # The copy of the database is work, too.
        self._work.total_bytes += archive_bytes
        require_free_space(packing.archive_path.parent, archive_bytes, "A backup")
        if count + _OTHER_ENTRIES > MOST_ENTRIES:
            raise BackupError(
                f"The site has {count:,} files: a backup that can be restored holds up to {MOST_ENTRIES:,}.",
                hint="Move files that nobody uses out of the site.",
            )

    def _check_snapshot(self) -> Description:
        check_snapshot(self._snapshot_path, self._packing.database_path, keep_going=lambda: self._work.add(0))
        return self._describe(self._snapshot_path)

    def _add_known(self, archive: ArchiveWriter, folder: int, rows: Iterator[FileRow]) -> None:
        """Add the bytes of every row.

        A file that is missing or damaged on disk is reported, not fatal: a site that has lost one picture
        needs its backups more than ever.
        """
        for row, sha256 in self._add(archive, folder, filter(self._is_possible, rows)):
            if sha256 is None:
                is_there = (self._packing.files_dir / row.path).exists()
                reason = "cannot be read" if is_there else "is missing on disk"
                self._problems.append(f"files/{row.path} {reason}")
            elif sha256 != row.sha256:
                self._problems.append(f"files/{row.path} differs from what was uploaded")

    def _is_possible(self, row: FileRow) -> bool:
        is_possible = is_upload_path(row.path)
        if not is_possible:
            self._problems.append(f"{row.path!r} in the database is no place for an uploaded file")
        elif self._packing.by_hand:
            self._names[collision_key(row.path)] = row.path
        return is_possible

    def _add_by_hand(self, archive: ArchiveWriter, folder: int) -> None:
        """Add what the database does not know: files that somebody put there by hand."""
        for row, sha256 in self._add(archive, folder, self._acceptable_by_hand()):
            if sha256 is None and (self._packing.files_dir / row.path).exists():
                self._problems.append(f"files/{row.path} was left out: it cannot be read")

    def _acceptable_by_hand(self) -> Iterator[FileRow]:
        for path in self._packing.by_hand:
            reason = unsafe_reason(FILES_PREFIX + path) or self._collision(path)
            if reason is not None:
                self._problems.append(f"files/{path!r} was left out: its name {reason}")
                continue
            for name in (path, *(str(parent) for parent in PurePosixPath(path).parents)):
                self._names.setdefault(collision_key(name), name)
            yield FileRow(path, _size(self._packing.files_dir / path), "")

    def _collision(self, path: str) -> str | None:
        """Say which file another machine would take for this one: Note.txt and note.txt."""
        parents = [str(parent) for parent in PurePosixPath(path).parents][:-1]
        taken = [self._names.get(collision_key(name)) for name in (path, *parents)]
        clash = next((name for name in taken if name is not None and name not in parents), None)
        return None if clash is None else f"is the same as {clash!r} on other systems"

    def _add(
        self, archive: ArchiveWriter, folder: int, rows: Iterator[FileRow]
    ) -> Iterator[tuple[FileRow, str | None]]:
        """Add files in order; give the SHA-256 of each, or None where there is no such file."""
        read = partial(read_batch, folder, self._packing.trash_name)
        batches = in_batches(rows)
        for batch in map(read, batches) if self._files_are_small else archive.in_order(read, batches):
            packed = [file for _, file in batch if isinstance(file, PackedFile)]
            archive.add_packed(packed)
            self._count(sum(file.entry.size_bytes for file in packed))
            for row, file in batch:
                if isinstance(file, PackedFile):
                    yield row, file.sha256
                else:
                    yield row, self._add_large(archive, folder, row) if file is NotRead.LARGE else None

    def _add_large(self, archive: ArchiveWriter, folder: int, row: FileRow) -> str | None:
        source = open_regular_file(folder, places_of(row.path, self._packing.trash_name))
        if source is None:
            return None
        with source:
            added = archive.add_file(FILES_PREFIX + row.path, source, self._count)
        if added.has_changed:
            self._problems.append(f"files/{row.path} changed while it was read")
        return added.sha256

    def _count(self, size_bytes: int) -> None:
        self._files_bytes += size_bytes
        self._work.add(size_bytes)

    def _manifest(self, description: Description, database_bytes: int) -> BackupManifest:
        self._problems[:0] = description.problems
        return BackupManifest(
            backup_name=self._packing.archive_path.stem,
            timestamp=self._packing.timestamp,
            app_version=self._packing.app_version,
            schema_revision=description.schema_revision,
            counts=description.counts,
            database_size_bytes=database_bytes,
            files_size_bytes=self._files_bytes,
            problems=self._problems[:MOST_PROBLEMS],
        )


def _read_rows(snapshot: sqlite3.Connection, checking: Future[Description]) -> Iterator[FileRow]:
    """Every row of the table of files, unless the database turns out to be damaged."""
    rows = read_file_rows(snapshot, most=_ROWS_AT_ONCE)
    while rows:
        if checking.done():
            checking.result()
        yield from rows
        rows = read_file_rows(snapshot, after=rows[-1].path, most=_ROWS_AT_ONCE)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # maybe just now
        return 0
