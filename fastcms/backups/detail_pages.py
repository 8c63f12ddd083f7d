"""The dashboard's pages of one backup: what is in it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.pages import Page, see_other


class DetailPage(Page):
    path = "/backups"
    route_name = "backup-detail"

    @route("/{filename}", name="backup-show")
    async def index(self, request: Request) -> Response:
        return see_other(self.url(request))
