"""Store, find, list and delete uploaded files."""

import unicodedata
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import NotFoundError
from fastcms.logs import get_logger
from fastcms.media.content_types import detect_content_type
from fastcms.media.models import MediaFile, new_file_id
from fastcms.media.names import clean_filename, stored_name
from fastcms.media.storage import (
    TRASH_LOCK_NAME,
    TRASH_NAME,
    UPLOAD_PREFIX,
    IncomingFile,
    empty_trash,
    move_to_trash,
    remove_stale_uploads,
    remove_trash,
)
from fastcms.site import Site

__all__ = [
    "TRASH_LOCK_NAME",
    "TRASH_NAME",
    "UPLOAD_PREFIX",
    "add_file",
    "delete_file",
    "empty_trash",
    "file_path",
    "file_url",
    "find_file",
    "keep_file",
    "list_files",
    "remove_stale_uploads",
    "remove_trash",
]

_CHUNK_BYTES = 1024**2


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
    incoming.keep(path)
    try:
        with site.database.write() as session:
            session.add(file)
    except BaseException:
        path.unlink()
        raise
    return file


def find_file(session: Session, file_id: str) -> MediaFile:
    """Find a file by its id.

    Raises: NotFoundError.
    """
    file = session.get(MediaFile, file_id)
    if file is None:
        raise NotFoundError(f"There is no file {file_id!r}.", code="file_not_found")
    return file


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
    """Delete a file: its row first, then its bytes, which a running backup may still need.

    Raises: NotFoundError.
    """
    with site.database.write() as session:
        file = find_file(session, file_id)
        session.delete(file)
    settings = site.settings
    try:
        move_to_trash(settings.files_dir, file.path)
        empty_trash(settings.files_dir, settings.backups_dir)
    except OSError as error:
        # The file is deleted for everyone; only its space is not free yet.
        get_logger().warning("A deleted file's bytes were not removed", path=file.path, reason=str(error))


def file_path(settings: Settings, file: MediaFile) -> Path:
    return settings.files_dir / file.path


def file_url(file: MediaFile) -> str:
    """The path that serves the file; whoever knows it may read it."""
    return f"/files/{file.id}/{quote(file.filename, safe='')}"
