"""The database: read without changing it or anything beside it, whether a server has it open or not."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from humanize import naturalsize

from fastcms.backups.engine.live import is_live
from fastcms.backups.engine.paths import beside
from fastcms.database import known_revisions
from fastcms.doctor.findings import (
    RESTORE_HINT,
    Finding,
    Subject,
    count,
    name_some,
    note,
    ok,
    problem,
    warning,
)
from fastcms.sqlite import sqlite3

_MAGIC = b"SQLite format 3\x00"


def check_database_file(subject: Subject) -> Iterator[Finding]:
    path = subject.paths.live.database
    if path.is_symlink():
        yield problem(
            "database_is_link",
            f"{path} is a symbolic link to {path.readlink()}: the server does not start with it.",
            "Stop everything that uses it, then move that file, and the -wal beside it, to the link's place.",
        )
    if not path.exists():
        if _is_new(subject):
            yield note("database_new", "There is no database yet: the server makes an empty site")
        else:
            yield problem(
                "database_missing",
                f"{path} is missing.",
                f"Do not start the server: it would begin with an empty site. {RESTORE_HINT}",
            )
    elif _read_magic(path) != _MAGIC:
        yield problem(
            "database_not_sqlite", f"{path} is no SQLite database, or is damaged at its start.", RESTORE_HINT
        )


def check_journals(subject: Subject) -> Iterator[Finding]:
    live = subject.paths.live
    strange = [beside(live.database, "-journal")]
    if live.database.exists() and _read_magic(live.database) == _MAGIC and not is_live(live.database):
        strange.append(live.wal)
        if not live.wal.exists():
            yield note(
                "database_copied", f"{live.database} was put there by hand; the next start takes it over"
            )
    for path in strange:
        if path.exists():
            yield warning(
                "journal_foreign",
                f"{path.name} belongs to another database than app.db.",
                "Start FastCMS: it moves it aside. Open app.db with no other program before: it would mix "
                "the two.",
            )
    kept = sorted(live.database.parent.glob("app.db-*.foreign-*"))
    if kept:
        yield note(
            "journal_kept",
            f"Moved aside, as they belonged to another database: {name_some(path.name for path in kept)}",
            "Delete them once all is well.",
        )


def check_contents(subject: Subject) -> Iterator[Finding]:
    path = subject.paths.live.database
    if not path.exists() or _read_magic(path) != _MAGIC:
        return
    if not _can_be_read_unchanged(subject):
        yield note(
            "database_unchecked",
            f"{path} cannot be read without changing something: app.db-wal has no app.db-shm beside it.",
            "Start the server, then run this again.",
        )
        return
    try:
        with open_unchanged(subject) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                yield problem(
                    "database_damaged", f"{path} is damaged: {_on_one_line(verdict)}.", RESTORE_HINT
                )
                return
            yield from _check_references(connection, path)
            yield from _check_schema(connection, path)
    except sqlite3.DatabaseError as error:
        yield problem("database_damaged", f"{path} cannot be read: {_on_one_line(error)}.", RESTORE_HINT)
        return
    size = sum(part.stat().st_size for part in (path, subject.paths.live.wal) if part.exists())
    yield ok("database", f"The database can be read and is sound ({naturalsize(size)})")


@contextmanager
def open_unchanged(subject: Subject) -> Iterator[sqlite3.Connection]:
    """Open app.db as it is now, latest changes included, so that not even an index is written.

    With a server, SQLite's files are all there, and a reader adds none. Without one, a WAL that a killed
    server left is read with `readonly_shm`; and without a WAL, `immutable` keeps SQLite from making one.
    Source: https://www.sqlite.org/wal.html#read_only_databases
    """
    live = subject.paths.live
    if not live.wal.exists() or not is_live(live.database):
        how = "immutable=1"
    elif subject.is_open:
        how = "mode=ro"
    else:
        how = "mode=ro&readonly_shm=1"
    uri = f"{live.database.absolute().as_uri()}?{how}"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
        for pragma in ("trusted_schema=OFF", "query_only=ON"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def _check_references(connection: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    if orphans:
        table, _row, missing, _key = orphans[0]
        yield problem(
            "database_inconsistent",
            f"In {path}, {count(len(orphans), 'reference')} to missing rows: from {table} to {missing}.",
            RESTORE_HINT,
        )


def _check_schema(connection: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    known = known_revisions()
    try:
        revisions = [name for (name,) in connection.execute("SELECT version_num FROM alembic_version")]
    except sqlite3.OperationalError:  # no such table
        revisions = []
    if not revisions:
        yield problem("database_not_fastcms", f"{path} is not a database of FastCMS.", RESTORE_HINT)
    elif revisions[0] not in known:
        yield problem(
            "schema_too_new",
            f"{path} has schema {revisions[0]}, which this version of FastCMS does not know.",
            "It was written by a newer FastCMS: install that version or a newer one.",
        )
    elif revisions[0] != known[0]:
        yield note(
            "schema_older", f"The database has schema {revisions[0]}; the next start brings it up to date"
        )


def _can_be_read_unchanged(subject: Subject) -> bool:
    live = subject.paths.live
    return not live.wal.exists() or live.shm.exists() or not is_live(live.database)


def _is_new(subject: Subject) -> bool:
    paths = subject.paths
    traces = [paths.live.wal, paths.marker, paths.receipts, *paths.backups_dir.glob("*.zip")]
    has_files = paths.files_dir.is_dir() and any(paths.files_dir.iterdir())
    return not has_files and not any(path.exists() for path in traces)


def _on_one_line(message: object) -> str:
    """SQLite's verdicts have line breaks: '*** in database main ***', then what it is."""
    return " ".join(str(message).split())


def _read_magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_MAGIC))
