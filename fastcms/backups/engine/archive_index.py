"""Write down once what an archive holds: then its files are listed, searched and read without unpacking it.

The index is a small SQLite file of our own. What stands in it was checked when it was made: the archive's
structure, names, types and manifest. The bytes of a file are checked when it is read.
"""

import os
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fastcms.backups.engine.archive_reader import CheckedArchive, open_archive
from fastcms.backups.engine.manifest import (
    DATABASE_NAME,
    FILES_PREFIX,
    METADATA_NAME,
    BackupManifest,
    parse_manifest,
)
from fastcms.backups.engine.paths import beside
from fastcms.backups.engine.verify import CheckContents, check_kind, open_unchanged
from fastcms.backups.engine.zip_content import Window, read_checked
from fastcms.backups.engine.zip_entries import ZipEntry
from fastcms.durability import remove, require_free_space
from fastcms.errors import ArchiveError
from fastcms.sqlite import sqlite3

_ROW_BYTES = 500
_LONGEST_NAME = 255
# What the database knows of a file comes from a stranger: texts of a reasonable length, or nothing.
_SCHEMA = """
    CREATE TABLE about (key TEXT PRIMARY KEY, value);
    CREATE TABLE files (
        path TEXT PRIMARY KEY, file_id TEXT, filename TEXT, content_type TEXT, uploaded TEXT,
        uploaded_sha256 TEXT, sha256 BLOB, method INTEGER, crc32 INTEGER, compressed_bytes INTEGER,
        size_bytes INTEGER, data_offset INTEGER
    ) WITHOUT ROWID;
"""
_ADD = """
    INSERT INTO files
        (path, filename, sha256, method, crc32, compressed_bytes, size_bytes, data_offset)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_NAME = """
    UPDATE files SET file_id = ?, filename = coalesce(?, filename), content_type = ?, uploaded = ?,
        uploaded_sha256 = ?
    WHERE path = ?
"""
_LISTED = "path, file_id, filename, content_type, uploaded, uploaded_sha256, sha256, size_bytes"
_FOUND = "filename LIKE :like ESCAPE '!' OR path LIKE :like ESCAPE '!' OR file_id = :search"


class IndexedFile(NamedTuple):
    """A file of an archive; what only its row in the database knows is None for one without a row."""

    path: str
    file_id: str | None
    filename: str
    content_type: str | None
    uploaded: str | None
    uploaded_sha256: str | None
    sha256: bytes
    size_bytes: int


class Overview(NamedTuple):
    """An archive at a glance. names_problem: why files have only the names that they had on the disk."""

    manifest: BackupManifest
    database_sha256: bytes
    database_bytes: int
    files: int
    files_bytes: int
    total_bytes: int
    names_problem: str | None


def identify(descriptor: int) -> str:
    """Tell an archive from another one of the same name."""
    status = os.fstat(descriptor)
    return f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def index_archive(
    archive_path: Path, index_path: Path, *, known_revisions: Collection[str], check_contents: CheckContents
) -> None:
    """Write the index of an archive. A database that cannot be read costs only the names that it knows.

    check_contents gets the path of the database, see `verify.check_database`.
    On disk: the index, of mode 0600; after an error, a part of it, and after a crash the database, too.
    Raises: NotEnoughSpaceError; the subclasses of ArchiveError; OSError; sqlite3.Error.
    """
    index_path.touch(mode=0o600, exist_ok=False)
    with open_archive(archive_path) as archive, closing(sqlite3.connect(index_path)) as index:
        needed_bytes = archive.database_bytes + _ROW_BYTES * len(archive.names)
        require_free_space(index_path.parent, needed_bytes, "Looking into the backup")
        index.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)
        index.executemany(_ADD, _describe_entries(archive))
        database_path = beside(index_path, ".database")
        try:
            problem = _name_files(archive, database_path, index, known_revisions, check_contents)
        finally:
            remove(database_path)
        deque(read_checked(Window(archive.descriptor), *_row_of(archive, METADATA_NAME)), maxlen=0)
        _, database_sha256 = _row_of(archive, DATABASE_NAME)
        about = {
            "identity": identify(archive.descriptor),
            "manifest": archive.manifest.to_json(),
            "database_sha256": database_sha256,
            "database_bytes": archive.database_bytes,
            "total_bytes": archive.total_bytes,
            "names_problem": problem,
        }
        index.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        index.execute("CREATE INDEX newest ON files (uploaded DESC, path)")
        index.commit()


def read_overview(index: sqlite3.Connection) -> Overview:
    about = dict(index.execute("SELECT key, value FROM about"))
    files, files_bytes = index.execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM files").fetchone()
    return Overview(
        manifest=parse_manifest(about["manifest"]),
        database_sha256=about["database_sha256"],
        database_bytes=about["database_bytes"],
        files=files,
        files_bytes=files_bytes,
        total_bytes=about["total_bytes"],
        names_problem=about["names_problem"],
    )


def read_identity(index: sqlite3.Connection) -> str:
    """Which archive it is of."""
    (identity,) = index.execute("SELECT value FROM about WHERE key = 'identity'").fetchone()
    return str(identity)


def list_indexed(
    index: sqlite3.Connection, search: str, limit: int, offset: int
) -> tuple[list[IndexedFile], int]:
    """Some of the files that have a text in their names, or this id; and how many there are. Newest first."""
    search = _text(search) or ""
    escaped = search.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    given = {"search": search, "like": f"%{escaped}%", "limit": limit, "offset": offset}
    where = f"WHERE {_FOUND}" if search else ""
    (total,) = index.execute(f"SELECT count(*) FROM files {where}", given).fetchone()  # noqa: S608 - our own
    query = f"SELECT {_LISTED} FROM files {where} ORDER BY uploaded DESC, path LIMIT :limit OFFSET :offset"  # noqa: S608 - our own
    return [IndexedFile(*row) for row in index.execute(query, given)], total


def find_indexed(index: sqlite3.Connection, path: str) -> IndexedFile | None:
    query = f"SELECT {_LISTED} FROM files WHERE path = ?"  # noqa: S608 - our own
    row = index.execute(query, (path,)).fetchone()
    return None if row is None else IndexedFile(*row)


def read_indexed(index: sqlite3.Connection, descriptor: int, path: str) -> Iterator[bytes]:
    """The bytes of a file, checked: the last ones come only when all of it was as it has to be.

    So what turns out to be damaged is never complete, and what fits into one piece does not even begin.
    Raises: CorruptArchiveError; UnsafeArchiveError; OSError.
    """
    query = (
        "SELECT method, 0, crc32, compressed_bytes, size_bytes, data_offset, sha256 FROM files WHERE path = ?"
    )
    *values, sha256 = index.execute(query, (path,)).fetchone()
    entry = ZipEntry(FILES_PREFIX + path, *values)
    held = b""
    for piece in read_checked(Window(descriptor), entry, sha256):
        if held:
            yield held
        held = bytes(piece)
    yield held


def _row_of(archive: CheckedArchive, name: str) -> tuple[ZipEntry, bytes | None]:
    return archive.read_row(archive.names.index(name))


def _describe_entries(archive: CheckedArchive) -> Iterator[tuple[Any, ...]]:
    for number, name in enumerate(archive.names):
        if name.startswith(FILES_PREFIX) and not name.endswith("/"):
            path = name.removeprefix(FILES_PREFIX)
            entry, sha256 = archive.read_row(number)
            sizes = entry.compressed_bytes, entry.size_bytes, entry.data_offset
            yield path, path.rpartition("/")[2], sha256, entry.method, entry.crc32, *sizes


def _name_files(
    archive: CheckedArchive,
    database_path: Path,
    index: sqlite3.Connection,
    known_revisions: Collection[str],
    check_contents: CheckContents,
) -> str | None:
    """Add what the database in the archive knows of the files; return why not, when it cannot be read."""
    try:
        database_path.touch(mode=0o600, exist_ok=False)
        with database_path.open("wb") as file:
            file.writelines(read_checked(Window(archive.descriptor), *_row_of(archive, DATABASE_NAME)))
        check_kind(database_path, known_revisions=known_revisions, check_contents=check_contents)
        with open_unchanged(database_path) as database:
            query = "SELECT id, filename, content_type, created, sha256, path FROM files"
            index.executemany(_NAME, map(_clean, database.execute(query)))
    except ArchiveError as error:  # the names that came before it stay
        return error.message
    return None


def _clean(row: tuple[Any, ...]) -> tuple[str | None, ...]:
    file_id, filename, content_type, created, sha256, path = map(_text, row)
    uploaded = None
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(created or "").astimezone(UTC)
        uploaded = moment.isoformat(timespec="microseconds")
    return file_id, filename or None, content_type, uploaded, sha256, path


def _text(value: Any) -> str | None:
    """A stranger's text, so that it can be shown anywhere."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:_LONGEST_NAME])
