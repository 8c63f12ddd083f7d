"""Write very many files, or very large ones, and put them on the disk together: without an fsync for each."""

import ctypes
import errno
import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from fastcms.durability import fsync_file, fsync_folder

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
# From here on, syncfs reports what could not be written: https://man7.org/linux/man-pages/man2/syncfs.2.html
_SYNCFS_KERNEL = (5, 8)
# ext2 to ext4, XFS, btrfs, tmpfs (https://man7.org/linux/man-pages/man2/statfs.2.html). On others, such as
# overlayfs and FUSE, an error stays with the file system below, or nothing is written at all.
_SYNCFS_TYPES = {0xEF53, 0x58465342, 0x9123683E, 0x01021994}
_START, _FINISH = 2, 1 | 2 | 4  # SYNC_FILE_RANGE_WRITE; that, and waiting for it
_NO_SYNC_FILE_RANGE = {errno.ENOSYS, errno.EINVAL, errno.ESPIPE}
_STEP_BYTES = 8 * 1024**2
_MOST_BEHIND_BYTES, _MOST_BEHIND_FILES = 2 * _STEP_BYTES, 64
# Smaller files are written sooner by the kernel, all together, than one by one.
_LEAST_BEHIND_BYTES = 64 * 1024


class Disks:
    """The disks that hold some folders, opened before anything is written: then they tell every error."""

    def __init__(self, *folders: Path) -> None:
        self._descriptors: dict[int, int] = {}
        self._folders: list[Path] = []
        for folder in folders:
            if any(folder.is_relative_to(other) for other in self._folders):
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            if not _can_syncfs(descriptor):
                self._folders.append(folder)
            elif self._descriptors.setdefault(os.fstat(descriptor).st_dev, descriptor) == descriptor:
                continue
            os.close(descriptor)

    def sync(self) -> None:
        """Put everything in the folders on the disk: with everything else on it, or else file by file."""
        for descriptor in self._descriptors.values():
            _call("syncfs", descriptor)
        for top in self._folders:
            for folder, _, names in os.walk(top):
                for name in names:
                    fsync_file(Path(folder, name))
                fsync_folder(Path(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)


class WriteBehind:
    """Writes new files, and has the kernel begin to put them on the disk: `Disks.sync` has little left to do.

    Without keeps_memory, what has arrived there is dropped from the page cache: very many files would push
    what the site needs out of it, and pages that have just been freed are the fastest to be had.
    """

    def __init__(self, *, keeps_memory: bool = False) -> None:
        self._keeps_memory = keeps_memory
        self._behind: deque[_Written] = deque()
        self._behind_bytes = 0

    def write_file(
        self, path: Path | str, pieces: Iterable[bytes | memoryview], folder: int | None = None
    ) -> None:
        """Write a new file of mode 0600; folder is the descriptor of the one in which path is."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600, dir_fd=folder)
        start = end = 0
        try:
            for piece in pieces:
                end += len(piece)
                _write_whole(descriptor, piece)
                if end - start >= _STEP_BYTES:
                    self._start(_Written(descriptor, start, end - start, is_last=False))
                    start = end
            if os.fstat(descriptor).st_size != end:
                raise OSError(errno.EIO, f"not all of the {end} bytes written are there", str(path))  # noqa: TRY301 - closed below
        except BaseException:
            self._behind = deque(written for written in self._behind if written.descriptor != descriptor)
            os.close(descriptor)
            raise
        if end < _LEAST_BEHIND_BYTES:
            os.close(descriptor)
        else:
            self._start(_Written(descriptor, start, end - start, is_last=True))

    def _start(self, written: "_Written") -> None:
        self._behind.append(written)
        self._behind_bytes += written.size_bytes
        _sync_file_range(written, _START)
        while self._behind_bytes > _MOST_BEHIND_BYTES or len(self._behind) > _MOST_BEHIND_FILES:
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        written = self._behind[0]
        if not self._keeps_memory:
            _sync_file_range(written, _FINISH)
            if _libc is not None:
                os.posix_fadvise(
                    written.descriptor, written.start, written.size_bytes, os.POSIX_FADV_DONTNEED
                )
        self._behind.popleft()
        self._behind_bytes -= written.size_bytes
        if written.is_last:
            os.close(written.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            while self._behind and kind is None:
                self._finish_oldest()
        finally:
            for written in self._behind:
                if written.is_last:
                    os.close(written.descriptor)


class _Written(NamedTuple):
    """A part of a file; with the last one, the file is closed."""

    descriptor: int
    start: int
    size_bytes: int
    is_last: bool


def _write_whole(descriptor: int, piece: bytes | memoryview) -> None:
    written_bytes = os.write(descriptor, piece)
    while written_bytes < len(piece):
        written_bytes += os.write(descriptor, memoryview(piece)[written_bytes:])


def _can_syncfs(descriptor: int) -> bool:
    """Whether one call puts a whole file system on the disk, and says so truthfully."""
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if _libc is None or version is None or (int(version[1]), int(version[2])) < _SYNCFS_KERNEL:
        return False
    statfs = (ctypes.c_long * 64)()  # f_type is the first of its fields
    _call("fstatfs", descriptor, statfs)
    return statfs[0] in _SYNCFS_TYPES


def _sync_file_range(written: _Written, flags: int) -> None:
    """Begin to write a part of a file, or wait until it is written; it is not durable by that.

    Source: https://man7.org/linux/man-pages/man2/sync_file_range.2.html
    """
    if _libc is None:
        return
    place = ctypes.c_int64(written.start), ctypes.c_int64(written.size_bytes)
    try:
        _call("sync_file_range", written.descriptor, *place, flags)
    except OSError as error:
        if error.errno not in _NO_SYNC_FILE_RANGE:
            raise


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library that Python does not know."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
