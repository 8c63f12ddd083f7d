"""Store, find, list and delete uploaded files."""

from sqlalchemy.orm import Session

from fastcms.errors import NotFoundError
from fastcms.media.models import MediaFile


def find_file(session: Session, file_id: str) -> MediaFile:
    """Find a file by its id.

    Raises: NotFoundError.
    """
    file = session.get(MediaFile, file_id)
    if file is None:
        raise NotFoundError(f"There is no file {file_id!r}.", code="file_not_found")
    return file
