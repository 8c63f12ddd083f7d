"""What every dashboard page has in common: who may see it, its messages, and its work off the event loop."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, Concatenate, Literal, Protocol, TypeVar, TypeVarTuple, Unpack, cast

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette_admin import CustomView
from starlette_admin.flash import flash, get_flashed_messages

from fastcms.errors import FastCMSError, PermissionDeniedError
from fastcms.noting import note
from fastcms.site import Site

_MAX_MESSAGE_LENGTH = 600
# What a collection's 200 fields and a record's longest texts need; Starlette's own limits are lower.
_MAX_FORM_FIELDS = 5000
_MAX_FORM_BYTES = 32 * 1024**2
_MAX_DIGITS = 9  # of a page's number
_WAITING = CapacityLimiter(8)
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Visitor(Protocol):
    """Who is logged in, as `accounts` describes a caller."""

    @property
    def name(self) -> str: ...

    def may(self, scope: Any) -> bool: ...


class Page(CustomView):
    """A page of the dashboard, at `path`, for visitors who have `scope`.

    `menu_section` is the heading under which the sidebar lists it.
    """

    scope = "admin"
    menu_section = ""

    def is_accessible(self, request: Request) -> bool:
        return get_visitor(request).may(self.scope)

    def url(self, request: Request, path: str = "") -> str:
        """The address of this page, or of a path below it."""
        return str(request.url_for("admin", path=self.path + path))

    def render(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """Fill a template, with the messages that are waiting for this visitor."""
        assert self.templates is not None  # noqa: S101 - set when the page is registered
        return self.templates.TemplateResponse(
            request,
            template,
            {"title": self.title(request), "page": self, "flashed_messages": get_flashed_messages(request)}
            | context,
            status_code=status,
        )

    def done(self, request: Request, message: str, path: str = "") -> Response:
        """Go back to the page and say what has happened."""
        show_message(request, message, "success")
        return see_other(self.url(request, path))


PageType = TypeVar("PageType", bound=Page)


def errors_as_messages(
    handler: Callable[Concatenate[PageType, Request, ...], Awaitable[Response]],
) -> Callable[[PageType, Request], Awaitable[Response]]:
    """Turn an error of a form's handler, unless it is about rights, into a message on the form's page."""

    @wraps(handler)
    async def answer(page: PageType, request: Request) -> Response:
        try:
            return await handler(page, request)
        except PermissionDeniedError:
            raise
        except FastCMSError as error:
            show_message(request, in_words(error), "error")
            return see_other(page.url(request))

    return answer


def show_message(request: Request, message: str, category: Literal["success", "warning", "error"]) -> None:
    """Show it on the next page; a cookie carries it there, so it cannot be long."""
    if category == "error":
        note(refusal=message)
    shortened = message if len(message) <= _MAX_MESSAGE_LENGTH else f"{message[:_MAX_MESSAGE_LENGTH]}…"
    flash(request, shortened, category)


def get_visitor(request: Request) -> Visitor:
    return cast("Visitor", request.state.visitor)


def require_scope(request: Request, scope: str) -> None:
    """Refuse a part of a page to visitors who do not have the scope."""
    if not get_visitor(request).may(scope):
        raise PermissionDeniedError("This is for admins.", hint="Ask an admin of this site.")


def get_site(request: Request) -> Site:
    """The site; unlike `web.get_site` it is for the dashboard, which is an application of its own."""
    return cast("Site", request.app.state.site)


def can_be_overheard(request: Request) -> bool:
    """Whether others on the way could read what is typed into a page, or shown by it."""
    return request.url.scheme != "https" and request.url.hostname not in _THIS_MACHINE


def in_words(error: FastCMSError) -> str:
    return f"{error.message} {error.hint}".strip()


def see_other(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303)


async def in_thread(
    function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments, **options: Any
) -> Result:
    """Run what blocks in a thread: the event loop belongs to everyone."""
    return await to_thread.run_sync(partial(function, *arguments, **options))


async def in_waiting_thread(
    function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments, **options: Any
) -> Result:
    """Run what waits for another machine, for a minute perhaps: it takes no thread from what does not."""
    return await to_thread.run_sync(partial(function, *arguments, **options), limiter=_WAITING)


async def in_read(
    request: Request, function: Callable[..., Result], *arguments: Any, **options: Any
) -> Result:
    """Run `function(session, ...)` in a read transaction and a thread."""

    def work() -> Result:
        with get_site(request).database.read() as session:
            return function(session, *arguments, **options)

    return await to_thread.run_sync(work)


async def in_write(
    request: Request, function: Callable[..., Result], *arguments: Any, **options: Any
) -> Result:
    """Run `function(session, ...)` in a write transaction and a thread; it is committed on return."""

    def work() -> Result:
        with get_site(request).database.write() as session:
            return function(session, *arguments, **options)

    return await to_thread.run_sync(work)


def page_number(request: Request) -> int:
    """Which page of a long list is asked for; the first one, if that cannot be understood."""
    text = request.query_params.get("page", "")
    return max(int(text), 1) if text.isdecimal() and len(text) <= _MAX_DIGITS else 1


def count_pages(total: int, per_page: int) -> int:
    """How many pages a list has; an empty one has one."""
    return max(-(-total // per_page), 1)


async def read_form(request: Request) -> FormData:
    """The submitted form; the request keeps it, so whoever asks for it later gets it too."""
    form = await request.form(max_fields=_MAX_FORM_FIELDS, max_part_size=_MAX_FORM_BYTES)
    note(form={name: value for name, value in form.items() if isinstance(value, str)})
    return form


async def form_text(request: Request, name: str) -> str:
    """A text field of the submitted form; empty when it is missing."""
    value = (await read_form(request)).get(name)
    return value.strip() if isinstance(value, str) else ""
