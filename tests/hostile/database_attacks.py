"""Hostile databases, each grafted into a valid backup, with the code that refuses it."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fastcms.sqlite import sqlite3

DatabaseAttack = Callable[[bytes], bytes]
DATABASE_ATTACKS: list[tuple[str, str, DatabaseAttack]] = []


def run(database: bytes, *statements: str) -> bytes:
    """The database after some SQL; POSTS and AUTHORS stand for the tables of the two collections."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        path.write_bytes(database)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            ids = dict(connection.execute("SELECT name, id FROM collections"))
            for statement in statements:
                for name, key in ids.items():
                    statement = statement.replace(name.upper(), f"records_{key}")  # noqa: PLW2901
                connection.execute(statement)
        return path.read_bytes()


def rewrite_schema(old: str, new: str) -> str:
    return f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}')"


def sql(code: str, name: str, *statements: str) -> None:
    DATABASE_ATTACKS.append((code, name, lambda database: run(database, *statements)))


def patch(code: str, name: str, offset: int, value: bytes) -> None:
    def change(database: bytes) -> bytes:
        return database[:offset] + value + database[offset + len(value) :]

    DATABASE_ATTACKS.append((code, name, change))


WRITABLE = "PRAGMA writable_schema=ON"
STRANGE = "database_schema_strange"

DATABASE_ATTACKS += [
    ("database_not_sqlite", "text", lambda _database: b"no database" * 20),
    ("database_not_sqlite", "empty", lambda _database: b""),
    ("database_size", "half of it is missing", lambda database: database[: len(database) // 2]),
    ("database_size", "bytes behind it", lambda database: database + bytes(4096)),
    ("database_damaged", "a page of nonsense", lambda database: database[:-4096] + b"\xff" * 4096),
    (
        "database_damaged",
        "no page but the first",
        lambda database: database[:4096] + bytes(len(database) - 4096),
    ),
]
patch("database_header", "page size 3", 16, b"\0\3")
patch("database_header", "unknown version", 18, b"\3\3")
patch("database_header", "nearly all of a page reserved", 20, b"\xff" * 1 + b"\1")
patch("database_header", "UTF-16", 56, b"\0\0\0\2")
patch("database_size", "four thousand million pages", 28, b"\xff\xff\xff\xfe")
patch("database_size", "more free pages than pages", 36, b"\xff\xff\xff\xfe")
sql("archive_too_new", "newer schema", "UPDATE alembic_version SET version_num = '9999'")
sql("archive_too_new", "no schema", "DELETE FROM alembic_version")
sql("archive_too_new", "two schemas", "INSERT INTO alembic_version VALUES ('0002')")
sql("database_not_fastcms", "another program's", "DROP TABLE alembic_version")
sql(
    "database_inconsistent",
    "row that refers to a missing one",
    "PRAGMA foreign_keys=OFF",
    "UPDATE POSTS SET f_cover = 'gone'",
)
sql("database_file_path", "file outside", "UPDATE files SET path = '../../etc/passwd'")
sql("database_file_path", "file in a folder", "UPDATE files SET path = 'a/b'")
sql("database_file_path", "hidden file", "UPDATE files SET path = '.upload-x'")
sql("database_file_path", "file whose path is a number", "UPDATE files SET path = X'00ff'")
sql("database_rows_strange", "fields that are no JSON", "UPDATE collections SET fields = '['")
sql(
    "database_rows_strange", "fields nested deeply", "UPDATE collections SET fields = '" + "[" * 100_000 + "'"
)
sql(
    "database_rows_strange",
    "fields of an unknown type",
    """UPDATE collections SET fields = '[{"name":"a","type":"exec"}]'""",
)
sql(
    "database_rows_strange",
    "id with SQL in it",
    "UPDATE collections SET id = 'x\" (a); DROP TABLE accounts; --' WHERE name = 'posts'",
)
sql("database_rows_strange", "id that is no text", "UPDATE collections SET id = X'00' WHERE name = 'posts'")
sql(STRANGE, "trigger", "CREATE TRIGGER t AFTER INSERT ON accounts BEGIN DELETE FROM files; END")
sql(STRANGE, "view", "CREATE VIEW v AS SELECT * FROM accounts")
sql(
    STRANGE,
    "view in place of a table",
    "DROP TABLE login_failures",
    "CREATE VIEW login_failures AS SELECT 1 AS key",
)
sql(STRANGE, "virtual table", "CREATE VIRTUAL TABLE v USING fts5(a)")
sql(STRANGE, "unknown table", "CREATE TABLE more (a)")
for kind in ("table", "index"):
    sql(
        STRANGE,
        f"{kind} whose SQL is no text",
        WRITABLE,
        f"UPDATE sqlite_master SET sql = CAST(sql AS BLOB) WHERE type = '{kind}'",
    )
sql(STRANGE, "records of no collection", "CREATE TABLE records_0123456789abcdef0123 (id TEXT)")
sql(STRANGE, "collection without records", "DROP TABLE POSTS")
sql(STRANGE, "missing table", "DROP TABLE login_failures")
sql(STRANGE, "unknown column", "ALTER TABLE accounts ADD COLUMN more TEXT")
sql(STRANGE, "unknown column of records", "ALTER TABLE POSTS ADD COLUMN f_more TEXT")
sql(STRANGE, "missing column of records", "ALTER TABLE POSTS DROP COLUMN updated")
sql(STRANGE, "column of another type", WRITABLE, rewrite_schema("f_size NUMERIC", "f_size BLOB"))
sql(
    STRANGE,
    "column with a default",
    "ALTER TABLE AUTHORS DROP COLUMN updated",
    "ALTER TABLE AUTHORS ADD COLUMN updated VARCHAR(27) NOT NULL DEFAULT ''",
)
sql(STRANGE, "computed column", WRITABLE, rewrite_schema("f_size NUMERIC", "f_size NUMERIC AS (1)"))
sql(STRANGE, "check", WRITABLE, rewrite_schema("f_size NUMERIC", "f_size NUMERIC CHECK (f_size <> 666)"))
sql(STRANGE, "collation", WRITABLE, rewrite_schema("f_size NUMERIC", "f_size NUMERIC COLLATE NOCASE"))
sql(STRANGE, "comment", WRITABLE, rewrite_schema("f_size NUMERIC", "f_size NUMERIC /* evil */"))
sql(
    STRANGE,
    "without rowid",
    "DROP TABLE login_failures",
    "CREATE TABLE login_failures (key VARCHAR(400) NOT NULL, failures INTEGER NOT NULL, "
    "latest VARCHAR(27) NOT NULL, CONSTRAINT pk_login_failures PRIMARY KEY (key)) WITHOUT ROWID",
)
sql(STRANGE, "foreign key elsewhere", "ALTER TABLE POSTS ADD COLUMN f_more TEXT REFERENCES accounts (id)")
sql(STRANGE, "foreign key that deletes", WRITABLE, rewrite_schema("ON DELETE SET NULL", "ON DELETE CASCADE"))
sql(STRANGE, "unknown index", "CREATE INDEX more ON accounts (created)")
sql(STRANGE, "missing index", "DROP INDEX ix_files_created")
sql(STRANGE, "index on an expression", "CREATE INDEX more ON accounts (lower(email))")
sql(
    STRANGE,
    "index on some rows",
    "DROP INDEX ix_files_created",
    "CREATE INDEX ix_files_created ON files (created, id) WHERE id > ''",
)
sql(
    STRANGE,
    "unique index",
    "DROP INDEX ix_files_created",
    "CREATE UNIQUE INDEX ix_files_created ON files (created, id)",
)
sql(
    STRANGE,
    "index in another order",
    "DROP INDEX ix_files_created",
    "CREATE INDEX ix_files_created ON files (created DESC, id)",
)
sql(
    STRANGE,
    "statistics of another shape",
    "CREATE TABLE x (tbl, idx, stat, more)",
    WRITABLE,
    "UPDATE sqlite_master SET name = 'sqlite_stat1', tbl_name = 'sqlite_stat1', "
    "sql = 'CREATE TABLE sqlite_stat1(tbl, idx, stat, more)' WHERE name = 'x'",
)
sql(
    STRANGE,
    "field of a missing collection",
    "UPDATE collections SET fields = replace(fields, 'authors', 'nobodys')",
)
