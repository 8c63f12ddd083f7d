"""Write an archive."""

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from fastcms.backups.engine.manifest import CHECKSUMS_NAME, format_checksums
from fastcms.backups.engine.progress import OnProgress, Progress

_CHUNK_BYTES = 1024**2
_SAMPLE_BYTES = 64 * 1024
# A sample that shrinks by less than this is not worth deflating: pictures, films, archives.
_WORTHWHILE_RATIO = 0.95
_FASTEST = 1
_EARLIEST, _LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class AddedEntry:
    sha256: str
    size_bytes: int


class ArchiveWriter:
    """Writes entries one after the other; nothing is held in memory but their names and checksums."""

    def __init__(self, file: BinaryIO) -> None:
        self._checksums: list[tuple[str, str]] = []
        self._zip = zipfile.ZipFile(file, "w")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.add_text(CHECKSUMS_NAME, format_checksums(self._checksums))
            self._zip.close()
        else:
            with suppress(OSError, ValueError):  # the first error is the one to report
                self._zip.close()

    def add_folder(self, name: str) -> None:
        """Add an empty folder; its name ends with a slash."""
        self._zip.writestr(_new_entry(name, datetime.now(UTC), stat.S_IFDIR | 0o755), b"")

    def add_text(self, name: str, content: bytes) -> None:
        """Add a small entry from memory."""
        self._zip.writestr(_new_entry(name, datetime.now(UTC)), content, zipfile.ZIP_DEFLATED, _FASTEST)
        self._checksums.append((name, hashlib.sha256(content).hexdigest()))

    def add_file(
        self, name: str, source: BinaryIO, on_progress: OnProgress, progress: Progress
    ) -> AddedEntry:
        """Add an open regular file; progress says where the count of bytes stands before it."""
        status = os.fstat(source.fileno())
        info = _new_entry(name, _from_timestamp(status.st_mtime))
        info.file_size = status.st_size  # known beforehand, so that zipfile can choose ZIP64
        sample = source.read(_SAMPLE_BYTES)
        if len(zlib.compress(sample, _FASTEST)) < len(sample) * _WORTHWHILE_RATIO:
            info.compress_type = zipfile.ZIP_DEFLATED
            info._compresslevel = _FASTEST  # type: ignore[attr-defined] # noqa: SLF001 - no public name before 3.13
        source.seek(0)
        digest = hashlib.sha256()
        done_bytes = 0
        with self._zip.open(info, "w") as entry:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                entry.write(chunk)
                done_bytes += len(chunk)
                on_progress(Progress(progress.phase, progress.done_bytes + done_bytes, progress.total_bytes))
        self._checksums.append((name, digest.hexdigest()))
        return AddedEntry(digest.hexdigest(), done_bytes)


def open_regular_file(paths: Sequence[Path]) -> BinaryIO | None:
    """Open the first of the paths that is a regular file, not following a link; None when none is.

    A file that is renamed from the first path to the second meanwhile is found at one of the two.
    """
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    return None


def _new_entry(name: str, modified: datetime, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, min(max(modified, _EARLIEST), _LATEST).timetuple()[:6])
    info.external_attr = mode << 16
    return info


def _from_timestamp(seconds: float) -> datetime:
    """A file's time may be anything: what a ZIP cannot hold is brought into its range."""
    return datetime.fromtimestamp(min(max(seconds, _EARLIEST.timestamp()), _LATEST.timestamp()), UTC)
