"""The first page after logging in: what there is, and whether it is backed up."""

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts.schemas import Scope
from fastcms.pages import Page, get_visitor


class HomePage(Page):
    menu_label = "Home"
    menu_section = ""
    icon = "fa-solid fa-house"
    path = "/"
    route_name = "index"
    scope = Scope.CONTENT_READ

    @route("")
    async def index(self, request: Request) -> Response:
        return self.render(request, "home.html", is_admin=get_visitor(request).may(Scope.ADMIN))
