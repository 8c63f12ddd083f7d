"""Read an upload from the network: multipart/form-data, piece by piece, straight to the disk."""

from collections.abc import AsyncIterator

import anyio
from anyio import to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect
from streaming_form_data import ParseFailedException, StreamingFormDataParser
from streaming_form_data.targets import BaseTarget

from fastcms.errors import FastCMSError, InvalidInputError, TooLargeError
from fastcms.media.models import MediaFile
from fastcms.media.service import keep_file
from fastcms.media.storage import IncomingFile, check_space, too_large
from fastcms.site import Site

_BATCH_BYTES = 1024**2
_MAX_FORM_BYTES = 4 * _BATCH_BYTES  # boundaries, headers and other fields; the parser may hold one batch back
_DRAIN_SECONDS = 10


class _FilePart(BaseTarget):  # type: ignore[misc] # the library publishes no types
    """Takes the form's part named `file`. Runs in a worker thread."""

    def __init__(self, incoming: IncomingFile) -> None:
        super().__init__()
        self.incoming = incoming
        self.filename = ""
        self.is_complete = False

    def on_start(self) -> None:
        if self.filename:
            raise InvalidInputError(
                "The form has several parts named `file`.", hint="Send one file in one request."
            )
        if not self.multipart_filename:
            raise _file_missing("The form's part `file` has no filename.")
        self.filename = self.multipart_filename

    def on_data_received(self, chunk: bytes) -> None:
        self.incoming.write(chunk)

    def on_finish(self) -> None:
        self.is_complete = True


async def receive_file(request: Request, site: Site) -> MediaFile:
    """Store the file that a request carries. The event loop never waits for the disk.

    On disk: the complete file and its row, or nothing.
    Raises: InvalidInputError; TooLargeError; NotEnoughSpaceError.
    """
    is_reading = "100-continue" not in request.headers.get("expect", "").lower()
    chunks = request.stream()
    try:
        await to_thread.run_sync(_check_announced_size, request, site)
        is_reading = True
        return await _store(_new_parser(request), chunks, site)
    except FastCMSError:
        # A connection closed on a client that still sends shows it a broken pipe instead of the answer.
        # Who waits for "100 Continue" is not sending.
        if is_reading:
            await _drain(chunks)
        raise


def _check_announced_size(request: Request, site: Site) -> None:
    announced = request.headers.get("content-length", "")
    if not (announced.isascii() and announced.isdigit()):
        return
    max_size_bytes = site.settings.max_upload_size
    if int(announced) > max_size_bytes + _MAX_FORM_BYTES:
        raise too_large(max_size_bytes)
    check_space(site.settings.files_dir, int(announced))


async def _store(parser: StreamingFormDataParser, chunks: AsyncIterator[bytes], site: Site) -> MediaFile:
    settings = site.settings
    incoming = await to_thread.run_sync(IncomingFile, settings.files_dir, int(settings.max_upload_size))
    try:
        part = _FilePart(incoming)
        parser.register("file", part)
        await _feed_all(chunks, parser, incoming)
        if not part.filename:
            raise _file_missing("The form has no part named `file`.")
        if not part.is_complete:
            raise _malformed("its last boundary is missing")
        return await to_thread.run_sync(keep_file, site, incoming, part.filename)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(incoming.close)


def _new_parser(request: Request) -> StreamingFormDataParser:
    try:
        return StreamingFormDataParser({"Content-Type": request.headers.get("content-type", "")})
    except (ParseFailedException, ValueError) as error:
        raise InvalidInputError(
            f"This is no multipart/form-data upload: {error}.",
            hint="Send the file as a form's part named `file`: curl -F file=@NAME.",
            code="not_multipart",
        ) from error


async def _feed_all(
    chunks: AsyncIterator[bytes], parser: StreamingFormDataParser, incoming: IncomingFile
) -> None:
    batch = bytearray()
    received_bytes = 0
    try:
        async for chunk in chunks:
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                received_bytes += len(batch)
                await to_thread.run_sync(_feed, parser, bytes(batch))
                batch.clear()
                # The parser collects a part's headers in memory, however long they are.
                if received_bytes - incoming.size_bytes > _MAX_FORM_BYTES:
                    raise TooLargeError(
                        f"The form holds more than {_MAX_FORM_BYTES} bytes beside its file.",
                        hint="Send only the part named `file`.",
                    )
    except ClientDisconnect as error:
        raise InvalidInputError(
            "The client went away before the upload was complete.", code="upload_interrupted"
        ) from error
    await to_thread.run_sync(_feed, parser, bytes(batch))


def _feed(parser: StreamingFormDataParser, data: bytes) -> None:
    try:
        parser.data_received(data)
    except UnicodeDecodeError as error:
        raise _malformed("a header is not UTF-8") from error
    except (ParseFailedException, ValueError) as error:
        raise _malformed(str(error)) from error


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read and forget what the client still sends, for a while."""
    with anyio.move_on_after(_DRAIN_SECONDS):
        try:
            async for _ in chunks:
                pass
        except ClientDisconnect:
            return


def _file_missing(message: str) -> InvalidInputError:
    return InvalidInputError(
        message, hint="Send the file as a form's part named `file`: curl -F file=@NAME.", code="file_missing"
    )


def _malformed(reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"The multipart/form-data body cannot be read: {reason}.",
        hint="The upload may have been cut off: send it again.",
        code="multipart_malformed",
    )
