"""Read an archive that may come from a stranger: whatever no FastCMS backup has is refused, never mended."""

import hashlib
import os
import stat
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
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.engine.refusals import corrupt, unsafe
from fastcms.backups.engine.zip_content import read_content
from fastcms.backups.engine.zip_entries import ZipEntry, read_entries
from fastcms.durability import sync
from fastcms.errors import ArchiveError

_LARGEST_METADATA_BYTES = 16 * 1024**2
_LARGEST_CHECKSUMS_BYTES = 256 * 1024**2
# The low half of the attributes is DOS's: volume label, folder, device, and Windows' reparse point.
_DOS_LABEL, _DOS_FOLDER, _DOS_DEVICE, _DOS_LINK = 0x08, 0x10, 0x40, 0x400


@dataclass(frozen=True)
class CheckedArchive:
    """An archive whose structure, names, types and manifest are sound; its bytes are checked when read.

    The sizes are those of the unpacked entries. `entry_count` counts what unpacking makes: files, and folders
    whether or not they have an entry of their own.
    """

    descriptor: int
    manifest: BackupManifest
    checksums: dict[str, str]
    entry_count: int
    total_bytes: int
    database_bytes: int
    files_bytes: int


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


def extract_archive(
    archive: CheckedArchive, *, database_path: Path, files_dir: Path | None, on_progress: OnProgress
) -> None:
    """Unpack the database and the files to where they are wanted, comparing every entry with its SHA-256.

    Without files_dir, the files are read and compared, but not written.
    On disk: every file is fsynced; after an error, an incomplete target, which the caller removes.
    Raises: CorruptArchiveError; UnsafeArchiveError; OSError.
    """
    done_bytes = 0
    if files_dir is not None:
        files_dir.mkdir(mode=0o700, exist_ok=True)
    for entry in read_entries(archive.descriptor):
        target = _target_of(entry.name, database_path, files_dir)
        if entry.is_folder:
            if target is not None:
                target.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
        if target is not None:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sha256 = _copy_durably(archive.descriptor, entry, target)
        if sha256 != archive.checksums.get(entry.name, sha256):
            raise corrupt(f"{entry.name!r} differs from its checksum.", code="archive_checksum")
        done_bytes += entry.size_bytes
        on_progress(Progress("extracting", done_bytes, archive.total_bytes))


def _target_of(name: str, database_path: Path, files_dir: Path | None) -> Path | None:
    """Where an entry goes; the manifest and the checksums are read from the archive, and go nowhere."""
    if name == DATABASE_NAME:
        return database_path
    if files_dir is None or not name.startswith(FILES_PREFIX):
        return None
    return files_dir / name.removeprefix(FILES_PREFIX)


def _copy_durably(descriptor: int, entry: ZipEntry, target: Path | None) -> str:
    """Read an entry whole, write it to target if there is one, and return its SHA-256."""
    digest = hashlib.sha256()
    content = read_content(descriptor, entry)
    if target is None:
        for piece in content:
            digest.update(piece)
        return digest.hexdigest()
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
    with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
        for piece in content:
            digest.update(piece)
            file.write(piece)
        sync(file)
    return digest.hexdigest()


def _check(descriptor: int) -> CheckedArchive:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise corrupt("This is no file.", code="archive_not_zip")
    names = EntryNames()
    texts: dict[str, ZipEntry] = {}
    total_bytes = database_bytes = files_bytes = 0
    for entry in read_entries(descriptor):
        names.add(entry.name)
        _refuse_type(entry)
        total_bytes += entry.size_bytes
        if entry.name.startswith(FILES_PREFIX):
            files_bytes += entry.size_bytes
        elif entry.name == DATABASE_NAME:
            database_bytes = entry.size_bytes
        else:
            texts[entry.name] = entry
    entry_count = names.finish()
    del names  # before more memory is needed: a large site has many
    checksums = parse_checksums(_read_text(descriptor, texts, CHECKSUMS_NAME))
    manifest = parse_manifest(_read_text(descriptor, texts, METADATA_NAME))
    _compare_with_checksums(descriptor, checksums)
    return CheckedArchive(
        descriptor, manifest, checksums, entry_count, total_bytes, database_bytes, files_bytes
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
    return b"".join(read_content(descriptor, entry))


def _compare_with_checksums(descriptor: int, checksums: dict[str, str]) -> None:
    """Refuse an archive unless it has the entries of its checksums, and no others."""
    files = (entry.name for entry in read_entries(descriptor) if not entry.is_folder)
    missing = checksums.keys() | {DATABASE_NAME}
    for name in files:
        if name in checksums:
            missing.remove(name)
        elif name != CHECKSUMS_NAME:
            raise corrupt(f"{name!r} is not in the archive's checksums.", code="archive_entry_unexpected")
    if missing:
        raise corrupt(
            f"{min(missing)!r} is missing from the archive: it is not whole.", code="archive_entry_missing"
        )
