"""The dashboard's pages of one backup: what is in it, and its files."""

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.backups import archive_contents
from fastcms.backups.answers import backed_up_file_answer
from fastcms.backups.elsewhere import try_destination
from fastcms.backups.one_backup import look_at
from fastcms.backups.service import find_backup
from fastcms.errors import FastCMSError
from fastcms.media.content_types import icon_of
from fastcms.pages import (
    Page,
    count_pages,
    get_site,
    get_visitor,
    in_thread,
    in_waiting_thread,
    in_words,
    page_number,
    see_other,
    show_message,
)

_PER_PAGE = 50
_LONGEST_SEARCH = 255


class DetailPage(Page):
    path = "/backups"
    route_name = "backup-detail"

    @route("/{filename}", name="backup-show")
    async def index(self, request: Request) -> Response:
        filename = request.path_params["filename"]
        found = await in_thread(look_at, get_site(request), filename)
        return self.render(
            request,
            "backup_detail.html",
            title=filename,
            here=self.url(request, f"/{filename}"),
            icon_of=icon_of,
            **found._asdict(),
        )

    @route("/{filename}/copies/{destination_id}/try-again", methods=["POST"], name="backup-copy-again")
    async def try_to_copy_again(self, request: Request) -> Response:
        """Try the destination at once, and wait no longer with what is to be copied there."""
        here = f"/{request.path_params['filename']}"
        try:
            found = await in_waiting_thread(
                try_destination, get_site(request), request.path_params["destination_id"]
            )
        except FastCMSError as error:
            show_message(request, in_words(error), "error")
            return see_other(self.url(request, here))
        return self.done(request, f"{found.place} can be used. Copying goes on within half a minute.", here)

    @route("/{filename}/files", name="backup-files")
    async def files(self, request: Request) -> Response:
        site, filename = get_site(request), request.path_params["filename"]
        search = request.query_params.get("search", "")[:_LONGEST_SEARCH]
        found = await in_thread(
            archive_contents.list_files,
            site,
            filename,
            search=search,
            page=page_number(request),
            per_page=_PER_PAGE,
        )
        return self.render(
            request,
            "backup_files.html",
            title="Files in this backup",
            backup=await in_thread(find_backup, site, filename),
            here=self.url(request, f"/{filename}"),
            files=found,
            page_count=count_pages(found.total, _PER_PAGE),
            search=search,
            icon_of=icon_of,
        )

    @route("/{filename}/files/{path:path}", name="backup-file")
    async def download_file(self, request: Request) -> Response:
        filename, path = request.path_params["filename"], request.path_params["path"]
        name = get_visitor(request).name
        return await in_thread(backed_up_file_answer, get_site(request), filename, path, name)
