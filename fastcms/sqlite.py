"""The one SQLite of this process.

The interpreter's own module is linked with whatever SQLite the system has (Debian 12: 3.40.1), and every
release from 3.7.0 to 3.51.2 can corrupt a WAL database when a checkpoint meets a commit
(https://www.sqlite.org/wal.html#walresetbug). The pysqlite3 wheel carries a newer one. Two copies of SQLite
in one process would drop each other's POSIX locks (https://www.sqlite.org/howtocorrupt.html, 2.2.1), so
everything, SQLAlchemy included, takes it from here; a lint rule forbids `import sqlite3`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3  # noqa: TID251 - the same interface, and the only one with type information
else:
    from pysqlite3 import dbapi2 as sqlite3

__all__ = ["sqlite3"]
