"""Routes that look into a backup. Lists need a scope, as with the backups; the files themselves, an admin."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Scope
from fastcms.backups import archive_contents
from fastcms.backups.answers import backed_up_file_answer
from fastcms.backups.archive_contents import BackupContents, FilesInBackup
from fastcms.web import CurrentSite

router = APIRouter(prefix="/{filename}")

_MAY_READ = Depends(require(Scope.BACKUPS_READ))
_FILE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/contents", dependencies=[_MAY_READ])
def show_contents(site: CurrentSite, filename: str) -> BackupContents:
    """What is in a backup, beside what the site has now. The first look at a large one takes some seconds."""
    return archive_contents.describe_contents(site, filename)


@router.get("/files", dependencies=[_MAY_READ])
def list_backed_up_files(
    site: CurrentSite,
    filename: str,
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = 30,
    search: Annotated[str, Query(max_length=255, description="A part of the filename, or its id.")] = "",
) -> FilesInBackup:
    """List the uploaded files in a backup, newest first."""
    return archive_contents.list_files(site, filename, search=search, page=page, per_page=per_page)


@router.get("/files/{file_path:path}", response_class=Response, responses=_FILE_ANSWER)
def download_backed_up_file(
    site: CurrentSite, filename: str, file_path: str, caller: AdminCaller
) -> Response:
    """Download one file of a backup, by its `path`. It is checked on the way: a damaged one breaks off."""
    return backed_up_file_answer(site, filename, file_path, caller.name)
