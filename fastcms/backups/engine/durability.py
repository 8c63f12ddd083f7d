"""Make what was written survive a power cut.

A file's bytes and its name are two things on disk: without an fsync of the folder, a rename that has
returned can be gone after a power cut on ext4, XFS and btrfs. Source: https://lwn.net/Articles/457667/
"""

import errno
import os
import shutil
from pathlib import Path

from fastcms.errors import NotEnoughSpaceError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
# Left free by every check, so that the site can go on writing.
_SPARE_BYTES = 16 * 1024**2


def fsync_file(path: Path) -> None:
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def publish(partial_path: Path, final_path: Path) -> None:
    """Give a finished file its final name, durably. On disk: the final name is whole, or absent."""
    fsync_file(partial_path)
    partial_path.replace(final_path)
    fsync_folder(final_path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a small file's content in one step. On disk: the old content, or the new."""
    partial_path = path.with_name(f"{path.name}.partial")
    with os.fdopen(os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    publish(partial_path, path)


def append_durably(path: Path, line: bytes) -> None:
    """Add a line to a file, also after one that a power cut left unfinished."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        is_unfinished = size_bytes > 0 and os.pread(file.fileno(), 1, size_bytes - 1) != b"\n"
        file.write(b"\n" + line if is_unfinished else line)
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def require_free_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raise NotEnoughSpaceError, with the numbers, unless the folder's disk can take needed_bytes."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + _SPARE_BYTES:
        raise NotEnoughSpaceError(
            f"{purpose} needs {_megabytes(needed_bytes + _SPARE_BYTES)} MB in {folder}, "
            f"but only {_megabytes(free_bytes)} MB are free.",
            hint="Delete old backups or other files on this disk, then try again.",
        )


def is_full_disk(error: OSError) -> bool:
    return error.errno in _NO_SPACE


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.1f}"


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
