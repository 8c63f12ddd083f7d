"""The dashboard's page of who did what."""

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.activity import service
from fastcms.activity.recorder import Recorder
from fastcms.activity.schemas import CallerKind
from fastcms.activity.subjects import find_links
from fastcms.pages import Page, count_pages, get_site, in_read, in_thread, page_number

_PER_PAGE = 50
_LONGEST_QUERY = 400
# What an action's name begins with: what it is about, for people, and its icon.
AREAS = {
    "login": ("Logging in", "fa-right-to-bracket"),
    "record": ("Records", "fa-table-list"),
    "collection": ("Collections", "fa-cubes"),
    "file": ("Files", "fa-images"),
    "backup": ("Backups", "fa-box-archive"),
    "restore": ("Restores", "fa-clock-rotate-left"),
    "account": ("Accounts", "fa-users"),
    "token": ("API tokens", "fa-key"),
    "server": ("Server", "fa-server"),
}
_KINDS = {CallerKind.TOKEN: "API token", CallerKind.UNKNOWN: "not logged in", CallerKind.SITE: "asked for it"}


class ActivityPage(Page):
    menu_label = "Activity"
    menu_section = "Site"
    icon = "fa-solid fa-list-check"
    path = "/activity"
    route_name = "activity"

    @route("")
    async def index(self, request: Request) -> Response:
        site = get_site(request)
        recorder: Recorder = request.app.state.recorder
        await in_thread(recorder.flush)  # what the visitor has just done is there
        asked = {
            name: request.query_params.get(name, "")[:_LONGEST_QUERY] for name in ("who", "action", "search")
        }
        number = page_number(request)
        found = await in_thread(service.list_entries, site, page=number, per_page=_PER_PAGE, **asked)
        return self.render(
            request,
            "activity.html",
            entries=found.items,
            total=found.total,
            page_number=number,
            page_count=count_pages(found.total, _PER_PAGE),
            links=await in_read(request, find_links, request, found.items),
            people=await in_thread(service.list_people, site),
            areas=AREAS,
            kinds=_KINDS,
            asked=asked,
        )
