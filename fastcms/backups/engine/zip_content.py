"""The bytes of an entry, unpacked and compared with what its headers promise."""

import zlib
from collections.abc import Iterator

from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.zip_directory import read_at
from fastcms.backups.engine.zip_entries import DEFLATED, ZipEntry

_CHUNK_BYTES = 1024**2


def read_content(descriptor: int, entry: ZipEntry) -> Iterator[bytes]:
    """The content of an entry in pieces, never more of it than the entry's size.

    Raises: CorruptArchiveError or UnsafeArchiveError, at the latest after the last piece.
    """
    packed = _read_packed(descriptor, entry)
    crc32, done_bytes = 0, 0
    for piece in _inflate(packed, entry.name) if entry.method == DEFLATED else packed:
        done_bytes += len(piece)
        if done_bytes > entry.size_bytes:
            break
        crc32 = zlib.crc32(piece, crc32)
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


def _read_packed(descriptor: int, entry: ZipEntry) -> Iterator[bytes]:
    end = entry.data_offset + entry.compressed_bytes
    for offset in range(entry.data_offset, end, _CHUNK_BYTES):
        yield read_at(descriptor, offset, min(_CHUNK_BYTES, end - offset))


def _inflate(packed: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Unpack a deflated stream, at most a chunk at a time, however much it has been compressed."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            rest = chunk
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _CHUNK_BYTES)
                rest = inflater.unconsumed_tail
            if inflater.unused_data or rest:
                raise unsafe(
                    f"{name!r} in the archive hides bytes behind its data.", code="archive_hidden_data"
                )
        while not inflater.eof and (piece := inflater.decompress(b"", _CHUNK_BYTES)):
            yield piece
    except zlib.error as error:
        raise corrupt(f"{name!r} in the archive is damaged: {error}.", code="archive_deflate") from error
    if not inflater.eof:
        raise corrupt(f"{name!r} in the archive is damaged: its end is missing.", code="archive_deflate")
