"""Forms that are sent to the dashboard: from its own pages only, and with texts as long as fields may be."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette_admin.security.csrf import CSRFMiddleware

from fastcms.pages import read_form

_Handler = Callable[[Any, Request], Awaitable[Response]]


class FormCheck(CSRFMiddleware):
    """Refuse forms that do not carry the token of this browser, with a page that says what to do."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        pages = request.app.state.error_pages
        try:
            answer: Response = await super().dispatch(request, call_next)
        except HTTPException as error:  # from reading the form; those of pages do not come this far
            return pages.refuse_form(  # type: ignore[no-any-return]
                request, error.status_code, f"{error.detail} Nothing was saved: go back to what you typed."
            )
        if isinstance(answer, PlainTextResponse) and self.header_name not in request.headers:
            return pages.refuse_form(  # type: ignore[no-any-return]
                request,
                answer.status_code,
                "The form was open for too long, or the browser keeps no cookies. Nothing was saved: "
                "go back, copy what you typed, load the page anew and send it again.",
            )
        return answer

    async def _get_submitted_token(self, request: Request) -> str | None:
        if self.header_name not in request.headers:
            # Both are kept by the request: starlette-admin finds them read, within our limits.
            await request.body()
            await read_form(request)
        token: str | None = await super()._get_submitted_token(request)
        return token


def with_long_texts(handler: _Handler) -> _Handler:
    """Let a form handler of starlette-admin find its form already read, within our limits."""

    @wraps(handler)  # it carries the route
    async def answer(admin: Any, request: Request) -> Response:
        await read_form(request)
        return await handler(admin, request)

    return answer
