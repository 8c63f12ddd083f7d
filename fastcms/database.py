"""The database: one SQLite file in WAL mode, its transactions, and its schema version.

Nothing is opened at import. A `Database` connects at its first transaction, because a pending restore has to
be applied before any connection exists (opening a missing app.db would delete its WAL).
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Session

from fastcms.errors import SchemaTooNewError
from fastcms.sqlite import sqlite3

_MIGRATIONS_DIR = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_SECONDS = 30


class Base(DeclarativeBase):
    """Base of every mapped class; the naming convention lets Alembic name constraints."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, stored as fixed-width ISO text so that text order is time order."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> str | None:
        return None if value is None else format_utc(value)

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


def format_utc(value: datetime) -> str:
    """Format an aware datetime as 2025-01-15T10:00:00.000000Z."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    """A random 80-bit id, 20 hex characters."""
    return secrets.token_hex(10)


class Database:
    """Transactions on one SQLite file.

    `read()` is a consistent view that never waits; `write()` takes the write lock at its start, so that a
    transaction cannot fail half-way with 'database is locked', and commits at its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sa.create_engine(
            # Not a string: a "?" or "%41" in the path would be read as part of a URL.
            sa.URL.create("sqlite", database=str(path)),
            module=sqlite3,
            poolclass=sa.QueuePool,
            # SQLite closes its WAL with the last connection: keep a few open, never refuse one.
            pool_size=8,
            max_overflow=64,
            connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        sa.event.listen(self._engine, "connect", _prepare_connection)
        sa.event.listen(self._engine, "begin", _begin)
        self._write_engine = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        self._writing = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with (
            self._in_turn(),
            Session(self._write_engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.connection()  # begins now, not at the first statement
            yield session

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let the threads of this process write one after the other.

        SQLite's lock has no queue: whoever finds it taken sleeps for up to 100 ms, then tries again. Other
        processes still have to; after the time-out it is SQLite that says so.
        Source: https://github.com/sqlite/sqlite/blob/master/src/main.c (sqliteDefaultBusyCallback)
        """
        has_turn = self._writing.acquire(timeout=_BUSY_TIMEOUT_SECONDS)
        try:
            yield
        finally:
            if has_turn:
                self._writing.release()

    def migrate(self) -> None:
        """Bring the schema to this version's, in one transaction: all of it, or none.

        Raises: SchemaTooNewError.
        """
        with self._write_engine.begin() as connection:
            current, known = _read_revision(connection), known_revisions()
            if current == known[0]:
                return  # most starts end here, a fifth of a command's time earlier than with Alembic
            if current is not None and current not in known:
                raise SchemaTooNewError(
                    f"{self.path} has schema {current}, which this version of FastCMS does not know.",
                    hint="It was written by a newer FastCMS: install that version or a newer one.",
                )
            upgrade_schema(connection, "head")

    @property
    def is_open(self) -> bool:
        """Whether this process has the file open."""
        pool = self._engine.pool
        assert isinstance(pool, sa.QueuePool)  # noqa: S101 - see above
        return pool.checkedin() + pool.checkedout() > 0

    def close(self) -> None:
        """Close every connection; SQLite then checkpoints and removes the WAL."""
        self._engine.dispose()


def upgrade_schema(connection: sa.Connection, revision: str) -> None:
    """Run the migrations up to a revision, in the connection's transaction."""
    from alembic import command  # noqa: PLC0415 - see migrate
    from alembic.config import Config  # noqa: PLC0415 - see migrate

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS_DIR))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def known_revisions() -> list[str]:
    """Every schema revision this version can read, newest first; the migrations are named after them."""
    files = (_MIGRATIONS_DIR / "versions").glob("*.py")
    return sorted((path.name.partition("_")[0] for path in files), reverse=True)


def _read_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _prepare_connection(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy, not the driver, decides where transactions begin
    cursor = connection.cursor()
    # WAL: readers and the backup never block the writer. FULL: in WAL mode NORMAL loses the latest commits
    # in a power cut (https://www.sqlite.org/pragma.html#pragma_synchronous).
    # secure_delete: what was deleted is overwritten in the pages that are written anyway; no backup has it.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=FAST",
        "foreign_keys=ON",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
