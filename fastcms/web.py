"""What every HTTP answer has in common: one error shape, a request id, security headers, one log line."""

import logging
import re
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastcms.errors import (
    ConfigError,
    FastCMSError,
    InvalidInputError,
    TooLargeError,
    TooManyAttemptsError,
    status_of,
)
from fastcms.logs import get_logger
from fastcms.noting import note
from fastcms.site import Site

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Swagger UI starts from an inline script; its files come from this server.
_DOCS_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
# Enough for a record whose `editor` field is full.
_MAX_BODY_BYTES = 32 * 1024**2
_UPLOAD_ROUTES = {("POST", "/api/v1/files"), ("POST", "/api/v1/backups/upload")}
_DRAIN_SECONDS = 10
_FIELD_NAME = re.compile(r"[A-Za-z_]{1,40}")
_DOCS_PATHS = ("/docs", "/redoc")
_QUIET_PATHS = ("/admin/static/", "/health", "/metrics", "/static-offline-docs/")


class Problem(BaseModel):
    """An error, as RFC 9457 describes it, with a stable code and a hint."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    errors: list[dict[str, Any]] = []


# Not as `model`: FastAPI would document it as application/json.
_PROBLEM_CONTENT = {"application/problem+json": {"schema": Problem.model_json_schema()}}
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"content": _PROBLEM_CONTENT, "description": "What is wrong, and what to do"},
    "5XX": {"content": _PROBLEM_CONTENT, "description": "What went wrong, and what to do"},
}


def get_site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


# Transactions are opened inside endpoints, never by a dependency: FastAPI runs each dependency as a job
# of its own in the thread pool. With all threads waiting for the write lock, its holder would get none.
CurrentSite = Annotated[Site, Depends(get_site)]


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error as application/problem+json."""
    app.add_exception_handler(FastCMSError, _answer_fastcms_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(OperationalError, _answer_database_error)
    app.add_exception_handler(OSError, _answer_disk_error)
    app.add_exception_handler(Exception, _answer_unexpected_error)


def problem_response(error: FastCMSError) -> JSONResponse:
    """The HTTP answer for an error."""
    headers = {}
    if isinstance(error, TooManyAttemptsError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    errors = error.errors if isinstance(error, InvalidInputError) else []
    return _problem(
        status_of(error)[0],
        error.message,
        error.code,
        error.hint,
        errors=errors,
        headers=headers,
        details=error.details,
    )


def _problem(
    status: int,
    detail: str,
    code: str,
    hint: str = "",
    *,
    errors: list[Any] | None = None,
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> JSONResponse:
    note(refusal=detail)
    all_headers = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        all_headers["WWW-Authenticate"] = "Bearer"
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        hint=hint,
        errors=errors or [],
    )
    content = problem.model_dump(exclude_defaults=True) | {"type": problem.type, "hint": hint}
    content |= (
        details or {}
    )  # extension members: https://www.rfc-editor.org/rfc/rfc9457#name-extension-members
    return JSONResponse(content, status, all_headers, media_type="application/problem+json")


def _answer_fastcms_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FastCMSError)  # noqa: S101 - what it was registered for
    if status_of(error)[0] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        get_logger().error(error.message, code=error.code, hint=error.hint)
    return problem_response(error)


def _answer_validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it was registered for
    # The input itself is left out: it may hold a password.
    errors = [{"field": _field_of(problem), "message": problem["msg"]} for problem in error.errors()]
    detail = "; ".join(f"{problem['field']}: {problem['message']}" for problem in errors)
    return _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        detail,
        "invalid_input",
        "See /docs for what is expected.",
        errors=errors,
    )


def _field_of(problem: Any) -> str:
    """Where the input is wrong. A name that somebody else has chosen may be a secret in the wrong place."""
    *parts, last = (str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden" and not _FIELD_NAME.fullmatch(last):
        last = "..."
    return ".".join([*parts, last])


def _answer_http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it was registered for
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return _problem(error.status_code, str(error.detail), code, headers=error.headers)


def _answer_database_error(_request: Request, error: Exception) -> JSONResponse:
    get_logger().error("The database did not answer", reason=str(error.__cause__))
    return _problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"The database did not answer: {error.__cause__}.",
        "database_unavailable",
        "Try again; if it stays, look at the disk's free space and at the server's log.",
    )


def _answer_disk_error(_request: Request, error: Exception) -> JSONResponse:
    return problem_response(disk_error(error))


def disk_error(error: Exception) -> ConfigError:
    """What to say of a file or folder that cannot be used, where nobody has expected it."""
    get_logger().error("A file or folder cannot be used", exc_info=error)
    return ConfigError(
        f"A file or folder of the site cannot be used: {getattr(error, 'strerror', None) or error}.",
        hint="Look whether the disk is there, and who may use the data folder. The server's log says more.",
        code="data_folder_unusable",
    )


def _answer_unexpected_error(_request: Request, error: Exception) -> JSONResponse:
    get_logger().error("Unexpected error", exc_info=error)
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong on the server.",
        "unexpected_error",
        "The server's log has the reason, beside this answer's X-Request-ID.",
    )


class EveryAnswerMiddleware:
    """Add the security headers that a route has not set itself, and log one line a request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith(_DOCS_PATHS):
                    headers.setdefault("Content-Security-Policy", _DOCS_CSP)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            # Pictures of the dashboard and monitors' questions would bury what people look for.
            is_noise = status < HTTPStatus.BAD_REQUEST and scope["path"].startswith(_QUIET_PATHS)
            get_logger().log(
                logging.DEBUG if is_noise else logging.INFO,
                "request",
                method=scope["method"],
                path=scope["path"],  # never the query string: it may carry what nobody should log
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )


class BodyLimitMiddleware:
    """Refuse large bodies: FastAPI reads them whole before it asks who sends them.

    Uploads go straight to the disk and have a limit of their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) in _UPLOAD_ROUTES:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = None if _announced_bytes(headers) > _MAX_BODY_BYTES else await _read_body(receive)
        if body is None:
            # A connection closed on a client that still sends shows it a broken pipe instead of the answer.
            # Who waits for "100 Continue" is not sending.
            if "100-continue" not in headers.get("expect", "").lower():
                await _drain(receive)
            await problem_response(_body_too_large())(scope, receive, send)
            return

        read = iter([body])

        async def receive_again() -> Message:
            return next(read, None) or await receive()

        await self.app(scope, receive_again, send)


def _announced_bytes(headers: Headers) -> int:
    announced = headers.get("content-length", "")
    return int(announced) if announced.isascii() and announced.isdigit() else 0


async def _read_body(receive: Receive) -> Message | None:
    """A request's whole body as one message, or None when it is over the limit."""
    body = bytearray()  # not the messages: of one byte each, they would take far more memory
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            # Of a client that went away, the next message says so again.
            is_cut_off = message["type"] == "http.disconnect"
            return {"type": "http.request", "body": bytes(body), "more_body": is_cut_off}


async def _drain(receive: Receive) -> None:
    """Read and forget what the client still sends, for a while."""
    with anyio.move_on_after(_DRAIN_SECONDS):
        while (await receive()).get("more_body", False):
            pass


def _body_too_large() -> TooLargeError:
    return TooLargeError(
        f"The request's body is larger than {_MAX_BODY_BYTES // 1024**2} MiB.",
        hint="Upload files with POST /api/v1/files; import many records with `fastcms content import`.",
    )


class StartupErrorMiddleware:
    """Say why the server does not start, in words instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_words(message: Message) -> None:
            # Starlette sends this from within its except block.
            error = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(error, FastCMSError):
                message["message"] = f"FastCMS cannot start: {error.message} {error.hint}"
                scope["app"].state.startup_error = error  # for the exit code of `fastcms serve`
            await send(message)

        await self.app(scope, receive, send_in_words if scope["type"] == "lifespan" else send)
