"""Decide whether a database that came out of an archive may be served."""

from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

from fastcms.backups.engine.snapshot import omit_rows, open_snapshot
from fastcms.errors import CorruptArchiveError, UnsafeArchiveError, UnsupportedVersionError
from fastcms.sqlite import sqlite3

_MAGIC = b"SQLite format 3\x00"


CheckContents = Callable[[sqlite3.Connection], None]


def prepare_database(
    path: Path,
    *,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    omit_rows_of: Sequence[str],
) -> None:
    """Check an extracted database whole, and delete the rows that must not come back.

    On disk: one file in rollback-journal mode, without side files.
    Raises: CorruptArchiveError; UnsafeArchiveError; UnsupportedVersionError.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise CorruptArchiveError(
                "database.db in the backup is no SQLite database.", hint="Use another backup."
            )
    try:
        with closing(open_snapshot(path)) as connection:
            _check_schema(connection)
            _check_revision(connection, known_revisions)
            _check_integrity(connection)
            check_contents(connection)
            omit_rows(connection, omit_rows_of)
            # An archive made by hand may hold a WAL-mode database, which could not be told from a live one.
            connection.execute("PRAGMA journal_mode=DELETE")
    except (sqlite3.Error, ValueError) as error:  # ValueError: text that is no UTF-8
        raise CorruptArchiveError(
            f"database.db in the backup is damaged: {error}.", hint="Use another backup."
        ) from error


def _check_schema(connection: sqlite3.Connection) -> None:
    """FastCMS makes tables and indexes only; a trigger or a view would be somebody else's program."""
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind not in ("table", "index") or (sql or "").upper().startswith("CREATE VIRTUAL"):
            raise UnsafeArchiveError(
                f"database.db in the backup holds a {kind} that FastCMS does not make: {name}.",
                hint="Do not trust where this file came from; use another backup.",
            )


def _check_revision(connection: sqlite3.Connection, known_revisions: Collection[str]) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        raise CorruptArchiveError(
            "database.db in the backup is not a database of FastCMS: it has no schema version.",
            hint="Use another backup.",
        )
    revisions = [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    if len(revisions) != 1 or revisions[0] not in known_revisions:
        raise UnsupportedVersionError(
            f"The backup's schema {', '.join(map(str, revisions)) or '(none)'} is not known to this FastCMS.",
            hint="It was made by a newer FastCMS: install that version, then restore.",
        )


def _check_integrity(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptArchiveError(
            f"database.db in the backup is damaged: {verdict}.", hint="Use another backup."
        )
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        raise CorruptArchiveError(
            f"database.db in the backup is inconsistent: {orphan[0]} refers to a missing row of {orphan[2]}.",
            hint="Use another backup.",
        )
