"""The dashboard's page of the settings of backups."""

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.pages import Page, see_other


class SettingsPage(Page):
    path = "/backups"
    route_name = "backup-settings"

    @route("/settings", name="backup-settings-show")
    async def index(self, request: Request) -> Response:
        return see_other(self.url(request))
