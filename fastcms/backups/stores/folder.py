"""A store that is a folder of this machine: a second disk, or a drive of the network that is mounted.

On disk: an object is written beside its name as `.NAME.TOKEN.partial`, fsynced, and then given its name, if
nothing else has it. Only files that have their names are listed; what a crash has left of a backup is
removed by a later put, when nothing was written into it for a day.
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from itertools import chain, islice
from pathlib import Path

from fastcms.backups.stores.base import (
    CHUNK_BYTES,
    MOST_OBJECTS,
    PutResult,
    StoredObject,
    check_store,
    exactly,
    is_usable,
    missing_object,
    require_few,
    require_name,
)
from fastcms.durability import fsync_folder, is_full_disk, sync
from fastcms.errors import (
    StoreDeniedError,
    StoredObjectChangedError,
    StoreError,
    StoreFullError,
    StoreMissingError,
    StoreUnreachableError,
)

_ABANDONED_SECONDS = 86_400
_PARTIALS = (".backup_*.partial", ".fastcms-check-*.partial")
# What a drive answers that knows no hard links.
_WITHOUT_LINKS = {errno.EACCES, errno.EINVAL, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
# What a drive of the network answers when the other machine is away.
_AWAY = {
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


class FolderStore:
    """Objects are files of mode 0600 in a folder that must exist: an unmounted drive has none."""

    def __init__(self, place: str, folder: Path) -> None:
        self.place = place
        self._folder = folder

    def list(self) -> list[StoredObject]:
        with self._explained():
            names = sorted(path.name for path in islice(self._folder.iterdir(), MOST_OBJECTS + 1))
        require_few(self.place, len(names))
        return [stored for name in filter(is_usable, names) if (stored := self._look_at(name))]

    def find(self, name: str) -> StoredObject | None:
        require_name(name)
        with self._explained():
            os.scandir(self._folder).close()  # that the folder is away does not mean that the object is gone
        return self._look_at(name)

    def put(self, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        require_name(name)
        with self._explained():
            self._remove_abandoned()
            partial_path = self._folder / f".{name}.{secrets.token_hex(4)}.partial"
            descriptor = os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            with os.fdopen(descriptor, "w+b", buffering=0) as file:
                self._write(file, exactly(chunks, size_bytes))
            self._give_name(partial_path, name)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                partial_path.unlink()
            raise
        with self._explained():
            fsync_folder(self._folder)
        stored = self._look_at(name)
        if stored is None or stored.size_bytes != size_bytes:
            raise self._changed(name)
        return PutResult(stored, is_checked=False)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Generator[bytes]:
        if self.find(name) is None:
            raise missing_object(self.place, name)
        with self._explained(name):
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            left_bytes = size_bytes - offset if length is None else min(length, size_bytes - offset)
            if left_bytes < 0:
                raise self._changed(name)
            file.seek(offset)
            while left_bytes:
                with self._explained(name):
                    chunk = file.read(min(CHUNK_BYTES, left_bytes))
                if not chunk:
                    raise self._changed(name)
                left_bytes -= len(chunk)
                yield chunk

    def remove(self, name: str) -> None:
        require_name(name)
        with self._explained():
            (self._folder / name).unlink(missing_ok=True)
            fsync_folder(self._folder)

    def check(self) -> None:
        check_store(self)

    def _write(self, file: FileIO, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:  # what these raise is not the store's
            rest = memoryview(chunk)
            while rest:
                with self._explained():
                    rest = rest[file.write(rest) :]
        with self._explained():
            sync(file)

    def _give_name(self, partial_path: Path, name: str) -> None:
        """Raises: StoredObjectChangedError when something else has got this name meanwhile."""
        path = self._folder / name
        with self._explained():
            try:
                os.link(partial_path, path)
            except FileExistsError:
                raise self._changed(name) from None
            except OSError as error:
                if error.errno not in _WITHOUT_LINKS:
                    raise
                if os.path.lexists(path):
                    raise self._changed(name) from None
                partial_path.rename(path)
            else:
                partial_path.unlink()

    def _look_at(self, name: str) -> StoredObject | None:
        with self._explained():
            try:
                status = (self._folder / name).lstat()
            except FileNotFoundError:
                return None
        if not stat.S_ISREG(status.st_mode):
            return None
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return StoredObject(name, status.st_size, modified, f"{status.st_mtime_ns}-{status.st_size}")

    def _remove_abandoned(self) -> None:
        for path in chain.from_iterable(map(self._folder.glob, _PARTIALS)):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def _changed(self, name: str) -> StoredObjectChangedError:
        return StoredObjectChangedError(
            f"{name} in {self.place} was changed while it was used.",
            hint="Look who else writes to this folder.",
        )

    @contextmanager
    def _explained(self, name: str = "") -> Iterator[None]:
        """Turn what the operating system says into a StoreError; `name` is the object that is being read."""
        try:
            yield
        except FileNotFoundError as error:
            if name and self._folder.is_dir():
                raise missing_object(self.place, name) from error
            raise StoreMissingError(
                f"The folder of {self.place} does not exist.",
                hint="Create it. If it is on another drive, see that the drive is mounted.",
            ) from error
        except NotADirectoryError as error:
            raise StoreMissingError(
                f"{self.place} is no folder.", hint="Name a folder that exists."
            ) from error
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> StoreError:
        reason = f"{self.place}: {error.strerror or error}."
        if error.errno in _DENIED:
            return StoreDeniedError(reason, hint="Let the user that runs the server write to this folder.")
        if is_full_disk(error):
            return StoreFullError(reason, hint="Free space on that disk, or keep fewer backups there.")
        if error.errno in _AWAY:
            return StoreUnreachableError(reason, hint="See that the drive is connected and mounted.")
        return StoreError(reason, hint="See whether the disk is sound and mounted.")
