"""Routes of uploaded files."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from fastcms.accounts.dependencies import require
from fastcms.accounts.schemas import Scope
from fastcms.downloads import file_answer
from fastcms.errors import NotFoundError
from fastcms.logs import get_logger
from fastcms.media import service
from fastcms.media.content_types import is_inline
from fastcms.media.models import MediaFile
from fastcms.media.schemas import FileInfo, FilePage
from fastcms.site import Site
from fastcms.uploads import multipart_body, receive_upload
from fastcms.web import CurrentSite

router = APIRouter(prefix="/files", tags=["files"])
serving_router = APIRouter(tags=["files"])

_MAY_READ = Depends(require(Scope.CONTENT_READ))
_MAY_WRITE = Depends(require(Scope.CONTENT_WRITE))
_SERVED_HEADERS = {
    # A URL's bytes never change: another file has another id.
    "Cache-Control": "public, max-age=31536000, immutable",
    # Everyone may read it who knows its URL, so scripts and fonts of other sites may, too; and without it,
    # browsers refuse to play sound and video under `sandbox`.
    "Access-Control-Allow-Origin": "*",
    # Whatever the file is, it cannot run as a part of this site.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "media-src 'self'; frame-ancestors 'none'; sandbox",
}


def file_info(file: MediaFile) -> FileInfo:
    return FileInfo(
        id=file.id,
        filename=file.filename,
        size=file.size_bytes,
        sha256=file.sha256,
        url=service.file_url(file),
        content_type=file.content_type,
        created=file.created,
    )


@router.post("", status_code=201, dependencies=[_MAY_WRITE], openapi_extra=multipart_body())
async def upload_file(request: Request, site: CurrentSite) -> FileInfo:
    """Upload a file, as multipart/form-data with one part named `file`."""
    return file_info(await receive_file(request, site))


async def receive_file(request: Request, site: Site) -> MediaFile:
    """Store the file that a request carries.

    On disk: the complete file and its row, or nothing.
    """
    settings = site.settings
    keep = partial(service.keep_file, site)
    return await receive_upload(
        request, settings.files_dir, keep, max_size_bytes=int(settings.max_upload_size)
    )


@router.get("", dependencies=[_MAY_READ])
def list_files(
    site: CurrentSite,
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = 30,
    search: Annotated[str, Query(max_length=255, description="A part of the filename.")] = "",
) -> FilePage:
    """List files, newest first."""
    with site.database.read() as session:
        files, total = service.list_files(session, page, per_page, search)
    return FilePage(items=[file_info(file) for file in files], total=total, page=page, per_page=per_page)


@router.get("/{file_id}", dependencies=[_MAY_READ])
def show_file(site: CurrentSite, file_id: str) -> FileInfo:
    """What is known about a file."""
    with site.database.read() as session:
        return file_info(service.find_file(session, file_id))


@router.delete("/{file_id}", status_code=204, dependencies=[_MAY_WRITE])
def delete_file(site: CurrentSite, file_id: str) -> None:
    """Delete a file. A running backup still holds it."""
    service.delete_file(site, file_id)


@serving_router.head("/files/{file_id}/{filename}", include_in_schema=False)
@serving_router.get("/files/{file_id}/{filename}", response_class=Response)
def serve_file(request: Request, site: CurrentSite, file_id: str, filename: str) -> Response:
    """The file itself, for everyone who knows its URL; the id decides, the name is for people."""
    with site.database.read() as session:
        file = service.find_file(session, file_id)
    try:
        return file_answer(
            request,
            service.file_path(site.settings, file),
            etag=file.sha256,
            content_type=file.content_type,
            filename=file.filename,
            is_inline=is_inline(file.content_type),
            headers=_SERVED_HEADERS,
        )
    except FileNotFoundError as error:
        get_logger().error("A file's bytes are missing", file_id=file.id, path=file.path)
        raise NotFoundError(
            f"The bytes of {filename!r} are missing on the server's disk.",
            hint="Restore a backup that holds it, or upload it again.",
            code="file_bytes_missing",
        ) from error
