"""How the API and the dashboard send an archive."""

from pathlib import Path

from fastapi import Request
from fastapi.responses import Response

from fastcms.backups.schemas import Backup
from fastcms.downloads import file_answer
from fastcms.errors import BackupNotFoundError


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
