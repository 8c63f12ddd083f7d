"""The entries of a ZIP archive, each described by two headers that have to agree.

Every byte of the archive belongs to something: the entries follow one another from the first byte on, without
gap or overlap, in the order of the directory; the directory follows the last entry. So nothing can stand
before, between or behind them, and no entry is known to one header only.
Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 to 4.3.12
"""

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.zip_directory import (
    CENTRAL_SIGNATURE,
    LOCAL_SIGNATURE,
    SENTINEL_16,
    SENTINEL_32,
    Directory,
    find_directory,
    read_at,
)
from fastcms.backups.engine.zip_extras import check_extras, read_unicode_path, resolve_zip64

STORED, DEFLATED = 0, 8
# A match of 258 bytes takes at least two bits.
_LARGEST_DEFLATE_RATIO = 1032
# Signature; made by, needs; flags, method, time, date; CRC-32, compressed size, size; lengths of name, extra
# fields and comment; disk, internal attributes; external attributes, offset of the local header.
CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
# Signature; needs, flags, method, time, date; CRC-32, compressed size, size; lengths of name and extra.
LOCAL = struct.Struct("<4sHHHHHLLLHH")
# Both headers have these bytes: flags, method, time, date, CRC-32, compressed size, size, length of the name.
_CENTRAL_COMMON, _LOCAL_COMMON = slice(8, 30), slice(6, 28)
_NO_EXTRA = slice(28, 30)
_WINDOW_BYTES = 256 * 1024
_USUAL_EXTRA_BYTES = 64

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_DATA_DESCRIPTOR = 1 << 3
UTF8_NAME = 1 << 11
_HARMLESS = 1 << 1 | 1 << 2 | UTF8_NAME  # 1 and 2: how hard the compressor tried
_SYSTEMS_WITH_UTF8 = {3, 19}  # Unix, macOS


class ZipEntry(NamedTuple):
    """One entry; its name ends with a slash when it is a folder."""

    name: str
    method: int
    attributes: int
    crc32: int
    compressed_bytes: int
    size_bytes: int
    data_offset: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


def read_entries(descriptor: int) -> Iterator[ZipEntry]:
    """Every entry of an archive, in order; the archive's structure is sound when the last one has been read.

    They are read anew each time, so that an archive of many files does not fill the memory.
    Raises: CorruptArchiveError; UnsafeArchiveError.
    """
    directory = find_directory(descriptor)
    window = _Window(descriptor, directory.offset, directory.offset + directory.size_bytes)
    expected_offset = 0
    with io.BufferedReader(window, _WINDOW_BYTES) as file:
        for _ in range(directory.entry_count):
            header = _read_central(file)
            if header.offset != expected_offset:
                _refuse_place(descriptor, header.offset, expected_offset, directory)
            entry = _compare_local(descriptor, header, directory)
            expected_offset = entry.data_offset + entry.compressed_bytes
            yield entry
        goes_on = file.read(1) != b""  # not all of it: it may be as long as the file
    if goes_on:
        raise unsafe("The archive's directory goes on after its last entry.", code="archive_entry_count")
    if expected_offset != directory.offset:
        _refuse_gap(descriptor, expected_offset, directory.offset)


class _Window(io.RawIOBase):
    """A part of a file, read without moving the place at which others read."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor, self._position, self._end = descriptor, start, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # the buffer of BufferedReader
        wanted = min(len(buffer), self._end - self._position)
        piece = os.pread(self._descriptor, wanted, self._position)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class _Header(NamedTuple):
    """What both headers say of an entry; `offset` is where the local one is.

    `common` are the bytes that a local header repeats, from the flags to the length of the name; empty where
    the sizes stand in an extra field.
    """

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc32: int
    compressed_bytes: int
    size_bytes: int
    attributes: int
    offset: int
    common: bytes


def _read_central(file: BinaryIO) -> _Header:
    fixed = file.read(CENTRAL.size)
    if len(fixed) != CENTRAL.size or not fixed.startswith(CENTRAL_SIGNATURE):
        raise corrupt("The archive's directory is damaged.", code="archive_directory")
    (_, made_by, _, flags, method, _, _, crc32, compressed_bytes, size_bytes, name_bytes, extra_bytes,
     comment_bytes, disk, _, attributes, offset) = CENTRAL.unpack(fixed)  # fmt: skip
    variable = file.read(name_bytes + extra_bytes)
    if len(variable) != name_bytes + extra_bytes:
        raise corrupt("The archive's directory is damaged.", code="archive_directory")
    raw_name, extras = variable[:name_bytes], check_extras(variable[name_bytes:])
    name = _decode_name(raw_name, flags, made_by, read_unicode_path(extras))
    if comment_bytes:
        raise unsafe(f"{name!r} carries a comment, which no entry of a backup has.", code="archive_comment")
    _refuse_flags(name, flags, method)
    has_sizes = SENTINEL_32 not in (size_bytes, compressed_bytes)
    if extras or not has_sizes or offset == SENTINEL_32 or disk == SENTINEL_16:
        size_bytes, compressed_bytes, offset, disk = resolve_zip64(
            name, extras, (size_bytes, compressed_bytes, offset), disk
        )
    if disk:
        raise unsafe(f"{name!r} lies in another part of the archive.", code="archive_multi_disk")
    _refuse_sizes(name, method, compressed_bytes, size_bytes)
    common = fixed[_CENTRAL_COMMON] if has_sizes else b""
    return _Header(
        raw_name, name, flags, method, crc32, compressed_bytes, size_bytes, attributes, offset, common
    )


def _decode_name(raw_name: bytes, flags: int, made_by: int, unicode_path: bytes | None) -> str:
    """An entry's name: UTF-8 that is marked as such, or written on a system where names are UTF-8."""
    if unicode_path is not None and unicode_path != raw_name:
        raise unsafe(
            f"The entry {raw_name!r} has a second name, {unicode_path!r}: programs would disagree about it.",
            code="archive_name_renamed",
        )
    is_utf8 = flags & UTF8_NAME or unicode_path is not None or made_by >> 8 in _SYSTEMS_WITH_UTF8
    try:
        return raw_name.decode("utf-8" if is_utf8 else "ascii")
    except UnicodeDecodeError as error:
        raise unsafe(
            f"The name {raw_name!r} in the archive is not UTF-8, or not marked as such.",
            code="archive_name_encoding",
            hint="If you have zipped this backup yourself, use a program that writes names in UTF-8.",
        ) from error


def _refuse_flags(name: str, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise unsafe(
            f"{name!r} in the archive is encrypted.",
            code="archive_encrypted",
            hint="Decrypt the archive and zip its contents again without a password.",
        )
    if flags & _DATA_DESCRIPTOR:
        raise unsafe(
            f"{name!r} in the archive has its size after its data, where programs have to guess it.",
            code="archive_data_descriptor",
            hint="If you have zipped this backup yourself, use `zip -r` or 7-Zip and write to a file.",
        )
    if flags & ~_HARMLESS:
        raise unsafe(f"{name!r} in the archive has unknown flags ({flags:#06x}).", code="archive_flags")
    if method not in (STORED, DEFLATED):
        raise unsafe(
            f"{name!r} in the archive is compressed with the unusual method {method}.",
            code="archive_method",
            hint="If you have zipped this backup yourself, choose the method Deflate.",
        )


def _refuse_sizes(name: str, method: int, compressed_bytes: int, size_bytes: int) -> None:
    if method == STORED and compressed_bytes != size_bytes:
        raise unsafe(
            f"{name!r} in the archive is stored as it is, but claims {size_bytes:,} bytes "
            f"and has {compressed_bytes:,}.",
            code="archive_size_lie",
        )
    if size_bytes > compressed_bytes * _LARGEST_DEFLATE_RATIO:
        raise unsafe(
            f"{name!r} in the archive claims to become {size_bytes:,} bytes from {compressed_bytes:,}, "
            "which is impossible.",
            code="archive_bomb",
        )


def _refuse_place(descriptor: int, offset: int, expected_offset: int, directory: Directory) -> None:
    if offset < expected_offset:
        raise unsafe("Entries of the archive overlap, or are out of order.", code="archive_overlap")
    if offset > directory.offset:
        raise corrupt("An entry would lie beyond the archive's entries.", code="archive_truncated")
    _refuse_gap(descriptor, expected_offset, offset)


def _refuse_gap(descriptor: int, start: int, end: int) -> None:
    begins_with = read_at(descriptor, start, min(end - start, len(LOCAL_SIGNATURE)))
    if begins_with == LOCAL_SIGNATURE:
        raise unsafe("The archive holds an entry that is not in its directory.", code="archive_hidden_entry")
    if start == 0:
        raise unsafe(f"Something stands before the archive: {end:,} bytes.", code="archive_prefix")
    raise unsafe(f"The archive hides {end - start:,} bytes between its entries.", code="archive_hidden_data")


def _compare_local(descriptor: int, central: _Header, directory: Directory) -> ZipEntry:
    """Read an entry's local header, and refuse one that tells something else than the directory."""
    name, raw_name = central.name, central.raw_name
    fixed_bytes = LOCAL.size + len(raw_name)
    available_bytes = directory.offset - central.offset
    header = read_at(descriptor, central.offset, min(available_bytes, fixed_bytes + _USUAL_EXTRA_BYTES))
    if len(header) < fixed_bytes or not header.startswith(LOCAL_SIGNATURE):
        raise unsafe(
            f"{name!r} is in the archive's directory, but not where that says.",
            code="archive_entry_not_there",
        )
    if header[LOCAL.size : fixed_bytes] != raw_name:
        raise _disagree(name, "the name")
    data_offset = central.offset + fixed_bytes
    if header[_LOCAL_COMMON] != central.common or header[_NO_EXTRA] != b"\0\0":
        data_offset += _compare_fields(descriptor, header, central, directory)
    if data_offset + central.compressed_bytes > directory.offset:
        raise unsafe(f"{name!r} overlaps the archive's directory.", code="archive_overlap")
    return ZipEntry(
        name,
        central.method,
        central.attributes,
        central.crc32,
        central.compressed_bytes,
        central.size_bytes,
        data_offset,
    )


def _compare_fields(descriptor: int, header: bytes, central: _Header, directory: Directory) -> int:
    """Compare headers that are not the same bytes by what they mean; return the size of the extra fields."""
    name, raw_name = central.name, central.raw_name
    fixed_bytes = LOCAL.size + len(raw_name)
    _, _, flags, method, _, _, crc32, compressed_bytes, size_bytes, name_bytes, extra_bytes = (
        LOCAL.unpack_from(header)
    )
    if name_bytes != len(raw_name):
        raise _disagree(name, "the name")
    if central.offset + fixed_bytes + extra_bytes > directory.offset:
        raise unsafe(f"{name!r} overlaps the archive's directory.", code="archive_overlap")
    if len(header) < fixed_bytes + extra_bytes:
        header = read_at(descriptor, central.offset, fixed_bytes + extra_bytes)
    extras = check_extras(header[fixed_bytes : fixed_bytes + extra_bytes])
    size_bytes, compressed_bytes, _, _ = resolve_zip64(name, extras, (size_bytes, compressed_bytes), 0)
    for what, here, there in (
        ("the flags", flags, central.flags),
        ("the method", method, central.method),
        ("the CRC", crc32, central.crc32),
        ("the compressed size", compressed_bytes, central.compressed_bytes),
        ("the size", size_bytes, central.size_bytes),
        ("a second name", read_unicode_path(extras) or raw_name, raw_name),
    ):
        if here != there:
            raise _disagree(name, what)
    return int(extra_bytes)


def _disagree(name: str, what: str) -> Exception:
    return unsafe(
        f"The two headers of {name!r} in the archive disagree about {what}.", code="archive_headers_disagree"
    )
