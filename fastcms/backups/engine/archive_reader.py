"""Read an archive that may come from a stranger."""

import errno
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from fastcms.backups.engine.manifest import (
    CHECKSUMS_NAME,
    DATABASE_NAME,
    FILES_PREFIX,
    METADATA_NAME,
    BackupManifest,
    parse_checksums,
    parse_manifest,
)
from fastcms.backups.engine.names import collision_key, unsafe_reason
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.durability import sync
from fastcms.errors import CorruptArchiveError, UnsafeArchiveError

_CHUNK_BYTES = 1024**2
_LARGEST_TEXT_ENTRY_BYTES = 256 * 1024**2
_ENCRYPTED_FLAG = 0x1


@dataclass(frozen=True)
class CheckedArchive:
    """An archive whose names, types and manifest are sound; its bytes are checked as they are extracted."""

    zip_file: zipfile.ZipFile
    manifest: BackupManifest
    checksums: dict[str, str]

    @property
    def total_bytes(self) -> int:
        return sum(info.file_size for info in self.zip_file.infolist())


@contextmanager
def open_archive(path: Path) -> Iterator[CheckedArchive]:
    """Open an archive and check everything about it that does not need its contents unpacked.

    Raises: CorruptArchiveError; UnsafeArchiveError; UnsupportedVersionError.
    """
    try:
        with zipfile.ZipFile(path) as zip_file:
            _check_entries(zip_file)
            checksums = parse_checksums(_read_text_entry(zip_file, CHECKSUMS_NAME))
            manifest = parse_manifest(_read_text_entry(zip_file, METADATA_NAME))
            _compare_with_checksums(zip_file, checksums)
            yield CheckedArchive(zip_file, manifest, checksums)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise CorruptArchiveError(
            f"{path.name} is damaged, or no ZIP archive: {error}.", hint="Use another backup."
        ) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # zipfile went where a damaged offset sent it.
        raise CorruptArchiveError(f"{path.name} is damaged.", hint="Use another backup.") from error


def extract_archive(
    archive: CheckedArchive, *, database_path: Path, files_dir: Path, on_progress: OnProgress
) -> None:
    """Unpack the database and the files to where they are wanted, comparing every entry with its SHA-256.

    On disk: every file is fsynced; after an error, an incomplete target, which the caller removes.
    Raises: CorruptArchiveError; OSError.
    """
    done_bytes, total_bytes = 0, archive.total_bytes
    files_dir.mkdir(mode=0o700, exist_ok=True)
    for info in archive.zip_file.infolist():
        target = _target_of(info.filename, database_path, files_dir)
        if target is None:
            continue
        if info.is_dir():
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with archive.zip_file.open(info) as source:
            sha256 = _copy_durably(source, target)
        if sha256 != archive.checksums.get(info.filename, sha256):
            raise CorruptArchiveError(
                f"{info.filename} in the backup differs from its checksum.", hint="Use another backup."
            )
        done_bytes += info.file_size
        on_progress(Progress("extracting", done_bytes, total_bytes))


def _target_of(name: str, database_path: Path, files_dir: Path) -> Path | None:
    """Where an entry goes; the manifest and the checksums are read from the archive, and go nowhere."""
    if name == DATABASE_NAME:
        return database_path
    return files_dir / name.removeprefix(FILES_PREFIX) if name.startswith(FILES_PREFIX) else None


def _copy_durably(source: IO[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        sync(file)
    return digest.hexdigest()


def _check_entries(zip_file: zipfile.ZipFile) -> None:
    seen: dict[str, str] = {}
    for info in zip_file.infolist():
        # orig_filename: zipfile cuts `filename` at NUL and turns backslashes round.
        name = info.orig_filename
        reason = unsafe_reason(name) or _unsafe_type(info)
        if reason is not None:
            raise _unsafe(name, reason)
        key = collision_key(name.removesuffix("/"))
        if key in seen:
            raise _unsafe(name, f"collides with {seen[key]!r}")
        seen[key] = name
    files = {key for key, name in seen.items() if not name.endswith("/")}
    for key, name in seen.items():
        if any(str(parent) in files for parent in PurePosixPath(key).parents):
            raise _unsafe(name, "lies below a file")


def _unsafe_type(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    expected = stat.S_IFDIR if info.is_dir() else stat.S_IFREG
    if kind not in (0, expected):
        return "is neither a file nor a folder"
    if (info.external_attr >> 16) & (stat.S_ISUID | stat.S_ISGID):
        return "carries set-user-id rights"
    if info.flag_bits & _ENCRYPTED_FLAG:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed with the unusual method {info.compress_type}"
    return None


def _unsafe(name: str, reason: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"The backup holds an entry that no FastCMS backup has: {name!r} {reason}.",
        hint="Do not trust where this file came from; use another backup.",
    )


def _read_text_entry(zip_file: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = zip_file.getinfo(name)
    except KeyError as error:
        raise CorruptArchiveError(
            f"The archive has no {name}: it is no FastCMS backup.", hint="Use another backup."
        ) from error
    if info.file_size > _LARGEST_TEXT_ENTRY_BYTES:
        raise _unsafe(name, "is absurdly large")
    return zip_file.read(info)


def _compare_with_checksums(zip_file: zipfile.ZipFile, checksums: dict[str, str]) -> None:
    present = {info.filename for info in zip_file.infolist() if not info.is_dir()} - {CHECKSUMS_NAME}
    for name in sorted(present ^ checksums.keys()) + sorted({DATABASE_NAME} - present):
        where = "is not in its checksums" if name in present else "is missing from it"
        raise CorruptArchiveError(f"The backup is not whole: {name} {where}.", hint="Use another backup.")
