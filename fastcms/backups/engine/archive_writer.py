"""Write an archive: a pool of threads reads, checks and compresses, one thread writes, in order.

What the threads do is done by C code that does not hold the interpreter. A file is deflated when a sample of
it shrinks, and stored otherwise. A large file is deflated in segments by several compressors: each segment
ends at a byte's boundary, so that they can be joined (as pigz does it, https://zlib.net/pigz/).
"""

import errno
import hashlib
import os
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, TypeVar, cast

from isal import isal_zlib

from fastcms.backups.engine.manifest import CHECKSUMS_NAME, format_checksum
from fastcms.backups.engine.zip_entries import DEFLATED, STORED
from fastcms.backups.engine.zip_headers import (
    NewEntry,
    central_header,
    dos_time,
    end_records,
    local_header,
)

_SEGMENT_BYTES = 1024**2
_SAMPLE_BYTES = 16 * 1024
# A sample that shrinks by less than this is not worth deflating: pictures, films, archives.
_WORTHWHILE_RATIO = 0.95
_FASTEST = 1
_RAW_DEFLATE = -zlib.MAX_WBITS
_THREADS = min(4, os.cpu_count() or 1)
# So many results may wait for their turn to be written.
_WAITING = 2 * _THREADS + 2
_WRITE_BACK_BYTES = 16 * 1024**2

Item = TypeVar("Item")
Result = TypeVar("Result")


class PackedFile(NamedTuple):
    """A file that was read whole: its header and its data as they stand in the archive."""

    entry: NewEntry
    header: bytes
    data: bytes
    sha256: str


class AddedFile(NamedTuple):
    """A file that was read in segments; has_changed: somebody wrote to it meanwhile."""

    sha256: str
    size_bytes: int
    has_changed: bool


class _Segment(NamedTuple):
    content: bytes
    data: bytes
    crc32: int


class ArchiveWriter:
    """Writes entries one after the other.

    What the end of the archive says of each waits in files without a name, in spool_dir. `crc32` is that of
    all that was written: of the whole archive once the writer has been left.
    """

    def __init__(self, file: BinaryIO, spool_dir: Path) -> None:
        self.crc32 = 0
        self._descriptor = file.fileno()
        self._directory, self._checksums = _spool(spool_dir), _spool(spool_dir)
        self._entry_count = 0
        self._offset = 0
        self._written_back = 0
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="archive")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._directory, self._checksums:
            try:
                if kind is None:
                    self._finish()
            finally:
                self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Do something else in the pool meanwhile."""
        return self._pool.submit(work)

    def in_order(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Do the same with each item in the pool, a few ahead; the results come in the items' order."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(work, item))
            if len(waiting) >= _WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def add_folder(self, name: str, modified: float) -> None:
        """Add an empty folder; its name ends with a slash."""
        entry = NewEntry(name.encode(), STORED, dos_time(modified), 0, 0, 0)
        offset = self._offset
        self._write([local_header(entry)])
        self._note(entry, offset, "")

    def add_text(self, name: str, content: bytes, modified: float) -> None:
        """Add a small entry from memory."""
        self.add_packed([pack(name, content, modified)])

    def add_packed(self, files: Sequence[PackedFile]) -> None:
        """Add files that were read whole, in one write."""
        offset = self._offset
        self._write([part for file in files for part in (file.header, file.data)])
        for file in files:
            self._note(file.entry, offset, file.sha256)
            offset += len(file.header) + len(file.data)

    def add_file(self, name: str, source: BinaryIO, on_bytes: Callable[[int], None]) -> AddedFile:
        """Add an open regular file of any size, as many bytes of it as there are now."""
        before = os.fstat(source.fileno())
        method = DEFLATED if _is_shrinking(os.pread(source.fileno(), _SAMPLE_BYTES, 0)) else STORED
        entry = NewEntry(name.encode(), method, dos_time(before.st_mtime), 0, 0, before.st_size)
        offset, crc32_before = self._offset, self.crc32
        self._write([bytes(len(local_header(entry)))])
        data_offset, self.crc32 = self._offset, 0  # for now, that of the data alone
        digest, crc32 = hashlib.sha256(), 0
        read = partial(_read_segment, source, method, before.st_size)
        for segment in self.in_order(read, range(0, before.st_size, _SEGMENT_BYTES)):
            digest.update(segment.content)
            crc32 = isal_zlib.crc32_combine(crc32, segment.crc32, len(segment.content))
            self._write([segment.data])
            on_bytes(len(segment.content))
        entry = entry._replace(crc32=crc32, compressed_bytes=self._offset - data_offset)
        header = local_header(entry)
        if os.pwrite(self._descriptor, header, offset) != len(header):
            raise OSError(errno.EIO, f"the header of {name!r} was not written whole")
        crc32_before = isal_zlib.crc32(header, crc32_before)
        self.crc32 = isal_zlib.crc32_combine(crc32_before, self.crc32, entry.compressed_bytes)
        self._note(entry, offset, digest.hexdigest())
        after = os.fstat(source.fileno())
        has_changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        return AddedFile(digest.hexdigest(), before.st_size, has_changed)

    def _note(self, entry: NewEntry, offset: int, sha256: str) -> None:
        self._directory.write(central_header(entry, offset))
        self._entry_count += 1
        if sha256 and entry.name != CHECKSUMS_NAME.encode():
            self._checksums.write(format_checksum(entry.name, sha256))

    def _write(self, parts: Sequence[bytes]) -> None:
        wanted_bytes = sum(map(len, parts))
        if not wanted_bytes:  # macOS takes it for an error
            return
        written_bytes = os.writev(self._descriptor, parts)
        if written_bytes < wanted_bytes:
            rest = memoryview(b"".join(parts))[written_bytes:]
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        for part in parts:
            self.crc32 = isal_zlib.crc32(part, self.crc32)
        self._offset += wanted_bytes
        self._write_back()

    def _write_back(self) -> None:
        """Let the disk begin: the fsync at the end will have little left to wait for.

        The advice starts the writing of what is not yet on the disk, without waiting for it.
        Source: https://elixir.bootlin.com/linux/latest/source/mm/fadvise.c (POSIX_FADV_DONTNEED)
        """
        new_bytes = self._offset - self._written_back
        if new_bytes >= _WRITE_BACK_BYTES and hasattr(os, "posix_fadvise"):  # macOS has none
            os.posix_fadvise(self._descriptor, self._written_back, new_bytes, os.POSIX_FADV_DONTNEED)
            self._written_back = self._offset

    def _finish(self) -> None:
        self._checksums.flush()
        self.add_file(CHECKSUMS_NAME, self._checksums, lambda _: None)
        offset = self._offset
        self._directory.seek(0)
        while chunk := self._directory.read(_SEGMENT_BYTES):
            self._write([chunk])
        self._write([end_records(self._entry_count, self._offset - offset, offset)])


def pack(name: str, content: bytes, modified: float) -> PackedFile:
    """Make an entry of a file's whole content."""
    data, method = content, STORED
    is_short = len(content) <= _SAMPLE_BYTES
    if is_short or _is_shrinking(content[:_SAMPLE_BYTES]):
        deflated = isal_zlib.compress(content, _FASTEST, _RAW_DEFLATE)
        if len(deflated) < len(content) * _WORTHWHILE_RATIO:
            data, method = deflated, DEFLATED
    crc32 = isal_zlib.crc32(content)
    entry = NewEntry(name.encode(), method, dos_time(modified), crc32, len(data), len(content))
    return PackedFile(entry, local_header(entry), data, hashlib.sha256(content).hexdigest())


def _is_shrinking(sample: bytes) -> bool:
    return len(isal_zlib.compress(sample, _FASTEST, _RAW_DEFLATE)) < len(sample) * _WORTHWHILE_RATIO


def read_part(descriptor: int, path: str, offset: int, wanted_bytes: int) -> bytes:
    """A part of an open file, shorter where the file ends. Raises: OSError that says which file."""
    content = b""
    try:
        while len(content) < wanted_bytes and (
            more := os.pread(descriptor, wanted_bytes - len(content), offset + len(content))
        ):
            content = content + more if content else more
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    return content


def _read_segment(source: BinaryIO, method: int, file_bytes: int, offset: int) -> _Segment:
    wanted_bytes = min(_SEGMENT_BYTES, file_bytes - offset)
    content = read_part(source.fileno(), source.name, offset, wanted_bytes)
    content = content.ljust(wanted_bytes, b"\0")  # somebody has cut the file off meanwhile
    crc32 = isal_zlib.crc32(content)
    if method == STORED:
        return _Segment(content, content, crc32)
    is_last = offset + wanted_bytes == file_bytes
    compressor = isal_zlib.compressobj(_FASTEST, isal_zlib.DEFLATED, _RAW_DEFLATE)
    packed = compressor.compress(content)
    packed += compressor.flush(isal_zlib.Z_FINISH if is_last else isal_zlib.Z_SYNC_FLUSH)
    return _Segment(content, packed, crc32)


def _spool(folder: Path) -> BinaryIO:
    """A file without a name in this folder; where there is no such thing, with one that is cleaned up."""
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder, prefix=".backup_", suffix=".partial"))
