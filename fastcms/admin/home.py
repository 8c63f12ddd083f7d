"""The first page after logging in: what there is, and whether it is backed up."""

from dataclasses import dataclass

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts.schemas import Scope
from fastcms.backups import restoring
from fastcms.backups.folder import try_to_see
from fastcms.backups.overview import look_over
from fastcms.backups.set_again import see_what_to_set_again
from fastcms.content import service as content
from fastcms.content.models import Collection
from fastcms.content.record_forms import records_key
from fastcms.media import service as media
from fastcms.pages import Page, get_site, get_visitor, in_read, in_thread


@dataclass(frozen=True)
class Overview:
    """How much the site has."""

    collections: list[tuple[Collection, int]]
    file_count: int


class HomePage(Page):
    menu_label = "Home"
    icon = "fa-solid fa-house"
    path = "/"
    route_name = "index"
    scope = Scope.CONTENT_READ

    @route("")
    async def index(self, request: Request) -> Response:
        is_admin = get_visitor(request).may(Scope.ADMIN)
        return self.render(
            request,
            "home.html",
            is_admin=is_admin,
            overview=await in_read(request, _overview),
            restore=await in_thread(try_to_see, restoring.restore_status, get_site(request)),
            safety=await in_thread(look_over, get_site(request)) if is_admin else None,
            to_set_again=await in_thread(see_what_to_set_again, get_site(request)) if is_admin else None,
            records_key=records_key,
        )


def _overview(session: Session) -> Overview:
    counts = [(found, content.count_records(session, found)) for found in content.list_collections(session)]
    _files, file_count = media.list_files(session, per_page=1)
    return Overview(counts, file_count)
