"""Read a site's files for an archive, many small ones at a time."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from fastcms.backups.engine.archive_writer import PackedFile, pack, read_part
from fastcms.backups.engine.file_rows import FileRow
from fastcms.backups.engine.manifest import FILES_PREFIX

# A larger file is read in segments.
_LARGEST_WHOLE_BYTES = 1024**2
# A batch is one task of the pool, and one write.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BATCH_FILES, _BATCH_BYTES = 200, 2 * 1024**2
# Nothing, a link, a socket; or somebody else's.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}


class NotRead(Enum):
    """Why a file was not read whole."""

    LARGE = "large"
    MISSING = "missing"


ReadFile = tuple[FileRow, PackedFile | NotRead]


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Open a folder, below which files are then found without walking the whole path."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield folder
    finally:
        os.close(folder)


def open_regular_file(folder: int, paths: Sequence[str]) -> BinaryIO | None:
    """Open the first of the paths that is a regular file, not following a link; None when none can be.

    A file that is renamed from the first path to the second meanwhile is found at one of the two.
    Raises: OSError when it is not for the file that it cannot be opened: out of descriptors, a broken disk.
    """
    found = _open(folder, paths)
    return None if found is None else open(paths[0], "rb", buffering=0, opener=lambda *_: found[0])


def _open(folder: int, paths: Sequence[str]) -> tuple[int, os.stat_result] | None:
    for path in paths:
        try:
            descriptor = os.open(path, _READ, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            continue
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return descriptor, status
        os.close(descriptor)
    return None


def in_batches(rows: Iterable[FileRow]) -> Iterator[list[FileRow]]:
    """Rows of files that are worth reading together."""
    batch: list[FileRow] = []
    batch_bytes = 0
    for row in rows:
        batch.append(row)
        batch_bytes += row.size_bytes
        if len(batch) == _BATCH_FILES or batch_bytes >= _BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def read_batch(folder: int, trash_name: str, rows: Sequence[FileRow]) -> list[ReadFile]:
    """Read and pack the files of some rows, as far as they are there and not large."""
    return [(row, _read(folder, places_of(row.path, trash_name))) for row in rows]


def places_of(path: str, trash_name: str) -> tuple[str, str, str]:
    """Where a file may be.

    What is deleted meanwhile stays in the trash until the backup has ended; a deletion that fails puts it
    back.
    """
    return path, f"{trash_name}/{path}", path


def _read(folder: int, places: Sequence[str]) -> PackedFile | NotRead:
    found = _open(folder, places)
    if found is None:
        return NotRead.MISSING
    descriptor, status = found
    try:
        if status.st_size > _LARGEST_WHOLE_BYTES:
            return NotRead.LARGE
        # Not with one read: before a bad block, that would just end early.
        content = read_part(descriptor, places[0], 0, status.st_size)
    finally:
        os.close(descriptor)
    return pack(FILES_PREFIX + places[0], content, status.st_mtime)
