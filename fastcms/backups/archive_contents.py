"""Look into a backup without restoring it: what is in it, its uploaded files, and one file of them.

It is all read from an index of the archive: see `archive_cache`.
"""

import unicodedata
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from fastcms.backups.archive_cache import open_indexed
from fastcms.backups.comparison import Count, compare_counts, count_live
from fastcms.backups.engine import archive_index
from fastcms.backups.engine.archive_index import IndexedFile
from fastcms.backups.origin import read_origin
from fastcms.database import known_revisions
from fastcms.errors import NotFoundError
from fastcms.media import service as media
from fastcms.noting import note
from fastcms.site import Site


class SchemaFit(StrEnum):
    """Whether this FastCMS can serve the backup's database: as it is, after migrating it, or not at all."""

    SAME = "same"
    MIGRATED = "migrated"
    TOO_NEW = "too_new"


class BackupContents(BaseModel):
    """What is in a backup. Sizes are those of what it unpacks to; `problems` were noted when it was made.

    Of the whole archive, FastCMS knows the CRC-32 if it has made or verified it, and the SHA-256 of one that
    was uploaded. `names_problem` says why the files have only the names that they have on the disk.
    """

    filename: str
    size_bytes: int
    app_version: str
    schema_revision: str
    schema_fit: SchemaFit
    counts: list[Count]
    database_size_bytes: int
    files: int
    files_size_bytes: int
    total_size_bytes: int
    database_sha256: str
    archive_crc32: str | None
    archive_sha256: str | None
    problems: list[str]
    names_problem: str | None


class FileInBackup(BaseModel):
    """An uploaded file in a backup, at `path` below `files/`.

    `file_id`, `content_type` and `uploaded` are null for a file that was put there by hand. `is_damaged`: it
    was not what had been uploaded any more when the backup was made. `on_site`: whether the live site has the
    file, too; null when that cannot be told.
    """

    path: str
    file_id: str | None
    filename: str
    content_type: str | None
    size_bytes: int
    sha256: str
    uploaded: datetime | None
    is_damaged: bool
    on_site: bool | None


class FilesInBackup(BaseModel):
    """One page of the files in a backup, those that were uploaded last first."""

    items: list[FileInBackup]
    total: int
    page: int
    per_page: int
    names_problem: str | None


class OpenedFile(NamedTuple):
    """A file in a backup, and its bytes: the last ones come only when all of it was found to be sound."""

    file: FileInBackup
    pieces: Generator[bytes]


def describe_contents(site: Site, filename: str) -> BackupContents:
    """Say what is in a backup.

    Raises: BackupNotFoundError; InvalidInputError; NotEnoughSpaceError; the subclasses of ArchiveError.
    """
    with open_indexed(site, filename) as (backup, _, index):
        overview = archive_index.read_overview(index)
    origin = read_origin(Path(backup.path))
    crc32 = backup.notes.crc32
    manifest = overview.manifest
    return BackupContents(
        filename=filename,
        size_bytes=backup.size_bytes,
        app_version=manifest.app_version,
        schema_revision=manifest.schema_revision,
        schema_fit=judge_schema(manifest.schema_revision),
        counts=compare_counts(manifest.counts, count_live(site)),
        database_size_bytes=overview.database_bytes,
        files=overview.files,
        files_size_bytes=overview.files_bytes,
        total_size_bytes=overview.total_bytes,
        database_sha256=overview.database_sha256.hex(),
        archive_crc32=None if crc32 is None else f"{crc32:08x}",
        archive_sha256=origin.sha256 if origin else None,
        problems=list(manifest.problems),
        names_problem=overview.names_problem,
    )


def judge_schema(revision: str) -> SchemaFit:
    """Whether a database of this schema can be served here."""
    known = known_revisions()
    if revision not in known:
        return SchemaFit.TOO_NEW
    return SchemaFit.SAME if revision == known[0] else SchemaFit.MIGRATED


def list_files(
    site: Site, filename: str, *, search: str = "", page: int = 1, per_page: int = 30
) -> FilesInBackup:
    """List the files in a backup: those with a text in their names, or with this id.

    Raises: what `describe_contents` raises.
    """
    wanted = unicodedata.normalize("NFC", search)
    with open_indexed(site, filename) as (_, _, index):
        rows, total = archive_index.list_indexed(index, wanted, per_page, (page - 1) * per_page)
        problem = archive_index.read_overview(index).names_problem
    present = _find_present(site, rows)
    items = [_describe_file(row, present) for row in rows]
    return FilesInBackup(items=items, total=total, page=page, per_page=per_page, names_problem=problem)


def open_file(site: Site, filename: str, path: str) -> OpenedFile:
    """Read one file of a backup. Whoever stops before its end closes `pieces`.

    Raises: NotFoundError; what `describe_contents` raises; ArchiveError also while it is read.
    """
    with ExitStack() as stack:
        _, archive, index = stack.enter_context(open_indexed(site, filename))
        row = archive_index.find_indexed(index, path)
        if row is None:
            raise NotFoundError(
                f"There is no file {path[:200]!r} in {filename}.",
                hint="List its files to see their paths.",
                code="file_not_in_backup",
            )
        note(file=row.filename)
        content = archive_index.read_indexed(index, archive, path)
        first = next(content)  # what is damaged and small is refused before an answer has begun
        pieces = _until_closed(first, content, stack.pop_all())
    return OpenedFile(_describe_file(row, _find_present(site, [row])), pieces)


def _until_closed(first: bytes, content: Iterator[bytes], held: ExitStack) -> Generator[bytes]:
    with held:
        yield first
        yield from content


def _find_present(site: Site, rows: list[IndexedFile]) -> set[str] | None:
    """The ids of those that the live site has, too; None when that cannot be told."""
    if not site.database.is_open:  # a command beside a database that may be damaged
        return None
    with suppress(DBAPIError), site.database.read() as session:
        return media.find_present(session, [row.file_id for row in rows if row.file_id])
    return None


def _describe_file(row: IndexedFile, present: set[str] | None) -> FileInBackup:
    sha256 = row.sha256.hex()
    return FileInBackup(
        path=row.path,
        file_id=row.file_id,
        filename=row.filename,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        sha256=sha256,
        uploaded=datetime.fromisoformat(row.uploaded) if row.uploaded else None,
        is_damaged=row.uploaded_sha256 not in (None, sha256),
        on_site=None if present is None or row.file_id is None else row.file_id in present,
    )
