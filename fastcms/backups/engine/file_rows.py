"""The uploads that a database knows: its table `files`, which docs/backup-format.md describes."""

from typing import NamedTuple

from fastcms.backups.engine.manifest import FILES_PREFIX
from fastcms.backups.engine.names import unsafe_reason
from fastcms.sqlite import sqlite3


class FileRow(NamedTuple):
    """An uploaded file that the database knows."""

    path: str
    size_bytes: int
    sha256: str


def read_file_rows(
    database: sqlite3.Connection, *, after: str | None = None, most: int = -1
) -> list[FileRow]:
    """The rows of uploads in order of their paths: those behind a path, and no more than some."""
    where = "" if after is None else "WHERE path > :after"
    query = f"SELECT path, size_bytes, sha256 FROM files {where} ORDER BY path LIMIT :most"  # noqa: S608 - our own
    return [FileRow(*row) for row in database.execute(query, {"after": after, "most": most})]


def count_files(database: sqlite3.Connection) -> tuple[int, int]:
    """How many uploads there are, and how many bytes they have."""
    count, size_bytes = database.execute(
        "SELECT count(*), coalesce(sum(size_bytes), 0) FROM files"
    ).fetchone()
    return int(count), int(size_bytes)


def is_upload_path(path: object) -> bool:
    """Whether a path is what an upload gets: one portable name."""
    return (
        isinstance(path, str)
        and path != ""
        and "/" not in path
        and unsafe_reason(FILES_PREFIX + path) is None
    )
