"""What every store can do. One suite of tests holds for all of them: tests/stores/test_contract.py."""

import re
import secrets
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fastcms.errors import (
    InvalidInputError,
    StoreCrowdedError,
    StoreDeniedError,
    StoredObjectChangedError,
    StoredObjectMissingError,
)

# What is read at once; more is never held in memory while reading.
CHUNK_BYTES = 1024**2
MOST_OBJECTS = 100_000
# Surrogates stand for bytes that are no UTF-8: a folder may have such names.
_UNUSABLE_NAME = re.compile(r"\.|[^/]*[/\x00-\x1f\x7f\\\ud800-\udfff]", re.DOTALL)
_LONGEST_NAME_BYTES = 200


@dataclass(frozen=True)
class StoredObject:
    """A complete object; `version` changes when its bytes do."""

    name: str
    size_bytes: int
    modified: datetime
    version: str


@dataclass(frozen=True)
class PutResult:
    """What was stored; is_checked: the store's own checksum of it equals the one made while sending."""

    stored: StoredObject
    is_checked: bool


class BackupStore(Protocol):
    """A place that keeps objects. Everything raises the StoreError that says what is wrong there.

    Calls block; they may be made from several threads.
    """

    @property
    def place(self) -> str:
        """Its address, without credentials."""

    def list(self) -> list[StoredObject]:
        """All complete objects directly in this place, by name, also those that others have put there.

        Names that no object of ours may have are left out: hidden ones, and those with control characters
        or with bytes that are no UTF-8. More than MOST_OBJECTS are refused.
        """

    def find(self, name: str) -> StoredObject | None: ...

    def put(self, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        """Store an object whole, or leave what was there; `chunks` has exactly size_bytes, in any pieces.

        Look before whether the name is free: clouds replace what has it, a folder refuses.

        An error that `chunks` raises comes through, and ends the transfer: that is how one is cancelled.
        `chunks` must not use a store itself: obstore's runtime waits for them.
        """

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Generator[bytes]:
        """The object's bytes from offset on, as they come; every one that was asked for, or an error.

        Close it, if it is not read to its end.
        """

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""

    def check(self) -> None:
        """Write, list, read and remove a tiny object, to see whether all of that is possible."""


def is_usable(name: str) -> bool:
    """Whether an object may have this name: it can mean no other folder, and is the same in every store."""
    return bool(name) and not _UNUSABLE_NAME.match(name) and len(name.encode()) <= _LONGEST_NAME_BYTES


def require_name(name: str) -> None:
    if not is_usable(name):
        raise InvalidInputError(f"{name[:100]!r} cannot be the name of a stored object.")


def require_few(place: str, count: int) -> None:
    """Refuse a listing that would fill the memory. Raises: StoreCrowdedError."""
    if count > MOST_OBJECTS:
        raise StoreCrowdedError(
            f"There are more than {MOST_OBJECTS:,} objects directly in {place}: too many to look through.",
            hint="Name a folder for backups alone in the address, such as s3://bucket/backups.",
        )


def missing_object(place: str, name: str) -> StoredObjectMissingError:
    return StoredObjectMissingError(
        f"{place} has no {name}.", hint="List what is there; somebody may have removed it."
    )


def exactly(chunks: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """Pass chunks on, and raise StoredObjectChangedError if there are not exactly so many bytes."""
    passed_bytes = 0
    for chunk in chunks:
        passed_bytes += len(chunk)
        if passed_bytes > size_bytes:
            raise _wrong_size(f"more than the {size_bytes:,} bytes")
        yield chunk
    if passed_bytes < size_bytes:
        raise _wrong_size(f"{passed_bytes:,} of the {size_bytes:,} bytes")


def check_store(store: BackupStore) -> None:
    """Write, list, read and remove a tiny object in any store."""
    name, content = f"fastcms-check-{secrets.token_hex(8)}", secrets.token_bytes(32)
    store.list()  # some stores would make a bucket that is missing when something is put there
    store.put(name, [content], len(content))
    try:
        if name not in {stored.name for stored in store.list()}:
            raise StoredObjectMissingError(
                f"{store.place} does not list what was just put there.",
                hint="Wait a minute and test again; if it stays like this, the store cannot keep backups.",
            )
        if b"".join(store.read(name)) != content:
            raise StoredObjectChangedError(
                f"{store.place} gave back other bytes than were put there.",
                hint="Something between this server and the store changes what is sent: look for a proxy.",
            )
    finally:
        _remove_again(store, name)


def _remove_again(store: BackupStore, name: str) -> None:
    try:
        store.remove(name)
    except StoreDeniedError as error:
        raise StoreDeniedError(
            f"{store.place} can be written and read, but nothing may be removed there. {name} has stayed.",
            hint="If that is meant so, all is well: copies are made, and stay until you remove them. If not, "
            "let the credentials delete objects.",
        ) from error


def _wrong_size(found: str) -> StoredObjectChangedError:
    return StoredObjectChangedError(
        f"What was to be stored had {found} it should have.",
        hint="It was changed while it was read; try again.",
    )
