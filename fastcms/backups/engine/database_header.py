"""The first 100 bytes of a SQLite database, judged before SQLite reads what follows.

Source: https://www.sqlite.org/fileformat.html#the_database_header
"""

import struct
from pathlib import Path

from fastcms.backups.engine.refusals import corrupt, unsafe

_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
# Page size; write and read version; reserved bytes; the three fixed fractions.
_FORMAT = struct.Struct(">H6B")
_FRACTIONS = (64, 32, 32)
_JOURNAL_MODES = ((1, 1), (2, 2))
_UTF8 = 1


def check_header(path: Path) -> None:
    """Refuse a file that is no SQLite database, or whose header lies about it.

    Raises: CorruptArchiveError; UnsafeArchiveError.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise corrupt("database.db in the backup is no SQLite database.", code="database_not_sqlite")
    page_bytes, write_version, read_version, reserved, *fractions = _FORMAT.unpack_from(header, len(_MAGIC))
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    is_sound = (
        512 <= page_bytes <= 65536  # noqa: PLR2004 - the least and the largest page
        and page_bytes.bit_count() == 1
        and (write_version, read_version) in _JOURNAL_MODES
        and page_bytes - reserved >= 480  # noqa: PLR2004 - what SQLite needs; macOS reserves 12 bytes
        and tuple(fractions) == _FRACTIONS
        and _number(header, 56) == _UTF8
    )
    if not is_sound:
        raise unsafe(
            "database.db in the backup has a header that FastCMS does not write.", code="database_header"
        )
    _check_size(header, page_bytes, path.stat().st_size)


def _check_size(header: bytes, page_bytes: int, file_bytes: int) -> None:
    page_count, first_free, free_count = _number(header, 28), _number(header, 32), _number(header, 36)
    # An ancient SQLite leaves the page count as it was, and the two counters of changes different.
    is_counted = _number(header, 24) == _number(header, 92) and page_count
    pages = page_count if is_counted else file_bytes // page_bytes
    if pages * page_bytes != file_bytes:
        raise corrupt(
            f"database.db in the backup has {file_bytes:,} bytes; its header promises {pages:,} pages of "
            f"{page_bytes:,} bytes.",
            code="database_size",
        )
    if first_free > pages or free_count > pages:
        raise corrupt("database.db in the backup lists more free pages than it has.", code="database_size")


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")
