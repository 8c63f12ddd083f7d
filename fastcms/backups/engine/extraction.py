"""Unpack an archive with several threads, comparing every byte with its checksums.

Nearly all of the work is done by the kernel and in C, where other threads can go on meanwhile: hashing,
inflating, writing. One thread has the database, which takes longest and is used as soon as it is there; the
others have the files, batch by batch.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from fastcms.backups.engine.archive_reader import CheckedArchive
from fastcms.backups.engine.manifest import DATABASE_NAME, FILES_PREFIX
from fastcms.backups.engine.progress import OnProgress, Work
from fastcms.backups.engine.zip_content import Piece, Window, read_checked
from fastcms.disks import WriteBehind

_THREADS = 3  # for the database; for what else there is to do; for the files
_BATCH_BYTES = 8 * 1024**2
_BATCH_ENTRIES = 500

# Calls Work.add now and then, at least with 0: it raises when the thread is to end.
Job = Callable[[Work], None]


def extract_archive(
    archive: CheckedArchive,
    *,
    database_path: Path | None,
    files_dir: Path | None,
    on_progress: OnProgress,
    then: Job | None = None,
    meanwhile: Job | None = None,
) -> None:
    """Unpack the database and the files to where they are wanted, comparing every entry with its SHA-256.

    What is wanted nowhere is read and compared, but not written. `then` is called in a thread of its own once
    the database is there, `meanwhile` at the beginning; on_progress in any thread, one at a time.
    On disk: nothing is durable yet, see `disks.Disks`; after an error, an incomplete target, which the
    caller removes.
    Raises: CorruptArchiveError; UnsafeArchiveError; OSError; what the callbacks raise.
    """
    with ExitStack() as stack:
        folder = None
        if files_dir is not None:
            files_dir.mkdir(mode=0o700, exist_ok=True)
            folder = os.open(files_dir, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, folder)
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
        # Inside the pool, so that its threads are told to end before they are waited for.
        work = stack.enter_context(Work(on_progress))
        work.total_bytes = archive.total_bytes
        work.begin("extracting")
        unpacking = _Unpacking(archive, folder, work)
        futures = [
            pool.submit(unpacking.run_database, database_path, then),
            pool.submit(unpacking.run_files, meanwhile),
            *(pool.submit(unpacking.run_files) for _ in range(_THREADS - 2)),
        ]
        for future in as_completed(futures):
            future.result()
        work.begin_last("extracting")


class _Unpacking:
    """The entries of an archive on their way to a folder, or only past their checksums."""

    def __init__(self, archive: CheckedArchive, folder: int | None, work: Work) -> None:
        self._archive = archive
        self._folder = folder
        self._work = work
        self._batches = deque(_make_batches(archive))

    def run_database(self, path: Path | None, then: Job | None) -> None:
        """A thread: unpack the database, let it be used, then help with the files."""
        content = self._read(Window(self._archive.descriptor), self._archive.names.index(DATABASE_NAME))
        if path is None:
            _exhaust(content)
        else:
            # Its memory is kept, as it is about to be read. Closed before that: closing would end locks.
            with WriteBehind(keeps_memory=True) as written:
                written.write_file(path, content)
        self.run_files(then)

    def run_files(self, first: Job | None = None) -> None:
        """A thread: do something else first, then unpack batches of entries until there are none."""
        if first is not None:
            first(self._work)
        window = Window(self._archive.descriptor)
        with WriteBehind() as written:
            while batch := self._next_batch():
                for index in batch:
                    self._unpack(window, index, written)

    def _next_batch(self) -> range | None:
        try:
            return self._batches.popleft()
        except IndexError:
            return None

    def _unpack(self, window: Window, index: int, written: WriteBehind) -> None:
        name = self._archive.names[index]
        if name == DATABASE_NAME:
            return
        path = name.removeprefix(FILES_PREFIX)
        is_wanted = self._folder is not None and path != name
        if name.endswith("/"):
            if is_wanted and path:
                self._make_folder(path[:-1])
        elif is_wanted:
            self._write_file(path, window, index, written)
        else:
            _exhaust(self._read(window, index))

    def _write_file(self, path: str, window: Window, index: int, written: WriteBehind) -> None:
        try:
            written.write_file(path, self._read(window, index), self._folder)
        except FileNotFoundError:  # before anything was read
            self._make_folder(path.rpartition("/")[0])
            written.write_file(path, self._read(window, index), self._folder)

    def _make_folder(self, path: str) -> None:
        """Make a folder and those around it, unless another thread or entry has made it."""
        try:
            os.mkdir(path, 0o700, dir_fd=self._folder)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_folder(path.rpartition("/")[0])
            self._make_folder(path)

    def _read(self, window: Window, index: int) -> Iterator[Piece]:
        """The content of an entry in pieces, each good until the next; raises when its SHA-256 is another."""
        for piece in read_checked(window, *self._archive.read_row(index)):
            yield piece
            self._work.add(len(piece))


def _make_batches(archive: CheckedArchive) -> Iterator[range]:
    """All entries in portions that are worth a thread's while, without one that takes very long."""
    start = size_bytes = 0
    for index in range(len(archive.names)):
        size_bytes += archive.size_of(index)
        if size_bytes >= _BATCH_BYTES or index - start >= _BATCH_ENTRIES:
            yield range(start, index + 1)
            start, size_bytes = index + 1, 0
    if start < len(archive.names):
        yield range(start, len(archive.names))


def _exhaust(pieces: Iterator[Piece]) -> None:
    for _ in pieces:
        pass
