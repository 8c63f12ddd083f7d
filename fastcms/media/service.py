"""Store, find, list and delete uploaded files."""

import json
import unicodedata
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import BackupBusyError, NotFoundError
from fastcms.incoming import IncomingFile, remove_stale_uploads
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.media.content_types import detect_content_type
from fastcms.media.models import MediaFile, new_file_id
from fastcms.media.names import clean_filename, stored_name
from fastcms.media.storage import (
    TRASH_LOCK_NAME,
    TRASH_NAME,
    list_files_on_disk,
    list_trash,
    move_to_trash,
    remove_from_trash,
    take_from_trash,
)
from fastcms.noting import note
from fastcms.site import Site

__all__ = [
    "TRASH_LOCK_NAME",
    "TRASH_NAME",
    "add_file",
    "delete_file",
    "empty_trash",
    "file_path",
    "file_url",
    "find_file",
    "find_files_without_row",
    "find_present",
    "keep_file",
    "list_files",
    "remove_stale_uploads",
]

_CHUNK_BYTES = 1024**2
_PATHS_AT_ONCE = 10_000


def add_file(site: Site, source: BinaryIO, filename: str) -> MediaFile:
    """Store what a program reads from source, as an upload would be.

    Raises: TooLargeError; NotEnoughSpaceError.
    """
    with IncomingFile(site.settings.files_dir, site.settings.max_upload_size) as incoming:
        while chunk := source.read(_CHUNK_BYTES):
            incoming.write(chunk)
        return keep_file(site, incoming, filename)


def keep_file(site: Site, incoming: IncomingFile, filename: str) -> MediaFile:
    """Make a completely written file part of the site.

    The bytes are safe before the row exists, so that every row of a backup has its bytes.
    """
    file_id = new_file_id()
    file = MediaFile(
        id=file_id,
        path=stored_name(filename, file_id),
        filename=clean_filename(filename),
        content_type=detect_content_type(incoming.head),
        size_bytes=incoming.size_bytes,
        sha256=incoming.sha256,
        created=utc_now(),
    )
    path = file_path(site.settings, file)
    incoming.sync()
    is_kept = False
    try:
        with site.database.write() as session:
            incoming.keep(path)
            is_kept = True
            session.add(file)
    except BaseException:
        if is_kept:
            path.unlink()
        raise
    note(filename=file.filename, file_id=file.id)
    return file


def find_file(session: Session, file_id: str) -> MediaFile:
    """Find a file by its id.

    Raises: NotFoundError.
    """
    file = session.get(MediaFile, file_id)
    if file is None:
        raise NotFoundError(f"There is no file {file_id!r}.", code="file_not_found")
    return file


def find_present(session: Session, file_ids: Collection[str]) -> set[str]:
    """Which of some ids are those of files that are there."""
    return set(session.scalars(sa.select(MediaFile.id).where(MediaFile.id.in_(file_ids))))


def list_files(
    session: Session, page: int = 1, per_page: int = 30, search: str = ""
) -> tuple[list[MediaFile], int]:
    """One page of files, newest first, and how many there are on all pages."""
    query = sa.select(MediaFile)
    if search:
        wanted = unicodedata.normalize("NFC", search)
        query = query.where(MediaFile.filename.icontains(wanted, autoescape=True))
    total = session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
    newest_first = query.order_by(MediaFile.created.desc(), MediaFile.id.desc())
    rows = session.scalars(newest_first.limit(per_page).offset((page - 1) * per_page))
    return list(rows), total


def delete_file(site: Site, file_id: str) -> None:
    """Delete a file: at once for readers, and for the disk when no running backup needs it any more.

    Raises: NotFoundError.
    """
    settings = site.settings
    is_moved = False
    try:
        with site.database.write() as session:
            file = find_file(session, file_id)
            note(filename=file.filename, file_id=file.id)
            session.delete(file)
            session.flush()
            if file_path(settings, file).exists():
                move_to_trash(settings.files_dir, file.path)
                is_moved = True
    except BaseException:
        if is_moved:
            take_from_trash(settings.files_dir, file.path)
        raise
    empty_trash(site)


def empty_trash(site: Site) -> None:
    """Remove deleted files for good, unless a backup runs: it may still need them, and calls this at its end.

    A file whose deletion a crash broke off is put back.
    """
    files_dir = site.settings.files_dir
    try:
        with FileLock(site.settings.backups_dir / TRASH_LOCK_NAME).hold(is_shared=True, timeout_seconds=0):
            paths = list_trash(files_dir)
            with site.database.read() as session:
                deleted = _without_row(session, paths)
            for path in deleted:
                remove_from_trash(files_dir, path)
            if len(deleted) < len(paths):
                _put_back_what_is_not_deleted(site)
    except BackupBusyError:
        return
    except OSError as error:
        # What is deleted stays deleted, and a backup that is made stays made: only space is not free yet.
        get_logger().warning("Deleted files could not be removed from the disk", reason=str(error))


def _put_back_what_is_not_deleted(site: Site) -> None:
    """A deletion under way has its row until it commits; with the write lock in hand, none is under way."""
    files_dir = site.settings.files_dir
    with site.database.write() as session:
        paths = list_trash(files_dir)
        for path in set(paths).difference(_without_row(session, paths)):
            take_from_trash(files_dir, path)


def find_files_without_row(site: Site) -> list[str]:
    """What somebody put into data/files by hand; no upload or deletion that is under way."""
    files_dir = site.settings.files_dir
    with site.database.read() as session:
        candidates = _without_row(session, list_files_on_disk(files_dir))
    if not candidates:
        return []
    # With the write lock in hand, files and rows agree: every upload has its row, every deletion is done.
    with site.database.write() as session:
        by_hand = _without_row(session, candidates)
    return sorted(path for path in by_hand if (files_dir / path).is_file())


def _without_row(session: Session, paths: Iterable[str]) -> list[str]:
    """Those of the paths that no row has. SQLite compares thousands in one step, and other threads run."""
    found: list[str] = []
    every = iter(paths)
    # In order, because neighbours in the index are found faster.
    while batch := sorted(islice(every, _PATHS_AT_ONCE)):
        asked = sa.func.json_each(json.dumps(batch)).table_valued("key", "value")
        query = sa.select(asked.c.key).where(asked.c.value.not_in(sa.select(MediaFile.path)))
        found += [batch[key] for key in session.scalars(query)]
    return found


def file_path(settings: Settings, file: MediaFile) -> Path:
    """Where the file's bytes are. A path that leads elsewhere cannot come from an upload."""
    if file.path in {"", ".", ".."} or "/" in file.path:
        raise NotFoundError(f"The file {file.id} has no place in data/files.", code="file_bytes_missing")
    return settings.files_dir / file.path


def file_url(file: MediaFile) -> str:
    """The path that serves the file; whoever knows it may read it."""
    return f"/files/{file.id}/{quote(file.filename, safe='')}"
