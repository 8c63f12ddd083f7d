"""The one SQLite of this process.

The interpreter's own module is linked with whatever SQLite the system has (Debian 12: 3.40.1), and every
release from 3.7.0 to 3.51.2 can corrupt a WAL database when a checkpoint meets a commit
(https://www.sqlite.org/wal.html#walresetbug). The pysqlite3 wheel carries a newer one. Two copies of SQLite
in one process would drop each other's POSIX locks (https://www.sqlite.org/howtocorrupt.html, 2.2.1), so
everything, SQLAlchemy included, takes it from here; a lint rule forbids `import sqlite3`. Where there is no
such wheel (Linux on ARM, so far) the interpreter's module serves, and start-up warns of its SQLite.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3  # noqa: TID251 - the same interface, and the only one with type information
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ImportError:
        import sqlite3  # noqa: TID251 - no wheel for this machine

__all__ = ["WITHOUT_WAL_RESET_BUG", "sqlite3"]

WITHOUT_WAL_RESET_BUG = (3, 51, 3)
