"""The uploaded files: rows without files, files without rows, and what is left over."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from humanize import naturalsize

from fastcms.backups.engine.file_rows import FileRow, is_upload_path, read_file_rows
from fastcms.doctor.database import open_unchanged
from fastcms.doctor.findings import Finding, Subject, count, look_twice, name_some, note, ok, problem
from fastcms.incoming import UPLOAD_PREFIX
from fastcms.locks import FileLock
from fastcms.media.storage import TRASH_LOCK_NAME, TRASH_NAME, list_files_on_disk, list_trash
from fastcms.sqlite import sqlite3

_ONE_BACK = (
    "Get it back from a backup: docs/disaster-recovery.md, 'Getting one file back'. A new upload would have "
    "a new id and URL."
)
_ALL_BACK = (
    "If data/files is a disk of its own, mount it. Otherwise restore the newest backup: "
    "`fastcms backup restore NAME`."
)


def check_rows(subject: Subject) -> Iterator[Finding]:
    """Compare what the database knows with what is on the disk."""
    rows = _read_rows(subject)
    if rows is None:
        return
    files_dir = subject.paths.files_dir
    if not files_dir.is_dir():
        if rows:
            gone = f"{files_dir} is missing, and with it {count(len(rows), 'uploaded file')}."
            yield problem("files_missing", gone, _ALL_BACK)
        return
    missing = look_twice(subject, lambda: _find_missing(subject))
    damaged = [row.path for row in rows if row.path not in missing and _differs(subject, row)]
    if missing:
        said = f"{_count_with_verb(len(missing), 'uploaded file')} missing: {name_some(missing)}."
        yield problem("file_missing", said, _ONE_BACK)
    if damaged:
        said = f"{_count_with_verb(len(damaged), 'uploaded file')} damaged: {name_some(damaged)}."
        yield problem("file_damaged", said, _ONE_BACK)
    if not missing and not damaged:
        how = "have the bytes that were uploaded" if subject.is_deep else "are there, in their size"
        size = naturalsize(sum(row.size_bytes for row in rows))
        yield ok(
            "files",
            f"All uploaded files {how} ({len(rows)}, {size})" if rows else "No files are uploaded yet",
        )


def check_files_without_row(subject: Subject) -> Iterator[Finding]:
    files_dir = subject.paths.files_dir
    if not files_dir.is_dir():
        return
    unknown = look_twice(subject, lambda: find_unknown(subject))
    if unknown:
        hint = "It does no harm, and is in every backup. Delete what nobody needs."
        if not _read_rows(subject):
            # Perhaps all uploads of a site whose database was lost.
            hint = "Keep them until you know what they are: the database knows no file at all."
        yield note(
            "file_without_row",
            f"{_count_with_verb(len(unknown), 'file')} in {files_dir}, but not in the database: "
            f"{name_some(unknown)}",
            hint,
        )


def check_left_overs(subject: Subject) -> Iterator[Finding]:
    files_dir = subject.paths.files_dir
    uploads = [files_dir / name for name in look_twice(subject, lambda: find_stale_uploads(files_dir))]
    if uploads:
        yield note(
            "upload_left_over",
            f"Broken off: {count(len(uploads), 'upload')} ({naturalsize(_total(uploads))})",
            "The next start tidies up.",
        )
    trash = [files_dir / TRASH_NAME / path for path in look_twice(subject, lambda: _find_trash(subject))]
    if trash:
        yield note(
            "trash_not_empty",
            f"Still on the disk: {count(len(trash), 'deleted file')} ({naturalsize(_total(trash))})",
            "The next start, or the next backup, tidies up.",
        )
    if files_dir.is_symlink():
        yield note("files_is_link", f"{files_dir} is a symbolic link to {files_dir.readlink()}")


def find_stale_uploads(folder: Path) -> set[str]:
    """Unfinished uploads that nobody is writing."""
    return {path.name for path in folder.glob(f"{UPLOAD_PREFIX}*") if not FileLock(path).holders()}


def _find_missing(subject: Subject) -> set[str]:
    files_dir = subject.paths.files_dir
    return {row.path for row in _read_rows(subject) or [] if not _place_of(files_dir, row).is_file()}


def find_unknown(subject: Subject) -> set[str]:
    """Files that the database does not know; none when it cannot be read."""
    on_disk = set(list_files_on_disk(subject.paths.files_dir))
    rows = _read_rows(subject)
    return set() if rows is None else on_disk - {row.path for row in rows}


def _find_trash(subject: Subject) -> set[str]:
    """Deleted files that no running backup needs."""
    if FileLock(subject.paths.backups_dir / TRASH_LOCK_NAME).holders():
        return set()
    return set(list_trash(subject.paths.files_dir))


def _read_rows(subject: Subject) -> list[FileRow] | None:
    """The rows of files; None when the database cannot be read, which its own checks explain."""
    if not subject.paths.live.database.exists():
        return None
    with suppress(sqlite3.Error), open_unchanged(subject) as connection:
        return read_file_rows(connection)
    return None


def _place_of(files_dir: Path, row: FileRow) -> Path:
    """Where a row's bytes are: a deletion that was broken off has left them in the trash."""
    if not is_upload_path(row.path):
        return files_dir / ".no-place"
    stored, deleted = files_dir / row.path, files_dir / TRASH_NAME / row.path
    return deleted if deleted.is_file() and not stored.exists() else stored


def _differs(subject: Subject, row: FileRow) -> bool:
    with suppress(FileNotFoundError):  # deleted meanwhile
        path = _place_of(subject.paths.files_dir, row)
        if path.stat().st_size != row.size_bytes:
            return True
        if subject.is_deep:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() != row.sha256
    return False


def _count_with_verb(number: int, noun: str) -> str:
    return f"{count(number, noun)} {'is' if number == 1 else 'are'}"


def _total(paths: list[Path]) -> int:
    return sum(path.lstat().st_size for path in paths if path.exists())
