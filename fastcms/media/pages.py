"""The dashboard's page of uploaded files."""

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts.schemas import Scope
from fastcms.errors import InvalidInputError
from fastcms.media import content_types, service
from fastcms.media.content_types import is_inline
from fastcms.media.models import MediaFile
from fastcms.pages import (
    Page,
    count_pages,
    errors_as_messages,
    form_text,
    get_site,
    in_read,
    in_thread,
    page_number,
)

_PER_PAGE = 24


class FilesPage(Page):
    menu_label = "Files"
    menu_section = "Content"
    icon = "fa-solid fa-images"
    path = "/files"
    route_name = "files"
    scope = Scope.CONTENT_READ

    @route("")
    async def index(self, request: Request) -> Response:
        number = page_number(request)
        search = request.query_params.get("search", "")[:255]
        files, total = await in_read(request, service.list_files, number, _PER_PAGE, search)
        return self.render(
            request,
            "files.html",
            files=files,
            total=total,
            page_number=number,
            page_count=count_pages(total, _PER_PAGE),
            search=search,
            url_of=service.file_url,
            icon_of=icon_of,
            is_picture=is_picture,
            max_size_bytes=int(get_site(request).settings.max_upload_size),
        )

    @route("/delete", methods=["POST"], name="files-delete")
    @errors_as_messages
    async def delete(self, request: Request) -> Response:
        file_id = await form_text(request, "id")
        if not file_id:
            raise InvalidInputError("Choose the file to delete.")
        file = await in_read(request, service.find_file, file_id)
        await in_thread(service.delete_file, get_site(request), file_id)
        return self.done(request, f"Deleted {file.filename}.")


def is_picture(file: MediaFile) -> bool:
    return file.content_type.startswith("image/") and is_inline(file.content_type)


def icon_of(file: MediaFile) -> str:
    return content_types.icon_of(file.content_type)
