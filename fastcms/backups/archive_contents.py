"""Look into a backup without restoring it: what is in it, its uploaded files, and one file of them.

The first look makes an index of the archive, in a process of its own: see `engine.archive_index`. Those of
the archives that were looked at last are kept below data/backups/.contents; all are removed at each start.
Nothing here holds the archive: a file that is open stays until it is closed.
"""

import os
import unicodedata
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from fastcms.backups import contents
from fastcms.backups.engine import archive_index
from fastcms.backups.engine.archive_index import IndexedFile, Overview
from fastcms.backups.engine.process import run_apart
from fastcms.backups.engine.verify import open_unchanged
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.origin import read_origin
from fastcms.backups.schemas import Backup
from fastcms.backups.service import find_backup
from fastcms.database import known_revisions
from fastcms.durability import remove
from fastcms.errors import BackupBusyError, BackupNotFoundError, ConflictError, NotFoundError
from fastcms.locks import FileLock
from fastcms.media import service as media
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_KEPT = 4
_PATIENCE_SECONDS = 60
_LOCK_NAME = ".contents_lock"
_PARTIAL = ".partial"
_RECORDS_PREFIX = "records:"


class SchemaFit(StrEnum):
    """Whether this FastCMS can restore a backup: as it is, after migrating it, or not before an update."""

    CURRENT = "current"
    OLDER = "older"
    UNKNOWN = "unknown"


class ContentThenAndNow(BaseModel):
    """How many there are by the backup's manifest, and on the live site; null where that cannot be told.

    `name` is `accounts`, `collections`, `files`, `records`, or `records:NAME` of one collection.
    """

    name: str
    backup: int | None
    live: int | None


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
    counts: list[ContentThenAndNow]
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
    with _opened(site, filename) as (backup, _, index):
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
        counts=_compare_counts(site, overview),
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
    """Whether a database of this schema can be restored here."""
    known = known_revisions()
    if revision not in known:
        return SchemaFit.UNKNOWN
    return SchemaFit.CURRENT if revision == known[0] else SchemaFit.OLDER


def list_files(
    site: Site, filename: str, *, search: str = "", page: int = 1, per_page: int = 30
) -> FilesInBackup:
    """List the files in a backup: those with a text in their names, or with this id.

    Raises: what `describe_contents` raises.
    """
    wanted = unicodedata.normalize("NFC", search)
    with _opened(site, filename) as (_, _, index):
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
        _, archive, index = stack.enter_context(_opened(site, filename))
        row = archive_index.find_indexed(index, path)
        if row is None:
            raise NotFoundError(
                f"There is no file {path[:200]!r} in {filename}.",
                hint="List its files to see their paths.",
                code="file_not_in_backup",
            )
        content = archive_index.read_indexed(index, archive, path)
        first = next(content)  # what is damaged and small is refused before an answer has begun
        pieces = _until_closed(first, content, stack.pop_all())
    return OpenedFile(_describe_file(row, _find_present(site, [row])), pieces)


def forget_contents(site: Site, filename: str) -> None:
    """Remove what is kept of a backup that was deleted."""
    with suppress(OSError):  # the next start removes it
        remove(_folder(site) / filename)


def remove_left_overs(site: Site) -> None:
    """Remove all indexes, unless one is being made just now."""
    if _folder(site).exists():
        with suppress(BackupBusyError), _lock(site).hold(timeout_seconds=0):
            remove(_folder(site))


def _until_closed(first: bytes, content: Iterator[bytes], held: ExitStack) -> Generator[bytes]:
    with held:
        yield first
        yield from content


@contextmanager
def _opened(site: Site, filename: str) -> Iterator[tuple[Backup, int, sqlite3.Connection]]:
    """A backup, its open archive, and the index of it, which is made if it is not there."""
    backup = find_backup(site, filename)
    with ExitStack() as held:
        held.enter_context(explained("Looking into the backup"))
        try:
            archive = os.open(backup.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise BackupNotFoundError(f"{filename} was deleted a moment ago.") from error
        held.callback(os.close, archive)
        index = _open_index(site, filename, archive) or _make_index(site, filename, archive)
        yield backup, archive, held.enter_context(closing(index))


def _open_index(site: Site, filename: str, archive: int) -> sqlite3.Connection | None:
    """The index of this very archive; None without one."""
    path = _folder(site) / filename
    if not path.exists():
        return None
    with suppress(OSError):
        os.utime(path)  # when it was last used
    # Nobody writes to it any more. A download reads with one thread after another.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    index = sqlite3.connect(uri, uri=True, check_same_thread=False)
    with suppress(sqlite3.Error):  # it is not durable: a power cut may leave anything
        if archive_index.read_identity(index) == archive_index.identify(archive):
            return index
    index.close()
    return None


def _make_index(site: Site, filename: str, archive: int) -> sqlite3.Connection:
    folder = _folder(site)
    folder.mkdir(mode=0o700, exist_ok=True)
    with _lock(site).hold(purpose="looking into a backup", timeout_seconds=_PATIENCE_SECONDS):
        index = _open_index(site, filename, archive)  # which somebody may have made meanwhile
        if index is None:
            _make_room(folder)
            partial_path = folder / f"{filename}{_PARTIAL}"
            try:
                run_apart(
                    archive_index.index_archive,
                    data_paths(site).backups_dir / filename,
                    partial_path,
                    known_revisions=known_revisions(),
                    check_contents=_check_contents,
                )
                partial_path.replace(folder / filename)
            finally:
                remove(partial_path)
            index = _open_index(site, filename, archive)
    if index is None:
        raise ConflictError(
            f"{filename} was exchanged while it was being read.",
            hint="Try again.",
            code="backup_changed",
        )
    return index


def _make_room(folder: Path) -> None:
    """Remove what a killed process left, and all but the indexes that were used last."""
    last_first = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    finished = [path for path in last_first if _PARTIAL not in path.name]
    for path in {*last_first} - {*finished[: _KEPT - 1]}:
        remove(path)


def _check_contents(database_path: Path) -> None:
    with open_unchanged(database_path) as database:
        contents.refuse_strange_contents(database)


def _compare_counts(site: Site, overview: Overview) -> list[ContentThenAndNow]:
    """The manifest's counts beside those of the live site, single collections last."""
    then = overview.manifest.counts
    try:
        now = contents.count_live_contents(site)
    except (sqlite3.Error, DBAPIError, OSError):
        now = None
    names = sorted({*then, *(now or {})}, key=lambda name: (name.startswith(_RECORDS_PREFIX), name))
    return [
        ContentThenAndNow(name=name, backup=then.get(name), live=None if now is None else now.get(name))
        for name in names
    ]


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


def _folder(site: Site) -> Path:
    return data_paths(site).backups_dir / ".contents"


def _lock(site: Site) -> FileLock:
    return FileLock(data_paths(site).backups_dir / _LOCK_NAME)
