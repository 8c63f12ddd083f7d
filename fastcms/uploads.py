"""Read an upload from the network: multipart/form-data, piece by piece, straight to the disk."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from fastcms.durability import require_free_space
from fastcms.errors import FastCMSError, InvalidInputError, TooLargeError
from fastcms.incoming import HEAD_BYTES, IncomingFile, too_large

_BATCH_BYTES = 1024**2
_MAX_FORM_BYTES = 1024**2  # boundaries, headers and other fields
_DRAIN_SECONDS = 10
_HOW_TO = "Send the file as a form's part named `file`: curl -F file=@NAME."

Result = TypeVar("Result")
Keep = Callable[[IncomingFile, str], Result]
Look = Callable[[IncomingFile], object]


def multipart_body(*texts: str) -> dict[str, Any]:
    """A form with a file, and perhaps with these fields.

    For the `openapi_extra` of a route that reads the body itself.
    """
    properties = {name: {"type": "string"} for name in texts}
    properties |= {"file": {"type": "string", "format": "binary"}}
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


class _FileForm:
    """A form whose part named `file` goes into an incoming file; `texts` says which of the others count."""

    def __init__(
        self, content_type: str, incoming: IncomingFile, texts: dict[str, str], look: Look | None
    ) -> None:
        self.filename = ""
        self.is_complete = False
        self._incoming = incoming
        self._texts = texts
        self._text_name = ""
        self._look = look
        self._form_bytes = 0
        self._is_in_file = False
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._pieces: list[bytes] = []
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidInputError(
                "This is no multipart/form-data upload.", hint=_HOW_TO, code="not_multipart"
            )
        self._parser = self._new_parser(options[b"boundary"])

    def _new_parser(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body. Blocks on the disk: run it in a worker thread."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(str(error)) from error
        content = b"".join(self._pieces)  # one write, however many pieces the parser found
        self._pieces.clear()
        self._incoming.write(content)
        if self._look is not None and len(self._incoming.head) == HEAD_BYTES:
            self._look(self._incoming)
            self._look = None
        self._form_bytes += len(data) - len(content)
        if self._form_bytes > _MAX_FORM_BYTES:
            raise TooLargeError(
                f"The form holds more than {_MAX_FORM_BYTES} bytes beside its file.",
                hint="Send only the part named `file`.",
            )

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        self._disposition = b""
        name = options.get(b"name", b"").decode("latin-1")
        self._is_in_file = name == "file"
        self._text_name = name if name in self._texts and not self._is_in_file else ""
        if not self._is_in_file:
            return
        if self.filename:
            raise InvalidInputError(
                "The form has several parts named `file`.", hint="Send one file in one request."
            )
        try:
            self.filename = _unescape(options.get(b"filename", b"")).decode()
        except UnicodeDecodeError as error:
            raise _malformed("the filename is not UTF-8") from error
        if not self.filename:
            raise _file_missing("The form's part `file` has no filename.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_in_file:
            self._pieces.append(data[start:end])
        elif self._text_name:
            self._texts[self._text_name] += data[start:end].decode(errors="replace")

    def _on_end(self) -> None:
        self.is_complete = True


def _unescape(name: bytes) -> bytes:
    """Undo what browsers do to a name, and only that: https://html.spec.whatwg.org/#multipart-form-data."""
    return name.replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")


async def receive_upload(
    request: Request,
    folder: Path,
    keep: Keep[Result],
    *,
    max_size_bytes: int | None = None,
    texts: dict[str, str] | None = None,
    look: Look | None = None,
) -> Result:
    """Stream the file that a request carries into a folder, and let `keep(incoming, filename)` keep it.

    `keep` runs in a worker thread: the event loop never waits for the disk. What it does not keep is removed.
    Without max_size_bytes, only the disk limits the file. Form fields that `texts` has are added to it as
    they come; `look` sees a file of some length when its first bytes are there, and may refuse the rest.

    Raises: InvalidInputError; TooLargeError; NotEnoughSpaceError; what `keep` and `look` raise.
    """
    is_sending = "100-continue" not in request.headers.get("expect", "").lower()
    chunks = request.stream()
    try:
        await to_thread.run_sync(_check_announced_size, request, folder, max_size_bytes)
        is_sending = True
        incoming = await to_thread.run_sync(IncomingFile, folder, max_size_bytes)
        try:
            content_type = request.headers.get("content-type", "")
            form = _FileForm(content_type, incoming, {} if texts is None else texts, look)
            return await _receive(chunks, form, incoming, keep)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(incoming.close)
    except FastCMSError:
        # A connection closed on a client that still sends shows it a broken pipe instead of the answer.
        # Who waits for "100 Continue" is not sending.
        if is_sending:
            await _drain(chunks)
        raise


def _check_announced_size(request: Request, folder: Path, max_size_bytes: int | None) -> None:
    announced = request.headers.get("content-length", "")
    if not (announced.isascii() and announced.isdigit()):
        return
    if max_size_bytes is not None and int(announced) > max_size_bytes + _MAX_FORM_BYTES:
        raise too_large(max_size_bytes)
    require_free_space(folder, int(announced), "The upload")


async def _receive(
    chunks: AsyncIterator[bytes], form: _FileForm, incoming: IncomingFile, keep: Keep[Result]
) -> Result:
    await _feed_all(chunks, form)
    if not form.is_complete:
        raise _malformed("its last boundary is missing")
    if not form.filename:
        raise _file_missing("The form has no part named `file`.")
    return await to_thread.run_sync(keep, incoming, form.filename)


async def _feed_all(chunks: AsyncIterator[bytes], form: _FileForm) -> None:
    batch = bytearray()
    try:
        async for chunk in chunks:
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                await to_thread.run_sync(form.feed, bytes(batch))
                batch.clear()
    except ClientDisconnect as error:
        raise InvalidInputError(
            "The client went away before the upload was complete.", code="upload_interrupted"
        ) from error
    await to_thread.run_sync(form.feed, bytes(batch))


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read and forget what the client still sends, for a while."""
    with anyio.move_on_after(_DRAIN_SECONDS):
        try:
            async for _ in chunks:
                pass
        except ClientDisconnect:
            return


def _file_missing(message: str) -> InvalidInputError:
    return InvalidInputError(message, hint=_HOW_TO, code="file_missing")


def _malformed(reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"The multipart/form-data body cannot be read: {reason}.",
        hint="The upload may have been cut off: send it again.",
        code="multipart_malformed",
    )
