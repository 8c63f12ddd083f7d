"""What a snapshot of FastCMS's database says about itself, and which bytes it needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastcms.accounts.schemas import Role, Scope
from fastcms.backups.database_schema import refuse_strange_schema
from fastcms.backups.engine.manifest import FILES_PREFIX
from fastcms.backups.engine.names import unsafe_reason
from fastcms.backups.engine.refusals import unsafe
from fastcms.backups.origin import Newcomers
from fastcms.content.models import RECORDS_TABLE_PREFIX
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


def refuse_strange_contents(database: sqlite3.Connection) -> None:
    """Refuse a database that FastCMS cannot have made, or whose files would lie outside data/files.

    Raises: UnsafeArchiveError.
    """
    refuse_strange_schema(database, read_schema_revision(database))
    for row in read_file_rows(database):
        if not is_upload_path(row.path):
            raise unsafe(
                f"database.db in the backup says that an uploaded file is at {row.path!r}.",
                code="database_file_path",
            )


def is_upload_path(path: object) -> bool:
    """Whether a path is what an upload gets: one portable name."""
    return isinstance(path, str) and path != "" and "/" not in path and unsafe_name_reason(path) is None


def read_file_bytes_total(snapshot: sqlite3.Connection) -> int:
    (total,) = snapshot.execute("SELECT coalesce(sum(size_bytes), 0) FROM files").fetchone()
    return int(total)


def count_file_rows(snapshot: sqlite3.Connection) -> int:
    return _count(snapshot, "files")


def read_schema_revision(snapshot: sqlite3.Connection) -> str:
    (revision,) = snapshot.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(revision)


def read_newcomers(snapshot: sqlite3.Connection) -> Newcomers:
    """Who could do everything on the site that this snapshot holds."""
    accounts = snapshot.execute("SELECT email, role FROM accounts ORDER BY email").fetchall()
    tokens = snapshot.execute("SELECT name, scopes FROM api_tokens ORDER BY name").fetchall()
    return Newcomers(
        admins=[_printable(email) for email, role in accounts if role == Role.ADMIN],
        admin_tokens=[_printable(name) for name, scopes in tokens if Scope.ADMIN in str(scopes).split()],
    )


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


def unsafe_name_reason(path: str) -> str | None:
    """Why a file cannot be in a backup that another machine would accept; None when it can."""
    return unsafe_reason(FILES_PREFIX + path)


def _count(snapshot: sqlite3.Connection, table: str) -> int:
    (count,) = snapshot.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - our own table names
    return int(count)


def _printable(name: object) -> str:
    """A stranger's text is shown in terminals, which would obey what it holds."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(name))
