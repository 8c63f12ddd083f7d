"""Files on their way in: hidden, locked, measured and hashed while written, and then kept or removed.

A crash leaves at most an unlocked `.upload-` file, which the next start removes.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ByteSize

from fastcms.durability import fsync_folder, is_full_disk
from fastcms.errors import ConflictError, NotEnoughSpaceError, TooLargeError

UPLOAD_PREFIX = ".upload-"
HEAD_BYTES = 8192


class IncomingFile:
    """A file on its way into a folder, shown by no listing until it is kept.

    It is locked for as long as it is open, so that `remove_stale_uploads` leaves it alone. Without
    max_size_bytes, only the disk limits it.
    """

    def __init__(self, folder: Path, max_size_bytes: int | None = None) -> None:
        self.size_bytes = 0
        self.head = b""
        self._folder = folder
        self._max_size_bytes = max_size_bytes
        self._hash = hashlib.sha256()
        self._is_kept = False
        self._is_handed_over = False
        with _full_disk_explained(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            self.path, self._descriptor = _open_locked(folder)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append a chunk.

        Raises: TooLargeError; NotEnoughSpaceError.
        """
        self.size_bytes += len(chunk)
        if self._max_size_bytes is not None and self.size_bytes > self._max_size_bytes:
            raise too_large(self._max_size_bytes)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self._hash.update(chunk)
        rest = memoryview(chunk)
        with _full_disk_explained(self._folder):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """Put the bytes on the disk. Raises: NotEnoughSpaceError."""
        with _full_disk_explained(self._folder):
            os.fsync(self._descriptor)

    def keep(self, path: Path) -> None:
        """Give the file its final name, durably. Only for whoever holds the lock on names in this folder.

        Raises: ConflictError when the name is taken; NotEnoughSpaceError.
        """
        with _full_disk_explained(self._folder):
            if path.exists():  # a rename would replace it
                raise ConflictError(f"There is already a file {path}.", hint="Upload it again.")
            self.path.rename(path)
            try:
                fsync_folder(self._folder)
            except BaseException:
                path.unlink()
                raise
        self._is_kept = True

    def hand_over(self) -> "IncomingFile":
        """Give the file to somebody who keeps or closes it later; closing this one then does nothing."""
        heir = copy(self)
        self._is_handed_over = True
        return heir

    def close(self) -> None:
        """Remove what was not kept. Closing ends the lock, so it comes last."""
        if self._is_handed_over:
            return
        try:
            if not self._is_kept:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def fill_incoming(folder: Path, chunks: Generator[bytes]) -> IncomingFile:
    """Write all chunks into a new file of a folder; whoever gets it closes it, or else it is removed.

    Raises: NotEnoughSpaceError; what the chunks raise.
    """
    incoming = IncomingFile(folder)
    try:
        with closing(chunks):
            for chunk in chunks:
                incoming.write(chunk)
    except BaseException:
        incoming.close()
        raise
    return incoming


def too_large(max_size_bytes: int) -> TooLargeError:
    limit = ByteSize(max_size_bytes).human_readable()
    return TooLargeError(
        f"The file is larger than the limit of {limit} ({max_size_bytes} bytes).",
        hint="Upload a smaller file, or raise FASTCMS_MAX_UPLOAD_SIZE.",
    )


def remove_stale_uploads(folder: Path) -> None:
    """Remove what a killed server left half-uploaded; what a running one writes is locked, and stays."""
    for path in folder.glob(f"{UPLOAD_PREFIX}*"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # gone meanwhile, or nothing that an upload makes
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except (BlockingIOError, IsADirectoryError):
            continue
        finally:
            os.close(descriptor)


def _open_locked(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A start of another process may have taken it for stale before it was locked.
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


@contextmanager
def _full_disk_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise NotEnoughSpaceError(
            f"The file does not fit into {folder}: {error.strerror}.",
            hint="Free some space on that disk, then upload again.",
        ) from error
