"""What a snapshot of FastCMS's database says about itself, and which bytes it needs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastcms.backups.engine.manifest import FILES_PREFIX
from fastcms.backups.engine.names import unsafe_reason
from fastcms.content.models import RECORDS_TABLE_PREFIX
from fastcms.media.service import TRASH_NAME, UPLOAD_PREFIX
from fastcms.sqlite import sqlite3


@dataclass(frozen=True)
class FileRow:
    """An uploaded file that the database knows."""

    path: str
    size_bytes: int
    sha256: str


def read_file_rows(snapshot: sqlite3.Connection) -> Iterator[FileRow]:
    for row in snapshot.execute("SELECT path, size_bytes, sha256 FROM files ORDER BY path"):
        yield FileRow(*row)


def read_file_bytes_total(snapshot: sqlite3.Connection) -> int:
    (total,) = snapshot.execute("SELECT coalesce(sum(size_bytes), 0) FROM files").fetchone()
    return int(total)


def has_file_row(database: sqlite3.Connection, path: str) -> bool:
    return database.execute("SELECT 1 FROM files WHERE path = ?", (path,)).fetchone() is not None


def read_schema_revision(snapshot: sqlite3.Connection) -> str:
    (revision,) = snapshot.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(revision)


def count_contents(snapshot: sqlite3.Connection) -> dict[str, int]:
    """How much there is of everything; `records:NAME` counts one collection."""
    counts = {table: _count(snapshot, table) for table in ("accounts", "collections", "files")}
    collections = snapshot.execute("SELECT id, name FROM collections ORDER BY name").fetchall()
    by_name = {name: _count(snapshot, f"{RECORDS_TABLE_PREFIX}{key}") for key, name in collections}
    return (
        counts
        | {"records": sum(by_name.values())}
        | {f"records:{name}": count for name, count in by_name.items()}
    )


def list_files_on_disk(files_dir: Path) -> Iterator[str]:
    """Every regular file below data/files, relative, but for unfinished uploads and deleted files."""
    for folder, folders, names in os.walk(files_dir):
        relative = Path(folder).relative_to(files_dir)
        if relative == Path():
            folders[:] = [name for name in folders if name != TRASH_NAME]
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(UPLOAD_PREFIX) and path.is_file() and not path.is_symlink():
                yield str(relative / name)


def unsafe_name_reason(path: str) -> str | None:
    """Why a file cannot be in a backup that another machine would accept; None when it can."""
    return unsafe_reason(FILES_PREFIX + path)


def _count(snapshot: sqlite3.Connection, table: str) -> int:
    (count,) = snapshot.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - our own table names
    return int(count)
