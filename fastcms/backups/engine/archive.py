"""Write an archive, and read one that may come from a stranger."""

import errno
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, BinaryIO, Self

from fastcms.backups.engine.manifest import (
    CHECKSUMS_NAME,
    DATABASE_NAME,
    METADATA_NAME,
    BackupManifest,
    format_checksums,
    parse_checksums,
    parse_manifest,
)
from fastcms.backups.engine.names import collision_key, unsafe_reason
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.errors import CorruptArchiveError, UnsafeArchiveError

_CHUNK_BYTES = 1024**2
_SAMPLE_BYTES = 64 * 1024
# A sample that shrinks by less than this is not worth deflating: pictures, films, archives.
_WORTHWHILE_RATIO = 0.95
_FASTEST = 1
_LARGEST_TEXT_ENTRY_BYTES = 256 * 1024**2
_ENCRYPTED_FLAG = 0x1
_EARLIEST, _LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class AddedEntry:
    sha256: str
    size_bytes: int


class ArchiveWriter:
    """Writes entries one after the other; nothing is held in memory but their names and checksums.

    On disk after an exception or a crash: partial_path, incomplete. Nobody lists it; the caller removes it.
    """

    def __init__(self, partial_path: Path) -> None:
        self._checksums: list[tuple[str, str]] = []
        descriptor = os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.add_text(CHECKSUMS_NAME, format_checksums(self._checksums))
                self._zip.close()
            else:
                with suppress(OSError, ValueError):  # the first error is the one to report
                    self._zip.close()
        finally:
            self._file.close()

    def add_folder(self, name: str) -> None:
        """Add an empty folder; its name ends with a slash."""
        self._zip.writestr(_new_entry(name, datetime.now(UTC), stat.S_IFDIR | 0o755), b"")

    def add_text(self, name: str, content: bytes) -> None:
        """Add a small entry from memory."""
        self._zip.writestr(_new_entry(name, datetime.now(UTC)), content, zipfile.ZIP_DEFLATED, _FASTEST)
        self._checksums.append((name, hashlib.sha256(content).hexdigest()))

    def add_file(
        self, name: str, source: BinaryIO, on_progress: OnProgress, progress: Progress
    ) -> AddedEntry:
        """Add an open regular file; progress says where the count of bytes stands before it."""
        status = os.fstat(source.fileno())
        info = _new_entry(name, _from_timestamp(status.st_mtime))
        info.file_size = status.st_size  # known beforehand, so that zipfile can choose ZIP64
        sample = source.read(_SAMPLE_BYTES)
        if len(zlib.compress(sample, _FASTEST)) < len(sample) * _WORTHWHILE_RATIO:
            info.compress_type = zipfile.ZIP_DEFLATED
            info._compresslevel = _FASTEST  # type: ignore[attr-defined] # noqa: SLF001 - no public name before 3.13
        source.seek(0)
        digest = hashlib.sha256()
        done_bytes = 0
        with self._zip.open(info, "w") as entry:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                entry.write(chunk)
                done_bytes += len(chunk)
                on_progress(Progress(progress.phase, progress.done_bytes + done_bytes, progress.total_bytes))
        self._checksums.append((name, digest.hexdigest()))
        return AddedEntry(digest.hexdigest(), done_bytes)


def open_regular_file(paths: Sequence[Path]) -> BinaryIO | None:
    """Open the first of the paths that is a regular file, not following a link; None when none is.

    A file that is renamed from the first path to the second meanwhile is found at one of the two.
    """
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    return None


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


def extract_archive(archive: CheckedArchive, target_dir: Path, on_progress: OnProgress) -> None:
    """Unpack every entry below target_dir, comparing each with its SHA-256.

    On disk: every file is fsynced; after an error, an incomplete target_dir, which the caller removes.
    Raises: CorruptArchiveError; OSError.
    """
    done_bytes, total_bytes = 0, archive.total_bytes
    for info in archive.zip_file.infolist():
        target = target_dir / info.filename
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


def _copy_durably(source: IO[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _new_entry(name: str, modified: datetime, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, min(max(modified, _EARLIEST), _LATEST).timetuple()[:6])
    info.external_attr = mode << 16
    return info


def _from_timestamp(seconds: float) -> datetime:
    """A file's time may be anything: what a ZIP cannot hold is brought into its range."""
    return datetime.fromtimestamp(min(max(seconds, _EARLIEST.timestamp()), _LATEST.timestamp()), UTC)


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
