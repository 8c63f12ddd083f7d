"""The bytes of an entry, unpacked and compared with what its headers promise."""

import hashlib
import os
from collections.abc import Iterator

from isal import igzip_lib, isal_zlib

from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.zip_entries import DEFLATED, ZipEntry

# What a core's own cache holds: measured with 64 KB to 4 MB.
_WINDOW_BYTES = 512 * 1024
_PIECE_BYTES = 256 * 1024

Piece = bytes | memoryview


class Window:
    """A part of an archive in memory, which moves on in large steps: small neighbours are read at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = memoryview(bytearray(_WINDOW_BYTES))
        self._offset = self._size_bytes = 0

    def read(self, offset: int, size_bytes: int) -> Iterator[memoryview]:
        """These bytes of the archive in pieces; each is good until the next is asked for.

        Raises: CorruptArchiveError when the file is shorter.
        """
        end = offset + size_bytes
        while offset < end:
            piece_bytes = min(end - offset, _WINDOW_BYTES)
            start = offset - self._offset
            if start < 0 or start + piece_bytes > self._size_bytes:
                self._move(offset, piece_bytes)
                start = 0
            yield self._buffer[start : start + piece_bytes]
            offset += piece_bytes

    def _move(self, offset: int, needed_bytes: int) -> None:
        self._offset, self._size_bytes = offset, 0
        while self._size_bytes < needed_bytes:
            free = self._buffer[self._size_bytes :]
            read_bytes = os.preadv(self._descriptor, [free], offset + self._size_bytes)
            if not read_bytes:
                raise corrupt("The archive became shorter while it was read.", code="archive_truncated")
            self._size_bytes += read_bytes


def read_checked(window: Window, entry: ZipEntry, sha256: bytes | None) -> Iterator[Piece]:
    """The same as `read_content`; in the end, it also needs the SHA-256 that is known of it, if any is."""
    digest = hashlib.sha256()
    for piece in read_content(window, entry):
        digest.update(piece)
        yield piece
    if sha256 is not None and digest.digest() != sha256:
        raise corrupt(f"{entry.name!r} differs from its checksum.", code="archive_checksum")


def read_content(window: Window, entry: ZipEntry) -> Iterator[Piece]:
    """The content of an entry in pieces, never more of it than the entry's size.

    Each piece is good until the next is asked for.
    Raises: CorruptArchiveError or UnsafeArchiveError, at the latest after the last piece.
    """
    packed = window.read(entry.data_offset, entry.compressed_bytes)
    crc32, done_bytes = 0, 0
    for piece in _inflate(packed, entry) if entry.method == DEFLATED else packed:
        done_bytes += len(piece)
        if done_bytes > entry.size_bytes:
            break
        crc32 = isal_zlib.crc32(piece, crc32)
        yield piece
    if done_bytes != entry.size_bytes:
        more_or_less = "more" if done_bytes > entry.size_bytes else "less"
        raise unsafe(
            f"{entry.name!r} in the archive unpacks to {more_or_less} than the {entry.size_bytes:,} bytes "
            "that it claims.",
            code="archive_size_lie",
        )
    if crc32 != entry.crc32:
        raise corrupt(f"{entry.name!r} in the archive is damaged: its CRC is wrong.", code="archive_crc")


def _inflate(packed: Iterator[memoryview], entry: ZipEntry) -> Iterator[bytes]:
    """Unpack a deflated stream, at most a piece at a time, however much it has been compressed.

    Of one that is larger than it claims, a byte more comes than claimed, and perhaps others.
    """
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    left_bytes = entry.size_bytes + 1
    try:
        for chunk in packed:
            if inflater.eof:
                raise _hidden(entry.name)
            piece = inflater.decompress(chunk, min(_PIECE_BYTES, left_bytes))
            while piece:
                yield piece
                left_bytes = max(1, left_bytes - len(piece))  # 0 would have no limit
                piece = b"" if inflater.eof else inflater.decompress(b"", min(_PIECE_BYTES, left_bytes))
    except igzip_lib.IsalError as error:  # type: ignore[misc] # its stub takes the class for an object
        reason = f"{entry.name!r} in the archive is damaged: {error}."
        raise corrupt(reason, code="archive_deflate") from error
    if not inflater.eof:
        raise corrupt(
            f"{entry.name!r} in the archive is damaged: its end is missing.", code="archive_deflate"
        )
    if inflater.unused_data:
        raise _hidden(entry.name)


def _hidden(name: str) -> Exception:
    return unsafe(f"{name!r} in the archive hides bytes behind its data.", code="archive_hidden_data")
