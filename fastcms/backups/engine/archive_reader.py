"""Read an archive that may come from a stranger: whatever no FastCMS backup has is refused, never mended."""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastcms.backups.engine.entry_names import EntryNames
from fastcms.backups.engine.manifest import (
    CHECKSUMS_NAME,
    DATABASE_NAME,
    FILES_PREFIX,
    METADATA_NAME,
    BackupManifest,
    parse_checksums,
    parse_manifest,
)
from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.zip_content import Window, read_content
from fastcms.backups.engine.zip_entries import ZipEntry, read_entries
from fastcms.errors import ArchiveError

_LARGEST_METADATA_BYTES = 16 * 1024**2
_LARGEST_CHECKSUMS_BYTES = 256 * 1024**2
# The low half of the attributes is DOS's: volume label, folder, device, and Windows' reparse point.
_DOS_LABEL, _DOS_FOLDER, _DOS_DEVICE, _DOS_LINK = 0x08, 0x10, 0x40, 0x400


# Offset, compressed size, size, CRC-32, method; whether there is a checksum, and the checksum.
_ROW = struct.Struct("<QQQLB?32s")
_CHECKSUM = struct.Struct("<?32s")


@dataclass(frozen=True)
class CheckedArchive:
    """An archive whose structure, names, types and manifest are sound; its bytes are checked when read.

    The sizes are those of the unpacked entries. `entry_count` counts what unpacking makes: files, and folders
    whether or not they have an entry of their own. `rows` has what else is known of each of the `names`: see
    `read_row`.
    """

    descriptor: int
    manifest: BackupManifest
    names: list[str]
    rows: bytearray
    entry_count: int
    total_bytes: int
    database_bytes: int
    files_bytes: int

    def size_of(self, index: int) -> int:
        size_bytes: int = _ROW.unpack_from(self.rows, index * _ROW.size)[2]
        return size_bytes

    def read_row(self, index: int) -> tuple[ZipEntry, bytes | None]:
        """An entry, and the SHA-256 that it has to have; None where the archive has none.

        Kept as a few bytes, not as objects: a large site has very many files.
        """
        offset, compressed_bytes, size_bytes, crc32, method, has_checksum, sha256 = _ROW.unpack_from(
            self.rows, index * _ROW.size
        )
        entry = ZipEntry(self.names[index], method, 0, crc32, compressed_bytes, size_bytes, offset)
        return entry, sha256 if has_checksum else None


@contextmanager
def open_archive(path: Path) -> Iterator[CheckedArchive]:
    """Open an archive and check everything about it that does not need its contents unpacked.

    Raises: CorruptArchiveError; UnsafeArchiveError; UnsupportedVersionError; OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield _check(descriptor)
    except ArchiveError as error:
        # Here the file's name is known, which its reader needs and the parts of the archive do not.
        raise type(error)(f"{path.name}: {error.message}", hint=error.hint, code=error.code) from error
    finally:
        os.close(descriptor)


def _check(descriptor: int) -> CheckedArchive:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise corrupt("This is no file.", code="archive_not_zip")
    names = EntryNames()
    rows = bytearray()
    texts: dict[str, ZipEntry] = {}
    total_bytes = database_bytes = files_bytes = 0
    for entry in read_entries(descriptor):
        names.add(entry.name)
        _refuse_type(entry)
        rows += _ROW.pack(
            entry.data_offset, entry.compressed_bytes, entry.size_bytes, entry.crc32, entry.method, False, b""
        )
        total_bytes += entry.size_bytes
        if entry.name.startswith(FILES_PREFIX):
            files_bytes += entry.size_bytes
        elif entry.name == DATABASE_NAME:
            database_bytes = entry.size_bytes
        else:
            texts[entry.name] = entry
    entry_count = names.finish()
    in_order = list(names)
    del names  # before more memory is needed: a large site has many
    checksums = parse_checksums(_read_text(descriptor, texts, CHECKSUMS_NAME))
    manifest = parse_manifest(_read_text(descriptor, texts, METADATA_NAME))
    _add_checksums(in_order, rows, checksums)
    return CheckedArchive(
        descriptor, manifest, in_order, rows, entry_count, total_bytes, database_bytes, files_bytes
    )


def _refuse_type(entry: ZipEntry) -> None:
    mode, dos = entry.attributes >> 16, entry.attributes & 0xFFFF
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK or dos & _DOS_LINK:
        raise unsafe(f"{entry.name!r} is a link.", code="archive_link")
    if kind not in (0, stat.S_IFDIR if entry.is_folder else stat.S_IFREG) or dos & (_DOS_LABEL | _DOS_DEVICE):
        raise unsafe(
            f"{entry.name!r} is neither a plain file nor a plain folder.", code="archive_special_file"
        )
    if dos & _DOS_FOLDER and not entry.is_folder:
        raise unsafe(
            f"{entry.name!r} is marked as a folder, but named as a file.", code="archive_special_file"
        )
    # On a folder, set-group-id only says which group its new files get.
    if mode & (stat.S_ISUID | (0 if entry.is_folder else stat.S_ISGID)):
        raise unsafe(f"{entry.name!r} carries the rights of its owner (set-user-id).", code="archive_setuid")
    if entry.is_folder and (entry.size_bytes or entry.compressed_bytes):
        raise unsafe(f"The folder {entry.name!r} has content of its own.", code="archive_folder_content")


def _read_text(descriptor: int, texts: dict[str, ZipEntry], name: str) -> bytes:
    entry = texts.get(name)
    if entry is None:
        raise corrupt(f"The archive has no {name}: it is no FastCMS backup.", code="archive_entry_missing")
    largest_bytes = _LARGEST_METADATA_BYTES if name == METADATA_NAME else _LARGEST_CHECKSUMS_BYTES
    if entry.size_bytes > largest_bytes:
        raise unsafe(
            f"{name} is absurdly large: {entry.size_bytes:,} bytes; up to {largest_bytes:,} are read.",
            code="archive_text_too_large",
        )
    return b"".join(bytes(piece) for piece in read_content(Window(descriptor), entry))


def _add_checksums(names: list[str], rows: bytearray, checksums: dict[str, str]) -> None:
    """Put the checksums into their rows; refuse an archive unless each file has one, and each one a file."""
    has_database = DATABASE_NAME in checksums
    for index, name in enumerate(names):
        sha256 = checksums.pop(name, None) if name[-1] != "/" else None
        if sha256 is not None:
            end = (index + 1) * _ROW.size
            _CHECKSUM.pack_into(rows, end - _CHECKSUM.size, True, bytes.fromhex(sha256))
        elif name[-1] != "/" and name != CHECKSUMS_NAME:
            raise corrupt(f"{name!r} is not in the archive's checksums.", code="archive_entry_unexpected")
    missing = set(checksums) if has_database else {*checksums, DATABASE_NAME}
    if missing:
        raise corrupt(
            f"{min(missing)!r} is missing from the archive: it is not whole.", code="archive_entry_missing"
        )
