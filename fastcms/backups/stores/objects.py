"""A store in a cloud, or on a server that speaks as one: S3 and its kind, Google Cloud Storage, Azure Blob.

What is sent goes in parts, each held in memory until it has arrived. At the far side an object is there whole
or not at all; parts of an upload that was cut off are no object, are not listed, and are the store's
to clear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import InvalidPathError

from fastcms.backups.stores.answers import explained
from fastcms.backups.stores.base import (
    CHUNK_BYTES,
    PutResult,
    StoredObject,
    check_store,
    exactly,
    is_usable,
    missing_object,
    require_few,
    require_name,
)
from fastcms.backups.stores.clouds import Patience, Spot, open_client
from fastcms.errors import (
    StoredObjectChangedError,
    StoredObjectMissingError,
    StoreError,
    StoreUnreachableError,
)

if TYPE_CHECKING:  # obstore has these names for type checkers only
    from obstore import GetOptions, GetResult, ObjectMeta

# S3 takes parts of 5 MiB at least, and 10,000 of them.
_LEAST_PART_BYTES: Final = 8 * 1024**2
_MOST_PARTS: Final = 9_000
_PARTS_AT_ONCE: Final = 3
_PATIENCE: Final = Patience()


class ObjectStore:
    """Objects directly below a prefix of a bucket."""

    def __init__(self, place: str, spot: Spot, patience: Patience = _PATIENCE) -> None:
        self.place = place
        self._asking = open_client(place, spot, patience.for_answers, patience.for_retries)
        self._sending = open_client(place, spot, patience.for_sending, patience.for_retries)

    def list(self) -> list[StoredObject]:
        with explained(self.place):
            found = obstore.list_with_delimiter(self._asking)["objects"]
        require_few(self.place, len(found))
        stored = [_as_stored(meta) for meta in found if is_usable(meta["path"])]
        return sorted(stored, key=lambda each: each.name)

    def find(self, name: str) -> StoredObject | None:
        require_name(name)
        try:
            with explained(self.place, name):
                return _as_stored(obstore.head(self._asking, name))
        except StoreUnreachableError:
            raise
        except StoreError as error:
            self._require_bucket()  # an answer to HEAD has no body that says why; one to a listing has
            if isinstance(error, StoredObjectMissingError):
                return None
            raise

    def put(self, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        require_name(name)
        self._require_bucket()
        content = _Content(exactly(chunks, size_bytes), size_bytes)
        try:
            e_tag = self._send(name, content)
        except StoreError:
            if content.error is not None:
                raise content.error from None
            raise
        stored = self.find(name)
        if stored is None or stored.size_bytes != size_bytes:
            raise self._changed(name)
        return PutResult(stored, is_checked=_bare(e_tag) == content.sum)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Generator[bytes]:
        require_name(name)
        answer = self._ask_for(name, offset, length)
        if answer is None:
            return
        left_bytes = answer.range[1] - answer.range[0]
        pieces = iter(answer.stream(min_chunk_size=CHUNK_BYTES))
        while left_bytes > 0:
            with explained(self.place, name):
                piece = next(pieces, None)
            if piece is None:
                raise StoreUnreachableError(
                    f"{self.place} broke off while it sent {name}: {left_bytes:,} bytes are missing.",
                    hint="Try again; if it happens again, look for what ends the connection.",
                )
            left_bytes -= len(piece)
            yield bytes(piece)
        if left_bytes < 0:
            raise self._changed(name)

    def remove(self, name: str) -> None:
        require_name(name)
        try:
            with explained(self.place, name):
                obstore.delete(self._asking, name)
        except StoredObjectMissingError:
            pass

    def check(self) -> None:
        check_store(self)

    def _send(self, name: str, content: _Content) -> str | None:
        """Upload the content, and return what the store calls its e_tag: for most, a checksum."""
        is_whole = content.size_bytes <= content.part_bytes
        file = b"".join(content) if is_whole else iter(content)
        with explained(self.place):
            return obstore.put(
                self._sending,
                name,
                file,
                use_multipart=not is_whole,
                chunk_size=content.part_bytes,
                max_concurrency=_PARTS_AT_ONCE,
            )["e_tag"]

    def _ask_for(self, name: str, offset: int, length: int | None) -> GetResult | None:
        """The answer to a request for these bytes; None where there are none, at an object's end."""
        options: GetOptions = {}
        if offset or length is not None:
            stored = self.find(name)
            if stored is None:
                raise missing_object(self.place, name)
            end = stored.size_bytes if length is None else min(offset + length, stored.size_bytes)
            if offset == end:
                return None
            if offset > end:
                raise self._changed(name)
            options["range"] = (offset, end)
        with explained(self.place, name):
            return obstore.get(self._asking, name, options=options)

    def _require_bucket(self) -> None:
        """Ask for a listing: nothing else tells of a missing bucket, and some servers make it for a put."""
        with explained(self.place), suppress(InvalidPathError):  # somebody's odd name is an answer, too
            next(iter(obstore.list(self._asking, chunk_size=1)), None)

    def _changed(self, name: str) -> StoredObjectChangedError:
        return StoredObjectChangedError(
            f"{name} in {self.place} was changed while it was used.",
            hint="Look who else writes to this place.",
        )


class _Content:
    """What is sent, with the checksum that S3 makes of it: MD5, of parts the MD5 of their MD5s."""

    def __init__(self, chunks: Iterable[bytes], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.part_bytes = max(_LEAST_PART_BYTES, -(-size_bytes // _MOST_PARTS))
        self.error: Exception | None = None
        self._chunks = chunks
        self._part = _md5()
        self._sums: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        passed_bytes = 0
        try:
            for chunk in self._chunks:
                self._add(chunk, passed_bytes)
                passed_bytes += len(chunk)
                yield chunk
        except Exception as error:  # to tell it from the store's
            self.error = error
            raise
        self._sums.append(self._part.digest())

    @property
    def sum(self) -> str:
        if self.size_bytes <= self.part_bytes:
            return self._sums[0].hex()
        return f"{_md5(b''.join(self._sums)).hexdigest()}-{len(self._sums)}"

    def _add(self, chunk: bytes, passed_bytes: int) -> None:
        """Sum a chunk up, which may lie in several parts; a part is closed when there is more after it."""
        rest = memoryview(chunk)
        while rest:
            room_bytes = self.part_bytes - passed_bytes % self.part_bytes
            if passed_bytes and room_bytes == self.part_bytes:
                self._sums.append(self._part.digest())
                self._part = _md5()
            self._part.update(rest[:room_bytes])
            passed_bytes += len(rest[:room_bytes])
            rest = rest[room_bytes:]


def _md5(content: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(content, usedforsecurity=False)


def _as_stored(meta: ObjectMeta) -> StoredObject:
    modified, size_bytes = meta["last_modified"], meta["size"]
    return StoredObject(
        name=meta["path"],
        size_bytes=size_bytes,
        modified=modified,
        version=_bare(meta["e_tag"]) or f"{modified.timestamp()}-{size_bytes}",
    )


def _bare(e_tag: str | None) -> str:
    """Listings leave out the quotes, in some clouds."""
    return (e_tag or "").removeprefix("W/").strip('"')
