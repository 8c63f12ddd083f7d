"""The menu, and the collections that this request sees.

Collections are made at run time and by other workers too, so they are read anew for every request, in the
one place where it is allowed to wait: while the visitor is being looked up.
"""

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.requests import Request
from starlette_admin.views import BaseView

from fastcms.content.models import Collection
from fastcms.content.record_forms import records_key
from fastcms.pages import Page

_collections: ContextVar[Sequence[Collection]] = ContextVar("collections", default=())


def remember_collections(collections: Sequence[Collection]) -> None:
    """Keep the collections until the end of this request."""
    _collections.set(collections)


def find_collection(key: str | None) -> Collection | None:
    """The collection whose records have this key in the dashboard's addresses."""
    return next((found for found in _collections.get() if records_key(found.name) == key), None)


@dataclass(frozen=True)
class MenuItem:
    label: str
    url: str
    icon: str
    is_active: bool


class Menu:
    """What the sidebar shows to a visitor: the pages they may see, and every collection."""

    def __init__(self, views: list[BaseView]) -> None:
        self._views = views

    def sections(self, request: Request) -> Iterator[tuple[str, list[MenuItem]]]:
        pages = [view for view in self._views if isinstance(view, Page) and view.menu_label]
        for section in dict.fromkeys(page.menu_section for page in pages):
            items = [
                MenuItem(page.menu_label, page.url(request), page.icon or "", _is_below(request, page))
                for page in pages
                if page.menu_section == section and page.is_accessible(request)
            ]
            if section == "Content":
                items = [*_collection_items(request), *items]
            if items:
                yield section, items


def _is_below(request: Request, page: Page) -> bool:
    here = request.url.path.removeprefix(request.scope["root_path"])
    return here == page.path or (page.path != "/" and here.startswith(f"{page.path}/"))


def _collection_items(request: Request) -> list[MenuItem]:
    return [
        MenuItem(
            collection.name,
            str(request.url_for("admin:list", key=records_key(collection.name))),
            "fa-solid fa-table-list",
            request.path_params.get("key") == records_key(collection.name),
        )
        for collection in _collections.get()
    ]
