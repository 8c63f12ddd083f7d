"""Copy a live database as one consistent file, at the speed of the kernel.

Nobody waits: the copy is made while others write. It relies on how SQLite's WAL works:

1. A read transaction is open from before the database file is copied until after. For its sake, checkpoints
   write no page into the file but those of frames that stay in the WAL (or none at all, when the transaction
   needs no frame of the WAL), and no frame that it needs is overwritten. So a page of the copy is right, or
   it is in the WAL.
2. The WAL is copied afterwards. From one start of the WAL to the next, frames that are committed stay as they
   are; each start changes the salt in its header before any frame. So if the header is the same before and
   after, the copy begins as one WAL does; otherwise it is copied again. Frames that are not committed may be
   written over while they are copied. But each frame's checksum goes on from the one before, so SQLite leaves
   out such an end, torn or mixed, as after a crash.

SQLite then recovers the copy just as it recovers a database after a crash.
Source: https://www.sqlite.org/walformat.html, sections 2.3, 4.3 and 4.5
"""

import errno
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from fastcms.backups.engine.paths import beside
from fastcms.durability import is_full_disk, remove
from fastcms.errors import NotEnoughSpaceError, SnapshotError
from fastcms.sqlite import sqlite3

_BUSY_SECONDS = 30
_STEP_BYTES = 32 * 1024**2
_BUFFER_BYTES = 1024**2
# Two file systems; one that cannot; a kernel that cannot, or a container that does not let it.
_NOT_BY_KERNEL = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM}
_WAL_HEADER_BYTES = 32
_STEPS_BETWEEN_QUESTIONS = 1_000_000  # some hundredths of a second
# Offsets in a database's header: the size of a page, the first page of the list of free ones.
_PAGE_SIZE_AT, _FREE_LIST_AT = 16, 32

KeepGoing = Callable[[], None]


def write_snapshot(
    database_path: Path,
    target_path: Path,
    *,
    omit_rows_of: Sequence[str] = (),
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Copy a live SQLite database to target_path, without the rows of some tables.

    The copy is in rollback-journal mode (header bytes 18 and 19 are 1), so that it stands alone and can be
    told from a live database.

    Only for a process that has no other connection to the database: closing the file, as this does, drops all
    locks that the process has on it (https://www.sqlite.org/howtocorrupt.html, 2.2).

    On disk: target_path is complete, or absent. It is not fsynced: the archive made from it is.
    Raises: SnapshotError; NotEnoughSpaceError.
    """
    try:
        with _explained(database_path, target_path.parent):
            _copy_live(database_path, target_path, on_bytes)
            with closing(open_snapshot(target_path)) as snapshot:
                # Nobody needs this copy after a crash, and nobody else opens it.
                for pragma in ("synchronous=OFF", "locking_mode=EXCLUSIVE", "journal_mode=MEMORY"):
                    snapshot.execute(f"PRAGMA {pragma}")
                omit_rows(snapshot, omit_rows_of)
    except BaseException:
        _discard(target_path)
        raise


def check_snapshot(path: Path, database_path: Path, *, keep_going: KeepGoing = lambda: None) -> None:
    """Find damage on the day of the backup, not on the day of the restore; then clear pages not in use.

    keep_going is asked now and then, and raises to end the check.

    Raises: SnapshotError when the database is damaged; what keep_going raises.
    """
    with _explained(database_path, path.parent):
        with closing(open_snapshot(path)) as snapshot, asking(snapshot, keep_going):
            (verdict,) = snapshot.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {verdict}")
    _clear_free_pages(path)


def open_snapshot(path: Path) -> sqlite3.Connection:
    """Open a database file that nobody else has open, without trusting what is in its schema.

    Source: https://www.sqlite.org/security.html
    """
    connection = sqlite3.connect(f"file:{_quote(path)}?mode=rw", uri=True, isolation_level=None)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def asking(connection: sqlite3.Connection, keep_going: KeepGoing) -> Iterator[None]:
    """Ask keep_going while SQLite works; what it raises ends the statement, and is raised in its place."""
    raised: list[BaseException] = []

    def look() -> bool:
        try:
            if not raised:
                keep_going()
        except BaseException as error:  # noqa: BLE001 - raised below: SQLite lets no error through
            raised.append(error)
        return bool(raised)

    connection.set_progress_handler(look, _STEPS_BETWEEN_QUESTIONS)
    try:
        yield
    except sqlite3.Error:
        if not raised:
            raise
    finally:
        connection.set_progress_handler(None, 0)
    if raised:
        raise raised[0]


def omit_rows(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Delete all rows of some tables, and overwrite their bytes."""
    connection.execute("PRAGMA secure_delete=ON")
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in tables:
        if table in present:
            connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - the caller's constant


def _copy_live(database_path: Path, target_path: Path, on_bytes: Callable[[int], None]) -> None:
    # mode=rw: opening must not create a database that is missing.
    uri = f"file:{_quote(database_path)}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM sqlite_master").fetchone()
        with database_path.open("rb", buffering=0) as database:
            _copy_file(database, target_path, on_bytes)
            _copy_wal(beside(database_path, "-wal"), beside(target_path, "-wal"), on_bytes)
            reader.close()  # before the file: see above


def _copy_wal(wal_path: Path, target_path: Path, on_bytes: Callable[[int], None]) -> None:
    # Somebody has taken the database out of WAL mode; then the reader keeps writers out.
    if not wal_path.exists():
        return
    with wal_path.open("rb", buffering=0) as wal:
        while True:
            header = os.pread(wal.fileno(), _WAL_HEADER_BYTES, 0)
            _copy_file(wal, target_path, on_bytes)
            if os.pread(wal.fileno(), _WAL_HEADER_BYTES, 0) == header:
                return


def _copy_file(source: io.FileIO, target_path: Path, on_bytes: Callable[[int], None]) -> None:
    """Copy a file as long as it is now."""
    remove(target_path)
    offset, end = 0, os.fstat(source.fileno()).st_size
    with os.fdopen(os.open(target_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", 0) as target:
        while offset < end:
            copied_bytes = _copy_range(source, target, offset, min(end - offset, _STEP_BYTES))
            if not copied_bytes:  # the WAL has become shorter; its header tells
                break
            offset += copied_bytes
            on_bytes(copied_bytes)


def _copy_range(source: io.FileIO, target: io.FileIO, offset: int, size_bytes: int) -> int:
    """Let the kernel copy, or only share, the bytes; between file systems it may not."""
    if hasattr(os, "copy_file_range"):  # macOS has none
        try:
            return os.copy_file_range(source.fileno(), target.fileno(), size_bytes, offset)
        except OSError as error:
            if error.errno not in _NOT_BY_KERNEL:
                raise
    return target.write(os.pread(source.fileno(), min(size_bytes, _BUFFER_BYTES), offset))


def _clear_free_pages(path: Path) -> None:
    """Fill with zeros the pages that a sound database keeps for later, and never reads.

    Source: https://www.sqlite.org/fileformat2.html#the_freelist
    """
    with path.open("r+b", buffering=0) as file:
        header = os.pread(file.fileno(), _FREE_LIST_AT + 4, 0)
        page_bytes = _number(header, _PAGE_SIZE_AT, 2)
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        trunk = _number(header, _FREE_LIST_AT, 4)
        while trunk:
            page = os.pread(file.fileno(), page_bytes, (trunk - 1) * page_bytes)
            for index in range(_number(page, 4, 4)):
                leaf = _number(page, 8 + 4 * index, 4)
                os.pwrite(file.fileno(), bytes(page_bytes), (leaf - 1) * page_bytes)
            trunk = _number(page, 0, 4)


def _number(content: bytes, offset: int, size: int) -> int:
    return int.from_bytes(content[offset : offset + size], "big")


@contextmanager
def _explained(database_path: Path, target_dir: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise NotEnoughSpaceError(
                f"The disk filled up while copying {database_path} to {target_dir}: {error}.",
                hint="Delete old backups or other files on this disk, then try again.",
            ) from error
        raise SnapshotError(
            f"{database_path} could not be copied: {error}.",
            hint="If it says 'malformed', the database is damaged: restore the newest backup.",
        ) from error
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise NotEnoughSpaceError(
            f"The disk filled up while copying {database_path} to {target_dir}: {error.strerror}.",
            hint="Delete old backups or other files on this disk, then try again.",
        ) from error


def _discard(path: Path) -> None:
    with suppress(OSError):  # the first error is the one to report
        for suffix in ("", "-journal", "-wal", "-shm"):
            remove(beside(path, suffix))


def _quote(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
