"""Answer with a file from the disk: ranges, conditional requests, and a name in any language."""

import re
from collections.abc import Generator, Mapping
from pathlib import Path
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fastcms.errors import FastCMSError, UnsatisfiableError
from fastcms.logs import get_logger
from fastcms.web import problem_response

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})[ \t]*-[ \t]*(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_NOT_MODIFIED_HEADERS = ("etag", "last-modified", "cache-control", "content-security-policy")


class _FileAnswer(FileResponse):
    # Each chunk costs a trip to a thread: with Starlette's 64 KiB, a third of the speed is left.
    chunk_size = 1024**2


def file_answer(
    request: Request,
    path: Path,
    *,
    etag: str,
    content_type: str,
    filename: str,
    is_inline: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The file, one range of it (206), or why not (304, 416). It is streamed, never read as a whole.

    `etag` comes without quotation marks; `is_inline`: a browser may show the file instead of saving it.

    Raises: FileNotFoundError.
    """
    answer = _FileAnswer(
        path,
        headers={**(headers or {}), "ETag": f'"{etag}"'},
        media_type=content_type,
        filename=filename,
        stat_result=path.stat(),
        content_disposition_type="inline" if is_inline else "attachment",
    )
    if _is_known(request, etag):
        kept = {name: answer.headers[name] for name in _NOT_MODIFIED_HEADERS if name in answer.headers}
        return Response(status_code=304, headers=kept)
    first_byte = _first_byte(request, int(answer.headers["content-length"]))
    if first_byte is None:
        # Starlette would answer 400 to what RFC 9110 wants ignored, and 206 to HEAD.
        # Source: https://www.rfc-editor.org/rfc/rfc9110#name-range
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    elif first_byte >= int(answer.headers["content-length"]) and _is_range_wanted(request, answer):
        return _unsatisfiable(int(answer.headers["content-length"]))
    return answer


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has these bytes already (weak comparison, as RFC 9110 wants it here)."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in known or f'"{etag}"' in known


def _first_byte(request: Request, size_bytes: int) -> int | None:
    """Where the wanted range begins; None without one that is sound. Several ranges get the whole file."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if request.method != "GET" or match is None:
        return None
    first, last = match.groups()
    if not first:
        return max(size_bytes - int(last), 0) if last else None
    return None if last and int(last) < int(first) else int(first)


def _is_range_wanted(request: Request, answer: FileResponse) -> bool:
    condition = request.headers.get("if-range")
    return condition is None or condition in (answer.headers["etag"], answer.headers["last-modified"])


def _unsatisfiable(size_bytes: int) -> Response:
    error = UnsatisfiableError(
        f"The file has {size_bytes} bytes; the range asked for lies beyond them.",
        hint="Ask for a range inside the file, or for the whole file.",
    )
    answer = problem_response(error)
    answer.headers["Content-Range"] = f"bytes */{size_bytes}"
    return answer


class _CheckedAnswer(StreamingResponse):
    """Breaks off when what it sends turns out to be damaged: without its last bytes, no client keeps it."""

    def __init__(self, pieces: Generator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(pieces, headers=headers, media_type="application/octet-stream")
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._pieces.close()

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except FastCMSError as error:
            # The server closes the connection of an answer that stays incomplete.
            get_logger().error("A download was broken off", reason=error.message)


def checked_answer(pieces: Generator[bytes], size_bytes: int, filename: str) -> Response:
    """Send bytes that are checked on the way, and of which the last ones only come when all are sound.

    A browser saves them and never shows them, whatever they are. They are sent whole, without ranges.
    """
    headers = {
        "Content-Length": str(size_bytes),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(filename, safe='')}",
        "Accept-Ranges": "none",
        "Cache-Control": "private, no-store",
    }
    return _CheckedAnswer(pieces, headers)
