"""Where a ZIP archive ends, and where its directory lies: found in one way, or refused.

Readers of ZIP files search for the end in different ways, so that one file can be a different archive to each
of them. Here an archive has exactly one end, at its very end, and nothing between its parts.
Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.14 to 4.3.16
"""

import os
import struct
from dataclasses import dataclass

from fastcms.backups.engine.refusals import corrupt, unsafe

LOCAL_SIGNATURE, CENTRAL_SIGNATURE = b"PK\x03\x04", b"PK\x01\x02"
END_SIGNATURE, LOCATOR_SIGNATURE, RECORD_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
# Signature; this disk, the directory's disk; entries on this disk, entries; size, offset; comment's length.
END = struct.Struct("<4sHHHHLLH")
# Signature; the record's disk; its offset; number of disks.
LOCATOR = struct.Struct("<4sLQL")
# Signature; size of the rest; two versions; the disks, counts, size and offset of END.
RECORD = struct.Struct("<4sQHHLLQQQQ")
RECORD_REST_BYTES = RECORD.size - 12
_LONGEST_COMMENT_BYTES = 0xFFFF
# As far from its end a file is searched for an archive's end, to explain why it is not at the very end.
_LONGEST_SUFFIX_BYTES = 1024**2
# In these fields, "see the ZIP64 record".
SENTINEL_16, SENTINEL_32 = 0xFFFF, 0xFFFFFFFF
_LEAST_ENTRY_BYTES = 46 + 30 + 2  # its two headers, and a name of one byte in both
MOST_ENTRIES = 2_000_000


@dataclass(frozen=True)
class Directory:
    """The central directory: it begins at offset, and the records of the archive's end follow it."""

    entry_count: int
    size_bytes: int
    offset: int


def read_at(descriptor: int, offset: int, size_bytes: int) -> bytes:
    """Exactly these bytes of a file."""
    pieces = []
    while size_bytes:
        piece = os.pread(descriptor, size_bytes, offset)
        if not piece:
            raise corrupt("The archive became shorter while it was read.", code="archive_truncated")
        pieces.append(piece)
        offset += len(piece)
        size_bytes -= len(piece)
    return b"".join(pieces)


def find_directory(descriptor: int) -> Directory:
    """Read the records at the archive's end. Raises: CorruptArchiveError; UnsafeArchiveError."""
    file_bytes = os.fstat(descriptor).st_size
    tail_bytes = min(file_bytes, END.size + _LONGEST_COMMENT_BYTES)
    tail = read_at(descriptor, file_bytes - tail_bytes, tail_bytes)
    _refuse_other_ends(descriptor, tail, file_bytes)
    end_offset = file_bytes - END.size
    _, *fields, _ = END.unpack(tail[-END.size :])
    zip64 = _read_zip64(descriptor, end_offset)
    if zip64 is not None:
        _refuse_contradiction(fields, zip64)
        fields = zip64
        end_offset -= RECORD.size + LOCATOR.size
    disk, directory_disk, here, entry_count, size_bytes, offset = fields
    if disk or directory_disk or here != entry_count:
        raise unsafe("The archive is one part of several.", code="archive_multi_disk", hint=_ONE_FILE)
    if offset + size_bytes != end_offset:
        _refuse_place(descriptor, offset, size_bytes, end_offset)
    if entry_count > MOST_ENTRIES:
        raise unsafe(
            f"The archive has {entry_count:,} entries; FastCMS reads up to {MOST_ENTRIES:,}.",
            code="archive_too_many_entries",
        )
    if entry_count * _LEAST_ENTRY_BYTES > end_offset:
        raise unsafe(
            f"The archive claims {entry_count:,} entries, more than its {file_bytes:,} bytes can hold.",
            code="archive_entry_count",
        )
    return Directory(entry_count, size_bytes, offset)


_ONE_FILE = "Make one file of it: a backup is never split."


def _refuse_other_ends(descriptor: int, tail: bytes, file_bytes: int) -> None:
    """Refuse an archive unless its last 22 bytes are its end, and no other place could be taken for it."""
    own = len(tail) - END.size
    if own < 0 or not tail.startswith(END_SIGNATURE, own):
        _explain_missing_end(descriptor, file_bytes)
    if tail[-2:] != b"\0\0":
        raise corrupt("The archive is cut off within the comment at its end.", code="archive_truncated")
    position = tail.find(END_SIGNATURE)
    while position < own:
        # A reader that looks for an end whose comment reaches to the end of the file would take this one.
        if position + END.size + _comment_bytes(tail, position) == len(tail):
            raise unsafe(
                "The archive has several ends: programs would disagree about what is in it.",
                code="archive_several_ends",
            )
        position = tail.find(END_SIGNATURE, position + 1)


def _explain_missing_end(descriptor: int, file_bytes: int) -> None:
    searched_bytes = min(file_bytes, _LONGEST_SUFFIX_BYTES)
    tail = read_at(descriptor, file_bytes - searched_bytes, searched_bytes)
    position = len(tail) - END.size + len(END_SIGNATURE)
    while (position := tail.rfind(END_SIGNATURE, 0, max(0, position))) >= 0:
        *_, size_bytes, offset, comment_bytes = END.unpack_from(tail, position)
        rest_bytes = len(tail) - position - END.size
        if comment_bytes == rest_bytes:
            raise unsafe(
                f"The archive carries a comment of {comment_bytes:,} bytes, which no backup has.",
                code="archive_comment",
            )
        # Otherwise it is the end of an archive within this one, which is cut off.
        if offset + size_bytes == file_bytes - len(tail) + position or offset == SENTINEL_32:
            raise unsafe(
                f"The archive is followed by {rest_bytes:,} bytes that do not belong to it.",
                code="archive_suffix",
            )
    if file_bytes >= len(LOCAL_SIGNATURE) and read_at(descriptor, 0, 4) == LOCAL_SIGNATURE:
        raise corrupt("The archive is damaged: its end is missing.", code="archive_truncated")
    raise corrupt("The file is damaged, or no ZIP archive.", code="archive_not_zip")


def _comment_bytes(tail: bytes, position: int) -> int:
    return int.from_bytes(tail[position + END.size - 2 : position + END.size], "little")


def _read_zip64(descriptor: int, end_offset: int) -> list[int] | None:
    """The six numbers of the ZIP64 record; None when there is none."""
    if end_offset < LOCATOR.size:
        return None
    signature, record_disk, offset, disks = LOCATOR.unpack(
        read_at(descriptor, end_offset - LOCATOR.size, LOCATOR.size)
    )
    if signature != LOCATOR_SIGNATURE:
        return None
    if record_disk or disks != 1:
        raise unsafe("The archive is one part of several.", code="archive_multi_disk", hint=_ONE_FILE)
    if offset != end_offset - LOCATOR.size - RECORD.size:
        raise unsafe("The archive's ZIP64 record is not where it has to be.", code="archive_zip64")
    signature, rest_bytes, _, _, *numbers = RECORD.unpack(read_at(descriptor, offset, RECORD.size))
    if signature != RECORD_SIGNATURE or rest_bytes != RECORD_REST_BYTES:
        raise unsafe("The archive's ZIP64 record is malformed.", code="archive_zip64")
    return list(numbers)


def _refuse_contradiction(fields: list[int], zip64: list[int]) -> None:
    sentinels = [SENTINEL_16] * 4 + [SENTINEL_32] * 2
    for plain, large, sentinel in zip(fields, zip64, sentinels, strict=True):
        if plain not in (large, sentinel):
            raise unsafe(
                f"The archive's two end records contradict each other: {plain:,} and {large:,}.",
                code="archive_zip64",
            )


def _refuse_place(descriptor: int, offset: int, size_bytes: int, end_offset: int) -> None:
    """Say why the directory does not reach from its offset to the end records."""
    real_offset = end_offset - size_bytes
    if real_offset > offset and read_at(descriptor, 0, 4) != LOCAL_SIGNATURE:
        raise unsafe("Something stands before the archive in its file.", code="archive_prefix")
    if real_offset < offset:
        raise corrupt(
            "The archive's directory would reach beyond its end: bytes are missing before it.",
            code="archive_truncated",
        )
    gap_bytes = end_offset - offset - size_bytes
    first = read_at(descriptor, offset + size_bytes, min(gap_bytes, END.size + _LONGEST_COMMENT_BYTES))
    if END_SIGNATURE in first:
        raise unsafe(
            "The archive has several ends: programs would disagree about what is in it.",
            code="archive_several_ends",
        )
    raise unsafe(
        f"The archive hides {gap_bytes:,} bytes between its directory and its end.",
        code="archive_hidden_data",
    )
