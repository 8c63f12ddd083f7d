"""The headers of the archives that FastCMS writes.

Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 to 4.3.16
"""

import stat
import struct
import time
from typing import NamedTuple

from fastcms.backups.engine.zip_directory import (
    CENTRAL_SIGNATURE,
    END,
    END_SIGNATURE,
    LOCAL_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
    RECORD,
    RECORD_REST_BYTES,
    RECORD_SIGNATURE,
    SENTINEL_16,
    SENTINEL_32,
)
from fastcms.backups.engine.zip_entries import CENTRAL, LOCAL, UTF8_NAME
from fastcms.backups.engine.zip_extras import FIELD, ZIP64

# A size from here on is written with 64 bits, also where compression, which can add a little, is yet to come.
FIRST_LARGE_BYTES = SENTINEL_32 - 64 * 1024**2
_PLAIN_VERSION, _ZIP64_VERSION = 20, 45
_MADE_ON_UNIX = 3 << 8
_FILE_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
_FOLDER_ATTRIBUTES = (stat.S_IFDIR | 0o755) << 16 | 0x10
_EARLIEST_YEAR, _LATEST_YEAR = 1980, 2107
_EARLIEST, _LATEST = 315532800, 4354819199  # the first and the last second of these years, UTC


class NewEntry(NamedTuple):
    """What both headers of an entry say; the name of a folder ends with a slash."""

    name: bytes
    method: int
    modified: tuple[int, int]
    crc32: int
    compressed_bytes: int
    size_bytes: int


def dos_time(timestamp: float) -> tuple[int, int]:
    """Time and date as a ZIP has them, in UTC; what it cannot hold is brought into its range."""
    moment = time.gmtime(min(max(timestamp, _EARLIEST), _LATEST))
    return (
        moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
        (moment.tm_year - _EARLIEST_YEAR) << 9 | moment.tm_mon << 5 | moment.tm_mday,
    )


def local_header(entry: NewEntry) -> bytes:
    """The header before an entry's data; its length depends on name and size alone."""
    is_large = entry.size_bytes >= FIRST_LARGE_BYTES
    extra = _zip64_field(entry.size_bytes, entry.compressed_bytes) if is_large else b""
    sizes = (SENTINEL_32, SENTINEL_32) if is_large else (entry.compressed_bytes, entry.size_bytes)
    fixed = LOCAL.pack(
        LOCAL_SIGNATURE,
        _ZIP64_VERSION if is_large else _PLAIN_VERSION,
        _flags(entry.name),
        entry.method,
        *entry.modified,
        entry.crc32,
        *sizes,
        len(entry.name),
        len(extra),
    )
    return fixed + entry.name + extra


def central_header(entry: NewEntry, offset: int) -> bytes:
    """The same in the directory, with the place of the local one."""
    numbers: tuple[int, ...] = (entry.size_bytes, entry.compressed_bytes, offset)
    extra = b""
    if max(numbers) >= SENTINEL_32:
        extra = _zip64_field(*(number for number in numbers if number >= SENTINEL_32))
        numbers = tuple(min(number, SENTINEL_32) for number in numbers)
    size_bytes, compressed_bytes, place = numbers
    version = _ZIP64_VERSION if extra or entry.size_bytes >= FIRST_LARGE_BYTES else _PLAIN_VERSION
    fixed = CENTRAL.pack(
        CENTRAL_SIGNATURE,
        _MADE_ON_UNIX | version,
        version,
        _flags(entry.name),
        entry.method,
        *entry.modified,
        entry.crc32,
        compressed_bytes,
        size_bytes,
        len(entry.name),
        len(extra),
        0,
        0,
        0,
        _FOLDER_ATTRIBUTES if entry.name.endswith(b"/") else _FILE_ATTRIBUTES,
        place,
    )
    return fixed + entry.name + extra


def end_records(entry_count: int, size_bytes: int, offset: int) -> bytes:
    """What follows a directory of this size that begins at offset."""
    plain = END.pack(
        END_SIGNATURE,
        0,
        0,
        min(entry_count, SENTINEL_16),
        min(entry_count, SENTINEL_16),
        min(size_bytes, SENTINEL_32),
        min(offset, SENTINEL_32),
        0,
    )
    if entry_count < SENTINEL_16 and size_bytes < SENTINEL_32 and offset < SENTINEL_32:
        return plain
    record = RECORD.pack(
        RECORD_SIGNATURE,
        RECORD_REST_BYTES,
        _MADE_ON_UNIX | _ZIP64_VERSION,
        _ZIP64_VERSION,
        0,
        0,
        entry_count,
        entry_count,
        size_bytes,
        offset,
    )
    return record + LOCATOR.pack(LOCATOR_SIGNATURE, 0, offset + size_bytes, 1) + plain


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else UTF8_NAME


def _zip64_field(*numbers: int) -> bytes:
    return FIELD.pack(ZIP64, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers)
