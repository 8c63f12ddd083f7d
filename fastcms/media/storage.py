"""Files on the disk: how they come in, and how they go.

`files/<path>` holds the bytes of a row, `files/.upload-<random>` what is still coming in, and
`files/.trash/<path>` what was deleted. Both renames are done with the database's write lock in hand, so that
whoever holds it sees files and rows agree. A crash leaves at most: an unlocked `.upload-` file, which the
next start removes; a file in the trash that still has its row, which the next start puts back; a stored
file without a row, which harms nothing.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ByteSize

from fastcms.durability import fsync_folder, is_full_disk
from fastcms.errors import ConflictError, NotEnoughSpaceError, TooLargeError
from fastcms.media.content_types import HEAD_BYTES

UPLOAD_PREFIX = ".upload-"
TRASH_NAME = ".trash"
# Held by a backup while it may still need deleted files; shared, for a moment, by whoever removes some.
# Not the lock of backups itself: a deletion must not make a backup look busy.
TRASH_LOCK_NAME = ".trash_lock"


class IncomingFile:
    """A file on its way in: measured and hashed while it is written, shown by no listing until it is kept.

    It is locked for as long as it is open, so that `remove_stale_uploads` leaves it alone.
    """

    def __init__(self, files_dir: Path, max_size_bytes: int) -> None:
        self.size_bytes = 0
        self.head = b""
        self._files_dir = files_dir
        self._max_size_bytes = max_size_bytes
        self._hash = hashlib.sha256()
        with _full_disk_explained(files_dir):
            files_dir.mkdir(mode=0o700, exist_ok=True)
            self._path, self._descriptor = _open_locked(files_dir)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append a chunk.

        Raises: TooLargeError; NotEnoughSpaceError.
        """
        self.size_bytes += len(chunk)
        if self.size_bytes > self._max_size_bytes:
            raise too_large(self._max_size_bytes)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self._hash.update(chunk)
        rest = memoryview(chunk)
        with _full_disk_explained(self._files_dir):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """Put the bytes on the disk. Raises: NotEnoughSpaceError."""
        with _full_disk_explained(self._files_dir):
            os.fsync(self._descriptor)

    def keep(self, path: Path) -> None:
        """Give the file its final name, durably. Only for whoever holds the database's write lock.

        Raises: ConflictError when the name is taken; NotEnoughSpaceError.
        """
        with _full_disk_explained(self._files_dir):
            if path.exists():  # a rename would replace it
                raise ConflictError(f"There is already a file {path}.", hint="Upload it again.")
            self._path.rename(path)
            try:
                fsync_folder(self._files_dir)
            except BaseException:
                path.unlink()
                raise

    def close(self) -> None:
        """Remove what was not kept. Closing ends the lock, so it comes last."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def too_large(max_size_bytes: int) -> TooLargeError:
    limit = ByteSize(max_size_bytes).human_readable()
    return TooLargeError(
        f"The file is larger than the limit of {limit} ({max_size_bytes} bytes).",
        hint="Upload a smaller file, or raise FASTCMS_MAX_UPLOAD_SIZE.",
    )


def remove_stale_uploads(files_dir: Path) -> None:
    """Remove what a killed server left half-uploaded; what a running one writes is locked, and stays."""
    for path in files_dir.glob(f"{UPLOAD_PREFIX}*"):
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


def move_to_trash(files_dir: Path, path: str) -> None:
    """Rename a deleted file out of the way; at every moment its bytes are in one of the two places."""
    trash = files_dir / TRASH_NAME
    trash.mkdir(mode=0o700, exist_ok=True)
    (files_dir / path).rename(trash / path)


def take_from_trash(files_dir: Path, path: str) -> None:
    """Put a file back that was not deleted after all."""
    (files_dir / TRASH_NAME / path).rename(files_dir / path)


def list_trash(files_dir: Path) -> list[str]:
    trash = files_dir / TRASH_NAME
    return [path.name for path in trash.iterdir() if path.is_file()] if trash.is_dir() else []


def remove_from_trash(files_dir: Path, path: str) -> None:
    (files_dir / TRASH_NAME / path).unlink(missing_ok=True)


def list_files_on_disk(files_dir: Path) -> Iterator[str]:
    """Every regular file below data/files, relative, but for unfinished uploads and deleted files."""

    def fail(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that cannot be read

    for folder, folders, names in os.walk(files_dir, onerror=fail):
        relative = Path(folder).relative_to(files_dir)
        if relative == Path():
            folders[:] = [name for name in folders if name != TRASH_NAME]
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(UPLOAD_PREFIX) and path.is_file() and not path.is_symlink():
                yield str(relative / name)


def _open_locked(files_dir: Path) -> tuple[Path, int]:
    while True:
        path = files_dir / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A start of another process may have taken it for stale before it was locked.
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


@contextmanager
def _full_disk_explained(files_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise NotEnoughSpaceError(
            f"The file does not fit into {files_dir}: {error.strerror}.",
            hint="Free some space on that disk, then upload again.",
        ) from error
