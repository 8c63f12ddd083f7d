"""The extra fields of a ZIP header: ZIP64 numbers, times, owners; nothing else is let through.

Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.5 and 4.6
"""

import struct

from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.zip_directory import SENTINEL_16, SENTINEL_32

ZIP64 = 0x0001
_UNICODE_PATH = 0x7075
_STRONG_ENCRYPTION = {0x0017, 0x9901}
# Times and owners, by 7-Zip (0x000a) and Info-ZIP; alignment, by build tools.
_HARMLESS = {ZIP64, _UNICODE_PATH, 0x000A, 0x5455, 0x5855, 0x7855, 0x7875, 0xCAFE, 0xD935}
FIELD = struct.Struct("<HH")
_UNICODE_PATH_PREFIX_BYTES = 5  # its version, and the CRC of the name that it replaces


def check_extras(content: bytes) -> dict[int, bytes]:
    """Extra fields by their number. Raises: CorruptArchiveError; UnsafeArchiveError."""
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(content):
        if position + FIELD.size > len(content):
            raise corrupt("An extra field in the archive is cut off.", code="archive_extra_field")
        number, size_bytes = FIELD.unpack_from(content, position)
        position += FIELD.size
        value = content[position : position + size_bytes]
        position += size_bytes
        if len(value) != size_bytes:
            raise corrupt("An extra field in the archive is cut off.", code="archive_extra_field")
        if number in _STRONG_ENCRYPTION:
            raise unsafe("An entry of the archive is encrypted.", code="archive_encrypted")
        if number not in _HARMLESS or number in fields:
            kind = "a repeated" if number in fields else "an unknown"
            raise unsafe(f"The archive has {kind} extra field, {number:#06x}.", code="archive_extra_field")
        fields[number] = value
    return fields


def read_unicode_path(extras: dict[int, bytes]) -> bytes | None:
    """The name that Info-ZIP's field gives an entry instead of its own."""
    field = extras.get(_UNICODE_PATH)
    return None if field is None else field[_UNICODE_PATH_PREFIX_BYTES:]


def resolve_zip64(
    name: str, extras: dict[int, bytes], numbers: tuple[int, ...], disk: int
) -> tuple[int, int, int, int]:
    """The size, compressed size, offset (0 in a local header) and disk that a header means.

    A number that does not fit into its field stands in the ZIP64 field instead.
    """
    field = extras.get(ZIP64)
    resolved = list(numbers)
    missing = [index for index, number in enumerate(numbers) if number == SENTINEL_32]
    is_local = len(numbers) == 2  # noqa: PLR2004 - size and compressed size; the offset is the directory's
    if field is None:
        if missing or disk == SENTINEL_16:
            raise unsafe(f"{name!r} in the archive lacks its ZIP64 sizes.", code="archive_zip64")
    elif is_local and not missing and len(field) == 16:  # noqa: PLR2004 - two numbers of 8 bytes
        # Python's zipfile reserves the room before it knows whether it needs it.
        if list(struct.unpack("<QQ", field)) != resolved:
            raise unsafe(f"{name!r} in the archive has two different sizes.", code="archive_zip64")
    else:
        has_disk = disk == SENTINEL_16
        if len(field) != 8 * len(missing) + 4 * has_disk:
            raise unsafe(f"The ZIP64 field of {name!r} in the archive does not fit.", code="archive_zip64")
        for index, number in zip(missing, struct.unpack_from(f"<{len(missing)}Q", field), strict=True):
            resolved[index] = number
        if has_disk:
            disk = int.from_bytes(field[-4:], "little")
    size_bytes, compressed_bytes, *offset = resolved
    return size_bytes, compressed_bytes, offset[0] if offset else 0, disk
