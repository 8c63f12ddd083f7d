"""What a snapshot of FastCMS's database says about itself, and which bytes it needs."""

from contextlib import closing

from fastcms.accounts.schemas import Role, Scope
from fastcms.backups.database_schema import refuse_strange_schema
from fastcms.backups.engine.file_rows import is_upload_path
from fastcms.backups.engine.paths import beside
from fastcms.backups.engine.refusals import unsafe
from fastcms.backups.origin import Newcomers
from fastcms.content.models import RECORDS_TABLE_PREFIX
from fastcms.site import Site
from fastcms.sqlite import sqlite3


def refuse_strange_contents(database: sqlite3.Connection) -> None:
    """Refuse a database that FastCMS cannot have made, or whose files would lie outside data/files.

    Raises: UnsafeArchiveError.
    """
    refuse_strange_schema(database, read_schema_revision(database))
    for (path,) in database.execute("SELECT path FROM files"):
        if not is_upload_path(path):
            raise unsafe(
                f"database.db in the backup says that an uploaded file is at {path!r}.",
                code="database_file_path",
            )


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


def count_live_contents(site: Site) -> dict[str, int]:
    """The same of the site as it is now, also where this process has not opened it, and must not.

    Then nothing is written, not even an index: a WAL is read without one, and without a WAL, `immutable`
    keeps SQLite from making it. Where the database is open, this would drop its locks.
    Source: https://www.sqlite.org/wal.html#read_only_databases
    Raises: sqlite3.Error; DBAPIError.
    """
    if site.database.is_open:
        with site.database.read() as session:
            connection = session.connection().connection.driver_connection
            assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - see `database`
            return count_contents(connection)
    path = site.settings.database_path
    how = "mode=ro&readonly_shm=1" if beside(path, "-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        return count_contents(connection)


def _count(snapshot: sqlite3.Connection, table: str) -> int:
    (count,) = snapshot.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - our own table names
    return int(count)


def _printable(name: object) -> str:
    """A stranger's text is shown in terminals, which would obey what it holds."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(name))
