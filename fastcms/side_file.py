"""A small database beside app.db: a log or a history, which no restore touches and no backup holds.

Nothing that it holds is needed for a restore. So whoever cannot write it goes on, and says so in the log, and
a damaged one is set aside and begun anew.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastcms.database import utc_now
from fastcms.errors import ConfigError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.site import make_folders
from fastcms.sqlite import sqlite3

_BUSY_TIMEOUT_SECONDS = 10
# Set free again at once, in the file and in its journal: what a full disk has made fail can still be noted.
_RESERVED_BYTES = 256 * 1024
_RESERVED_PAGES = 8
_BEGUN_ANEW = "begun_anew"
# What each of them has, beside its own tables.
_SCHEMA = """
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reserve (content BLOB) STRICT;
"""


@dataclass(frozen=True)
class SideFile:
    """The file at `path`, called `name` in messages; `schema` has the statements that make its own tables.

    On disk: the file and its journal, both with mode 0600, and a lock beside them once it was damaged.
    """

    path: Path
    name: str
    schema: str
    version: int = 1

    def write(self, what: str, change: Callable[[sqlite3.Connection], object]) -> None:
        """Make a change in one transaction, or say in the log why not."""
        try:
            make_folders(self.path.parent)
            try:
                self._change(change)
            except sqlite3.DatabaseError as error:
                if not _is_of_damage(error):
                    raise
                self._set_aside()
                self._change(change)
        except (sqlite3.Error, OSError, ConfigError) as error:
            get_logger().warning(f"The {self.name} could not be written.", what=what, reason=str(error))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The file, to be read. Raises: sqlite3.Error; OSError."""
        # Whoever only looks changes nothing: where there is no file, or no database, it is an empty one.
        with closing(self._open() or self._create(_connect_to(":memory:"))) as database:
            yield database

    def mend(self) -> None:
        """Begin a damaged file anew; the old one is kept. Raises: sqlite3.Error; OSError; ConfigError."""
        if not self._is_sound():
            self._set_aside()

    def find_damaged(self) -> Path | None:
        """The file if it is damaged, or the one in whose place it was begun, while that is still there.

        Raises: sqlite3.Error; OSError.
        """
        if not self._is_sound():
            return self.path
        with self.reading() as database:
            row = database.execute("SELECT value FROM marks WHERE name = ?", [_BEGUN_ANEW]).fetchone()
        kept_path = None if row is None else self.path.with_name(json.loads(row[0]))
        return kept_path if kept_path is not None and kept_path.exists() else None

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        with closing(self._connect()) as database:
            database.execute("BEGIN IMMEDIATE")
            change(database)
            database.execute("COMMIT")
            _reserve(database)

    def _open(self) -> sqlite3.Connection | None:
        """The file, unless there is none or it is no database. Raises: sqlite3.OperationalError; OSError."""
        try:
            return self._connect() if self.path.exists() else None
        except sqlite3.DatabaseError as error:
            if not _is_of_damage(error):
                raise
            return None

    def _is_sound(self) -> bool:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return True
        return _has_passed(self, status.st_ino, status.st_size, status.st_mtime_ns)

    def _set_aside(self) -> None:
        """Begin a damaged file anew, unless another process has done so."""
        with FileLock(self.path.with_name(f".{self.path.stem}_lock")).hold():
            if self._is_sound():
                return
            kept_path = self.path.with_name(f"{self.path.name}.damaged-{utc_now():%Y%m%d_%H%M%S}")
            self.path.replace(kept_path)
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
            get_logger().error(f"The {self.name} is damaged, and begun anew.", kept=str(kept_path))
            with closing(self._connect()) as database:
                database.execute(
                    "INSERT OR REPLACE INTO marks VALUES (?, ?)", [_BEGUN_ANEW, json.dumps(kept_path.name)]
                )

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():  # else it may be on a disk that is read-only by now
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # the journal has the same mode
        database = _connect_to(self.path)
        try:
            # The journal keeps its blocks: see _RESERVED_BYTES.
            database.execute("PRAGMA journal_mode = PERSIST")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version < self.version:
                self._create(database)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _create(self, database: sqlite3.Connection) -> sqlite3.Connection:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version < self.version:  # nobody else was quicker
            for statement in filter(str.strip, (self.schema + _SCHEMA).split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {self.version}")
        database.execute("COMMIT")
        _reserve(database)
        return database


def _is_of_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite has found the file itself to be damaged; all else has a class of its own.

    Source: https://github.com/python/cpython/blob/main/Modules/_sqlite/util.c
    """
    return type(error) is sqlite3.DatabaseError


@lru_cache(maxsize=8)
def _has_passed(file: SideFile, *_state: int) -> bool:
    """Look at every page, anew when the file has changed: with 10,000 backups, the history has 50 MB."""
    try:
        with closing(file._connect()) as database:  # noqa: SLF001 - a method, but for what it remembers
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        if not _is_of_damage(error):
            raise
        return False


def _connect_to(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)


def _reserve(database: sqlite3.Connection) -> None:
    (free_pages,) = database.execute("PRAGMA freelist_count").fetchone()
    if free_pages < _RESERVED_PAGES:
        database.execute("INSERT INTO reserve VALUES (zeroblob(?))", [_RESERVED_BYTES])
        # With zeros in their place, all of its pages are in the journal for once.
        database.execute("PRAGMA secure_delete = ON")
        database.execute("DELETE FROM reserve")
