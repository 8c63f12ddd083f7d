"""Make what was written survive a power cut. Every file that must not be lost is written through here.

A file's bytes and its name are two things on disk: without an fsync of the folder, a rename that has
returned can be gone after a power cut on ext4, XFS and btrfs. Source: https://lwn.net/Articles/457667/
After an error of fsync, another one may report success for pages that were lost, so the file is thrown away.
Source: https://www.usenix.org/conference/atc20/presentation/rebello

Very many files at once: see `disks.py`.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastcms.errors import NotEnoughSpaceError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Left free by every check, so that the site can go on writing.
SPARE_BYTES = 16 * 1024**2
SPARE_FILES = 100


def partial_path_of(path: Path) -> Path:
    """Where a file is written until it is whole: beside it, hidden from every listing."""
    return path.with_name(f".{path.name.removeprefix('.')}.partial")


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file of mode 0600 beside its name, and give it the name once it is whole and durable.

    On disk: the file that was there before, or the whole new one. After an error nothing is left beside it,
    after a crash its partial file.
    """
    partial_path = partial_path_of(path)
    remove(partial_path)
    descriptor = os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            sync(file)
        partial_path.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            remove(partial_path)
        raise
    fsync_folder(path.parent)


def sync(file: BinaryIO) -> None:
    """Put a file that was written from its beginning on the disk, after a look at its length."""
    file.flush()
    written_bytes, size_bytes = file.seek(0, os.SEEK_CUR), os.fstat(file.fileno()).st_size
    if written_bytes != size_bytes:
        raise OSError(errno.EIO, f"{size_bytes} bytes are there of {written_bytes} written", file.name)
    os.fsync(file.fileno())


def write_durably(path: Path, content: bytes) -> None:
    """Replace a small file's content in one step. On disk: the old content, or the new."""
    with new_file(path) as file:
        file.write(content)


def append_durably(path: Path, line: bytes) -> None:
    """Add a line to a file, also after one that a power cut left unfinished."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        is_unfinished = size_bytes > 0 and os.pread(file.fileno(), 1, size_bytes - 1) != b"\n"
        content = b"\n" + line if is_unfinished else line
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))  # noqa: TRY301 - undone below
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size_bytes)
            raise
    fsync_folder(path.parent)


def fsync_file(path: Path) -> None:
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Space:
    """What something needs on a folder's disk, and what is free there; free_files is None without a limit."""

    folder: Path
    needed_bytes: int
    free_bytes: int
    needed_files: int
    free_files: int | None

    @property
    def is_enough(self) -> bool:
        return self.free_bytes >= self.needed_bytes and self.has_files

    @property
    def has_files(self) -> bool:
        return self.free_files is None or self.free_files >= self.needed_files


def measure_space(folder: Path, content_bytes: int, files: int = 1) -> Space:
    """What so many bytes in so many files need on the folder's disk, with something to spare."""
    disk = os.statvfs(folder)
    return Space(
        folder=folder,
        needed_bytes=content_bytes + files * disk.f_frsize + SPARE_BYTES,  # a last block is rarely full
        free_bytes=disk.f_bavail * disk.f_frsize,
        needed_files=files + SPARE_FILES,
        # Some file systems (btrfs) have no fixed number of files, and say 0.
        free_files=disk.f_favail if disk.f_files else None,
    )


def require_free_space(folder: Path, needed_bytes: int, purpose: str, needed_files: int = 1) -> None:
    """Raise NotEnoughSpaceError, with the numbers, unless the folder's disk can take what is needed."""
    require_space(measure_space(folder, needed_bytes, needed_files), purpose)


def require_space(space: Space, purpose: str) -> None:
    """Raise NotEnoughSpaceError, with the numbers, unless there is enough."""
    if space.free_bytes < space.needed_bytes:
        raise NotEnoughSpaceError(
            f"{purpose} needs {_megabytes(space.needed_bytes)} MB in {space.folder}, "
            f"but only {_megabytes(space.free_bytes)} MB are free.",
            hint="Delete old backups or other files on this disk, then try again.",
        )
    if not space.has_files:
        raise NotEnoughSpaceError(
            f"{purpose} needs {space.needed_files:,} files and folders in {space.folder}, "
            f"but its disk can take only {space.free_files:,} more (it is out of inodes).",
            hint="Delete many small files on this disk, then try again.",
        )


def is_full_disk(error: OSError) -> bool:
    return error.errno in _NO_SPACE


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f}"


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
