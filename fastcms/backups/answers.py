"""How the API and the dashboard send an archive, and a file out of one."""

from pathlib import Path

from fastapi import Request
from fastapi.responses import Response

from fastcms.backups import archive_contents
from fastcms.backups.schemas import Backup
from fastcms.downloads import checked_answer, file_answer
from fastcms.errors import BackupNotFoundError
from fastcms.logs import get_logger
from fastcms.media.names import clean_filename
from fastcms.site import Site


def archive_answer(request: Request, backup: Backup) -> Response:
    """The archive, or the range of it that resumes a download. Raises: BackupNotFoundError."""
    path = Path(backup.path)
    try:
        return file_answer(
            request,
            path,
            etag=f"{path.stat().st_mtime_ns:x}-{backup.size_bytes:x}",
            content_type="application/zip",
            filename=backup.filename,
            headers={"Cache-Control": "private, no-store"},
        )
    except FileNotFoundError as error:
        raise BackupNotFoundError(f"{backup.filename} was deleted a moment ago.") from error


def backed_up_file_answer(site: Site, filename: str, path: str, requested_by: str) -> Response:
    """One file of a backup, under the name that it was uploaded with. Raises: what `open_file` raises."""
    file, pieces = archive_contents.open_file(site, filename, path)
    get_logger().info("file of a backup downloaded", backup=filename, path=path, by=requested_by)
    return checked_answer(pieces, file.size_bytes, clean_filename(file.filename))
