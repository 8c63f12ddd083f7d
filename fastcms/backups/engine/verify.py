"""Decide whether a database that came out of an archive may be served.

Source: https://www.sqlite.org/security.html
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from fastcms.backups.engine.database_header import check_header
from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.snapshot import KeepGoing, asking, omit_rows, open_snapshot
from fastcms.errors import NotEnoughSpaceError, UnsupportedVersionError
from fastcms.sqlite import sqlite3

CheckContents = Callable[[Path], None]

# About a hundred thousand tables and indexes, which SQLite takes 15 seconds to read.
_SCHEMA_STEPS = 1_500_000
_STEPS_BETWEEN_LOOKS = 10_000
# The disk's fault, not the archive's.
_DISK_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE")


def prepare_database(
    path: Path,
    *,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    omit_rows_of: Sequence[str],
    keep_going: KeepGoing = lambda: None,
) -> None:
    """Check an extracted database whole, and delete the rows that must not come back.

    On disk: one file in rollback-journal mode, without side files.
    Raises: CorruptArchiveError; UnsafeArchiveError; UnsupportedVersionError; NotEnoughSpaceError; what the
    callbacks raise.
    """
    check_database(
        path, known_revisions=known_revisions, check_contents=check_contents, keep_going=keep_going
    )
    with _damage_explained(path), closing(open_snapshot(path)) as connection:
        omit_rows(connection, omit_rows_of)
        # An archive made by hand may hold a WAL-mode database, which could not be told from a live one.
        connection.execute("PRAGMA journal_mode=DELETE")


def check_database(
    path: Path,
    *,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    keep_going: KeepGoing = lambda: None,
) -> None:
    """Check a database that stands alone, with no journal beside it; nothing is changed or created.

    check_contents gets its path, opens it with `open_unchanged`, and raises an ArchiveError for what must not
    be served. keep_going is asked now and then, and raises to end the check.
    Raises: CorruptArchiveError; UnsafeArchiveError; UnsupportedVersionError; what the callbacks raise.
    """
    # Before the integrity check, which would run what a strange schema has in its constraints.
    check_kind(path, known_revisions=known_revisions, check_contents=check_contents)
    keep_going()
    with open_unchanged(path) as connection:
        _check_integrity(connection, keep_going)


def check_kind(path: Path, *, known_revisions: Collection[str], check_contents: CheckContents) -> None:
    """Check that it is a database of FastCMS, which may be read. Whether every page is sound is not asked.

    Raises: CorruptArchiveError; UnsafeArchiveError; UnsupportedVersionError; what check_contents raises.
    """
    check_header(path)
    with open_unchanged(path) as connection:
        _check_schema(connection)
        _check_revision(connection, known_revisions)
    check_contents(path)


@contextmanager
def open_unchanged(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database so that neither it nor anything beside it is written, whatever it holds.

    Raises: CorruptArchiveError instead of any error of SQLite's.
    """
    # immutable: a database in WAL mode would otherwise get a journal beside it.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with _damage_explained(path), closing(sqlite3.connect(uri, uri=True)) as connection:
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "query_only=ON"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:  # ValueError: text that is no UTF-8
        if getattr(error, "sqlite_errorname", "") in _DISK_FULL:
            raise NotEnoughSpaceError(
                f"The disk filled up while {path} was being prepared: {error}.",
                hint="Delete old backups or other files on this disk, then try again.",
            ) from error
        # What SQLite says may quote what is damaged: half characters, and a great many of them.
        reason = str(error)[:200].encode(errors="replace").decode()
        raise corrupt(f"database.db in the backup is damaged: {reason}.", code="database_damaged") from error


def _check_schema(connection: sqlite3.Connection) -> None:
    """FastCMS makes tables and indexes only; a trigger or a view would be somebody else's program."""
    looks = iter(range(_SCHEMA_STEPS // _STEPS_BETWEEN_LOOKS))
    # SQLite reads the whole schema at the first statement, however long it is.
    connection.set_progress_handler(lambda: next(looks, None) is None, _STEPS_BETWEEN_LOOKS)
    try:
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
            is_text = isinstance(sql, str | None)  # a stranger may store anything there
            if (
                kind not in ("table", "index")
                or not is_text
                or (sql or "").upper().startswith("CREATE VIRTUAL")
            ):
                raise unsafe(
                    f"database.db in the backup holds a {kind} that FastCMS does not make: {name!r}.",
                    code="database_schema_strange",
                )
    except sqlite3.OperationalError as error:
        # Errors of the driver itself, such as text that is no UTF-8, have no name.
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        raise unsafe(
            "database.db in the backup has more tables and indexes than FastCMS can read.",
            code="database_schema_too_large",
        ) from error
    finally:
        connection.set_progress_handler(None, 0)


def _check_revision(connection: sqlite3.Connection, known_revisions: Collection[str]) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        raise corrupt(
            "database.db in the backup is not a database of FastCMS: it has no schema version.",
            code="database_not_fastcms",
        )
    revisions = [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    if len(revisions) != 1 or revisions[0] not in known_revisions:
        raise UnsupportedVersionError(
            f"database.db in the backup has schema {', '.join(map(str, revisions)) or '(none)'}, "
            "which this FastCMS does not know.",
            hint="It was made by a newer FastCMS: install that version, then restore.",
        )


def _check_integrity(connection: sqlite3.Connection, keep_going: KeepGoing) -> None:
    with asking(connection, keep_going):
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        orphan = connection.execute("PRAGMA foreign_key_check").fetchone() if verdict == "ok" else None
    if verdict != "ok":
        raise corrupt(f"database.db in the backup is damaged: {verdict}.", code="database_damaged")
    if orphan is not None:
        raise corrupt(
            f"database.db in the backup is inconsistent: {orphan[0]} refers to a missing row of {orphan[2]}.",
            code="database_inconsistent",
        )
