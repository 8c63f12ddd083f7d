"""What is kept elsewhere: the backups in a store, and whether they are what they are called."""

import re
import shlex
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import BaseModel

from fastcms.backups.encryption import looks_encrypted
from fastcms.backups.service import CLOCKS_MAY_DIFFER, time_of
from fastcms.backups.stores.base import BackupStore, StoredObject
from fastcms.database import utc_now
from fastcms.errors import BackupNotFoundError, StoredObjectMissingError

PER_PAGE = 100
_NAME = re.compile(r"(backup_\d{8}_\d{6}\.zip)(\.age)?", re.ASCII)
_ZIP_MAGIC = b"PK\x03\x04"
_HEAD_BYTES = 32
_READERS = 8
_REMEMBERED = 10_000

_known_heads: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
_remembering = threading.Lock()


class StoredBackup(BaseModel):
    """A backup that is kept elsewhere. `is_encrypted` says what its first bytes say, whatever it is called.

    `problem`: why it cannot be what it is called; null for what looks right.
    """

    filename: str
    object_name: str
    created: datetime
    size_bytes: int
    is_encrypted: bool
    problem: str | None


class StoredBackups(BaseModel):
    """A page of the backups in one place, newest first; `total` and `size_bytes` are those of all pages."""

    place: str
    items: list[StoredBackup]
    total: int
    size_bytes: int


def list_stored(store: BackupStore, page: int = 1, per_page: int = PER_PAGE) -> StoredBackups:
    """List the backups in a store, newest first. Other people's objects are left out.

    Each one of the page is looked into, none of the others: there may be thousands, and each is a request.
    Raises: StoreError.
    """
    objects = _list_objects(store)
    shown = objects[(page - 1) * per_page : page * per_page]
    with ThreadPoolExecutor(_READERS) as readers:
        items = [item for item in readers.map(lambda found: _look_into(store, found), shown) if item]
    size_bytes = sum(found.size_bytes for found in objects)
    return StoredBackups(place=store.place, items=items, total=len(objects), size_bytes=size_bytes)


def find_stored(store: BackupStore, object_name: str) -> StoredBackup:
    """One backup in a store. Raises: BackupNotFoundError; StoreError."""
    stored = _look_into(store, require_object(store, object_name))
    if stored is None:
        raise _not_found(store, object_name)
    return stored


def require_object(store: BackupStore, object_name: str) -> StoredObject:
    """The object of one backup. Raises: BackupNotFoundError; StoreError."""
    found = store.find(object_name) if is_object_name(object_name) else None
    if found is None:
        raise _not_found(store, object_name)
    return found


def find_newest(store: BackupStore, *, has_key: bool = False) -> StoredBackup:
    """The newest one that looks right; one from the future only if there is no other.

    Who has a key expects encrypted ones: a plain one may be anybody's who can write there, and is taken only
    if there is no other.
    Raises: BackupNotFoundError; StoreError.
    """
    objects = _list_objects(store)
    for found in sorted(objects, key=lambda found: _doubts(found.name, has_key=has_key)):
        stored = _look_into(store, found)
        if stored is not None and stored.problem is None:
            return stored
    what = "usable backup" if objects else "backup"
    raise BackupNotFoundError(
        f"There is no {what} in {store.place}.",
        hint="Is it the right bucket, and the right prefix or folder? Backups lie directly in it.",
    )


def suggest(items: Sequence[StoredBackup], *, has_key: bool = False) -> StoredBackup | None:
    """The one among those on a page that somebody most probably wants: as `find_newest`."""
    usable = [item for item in items if item.problem is None]
    return min(usable, key=lambda item: _doubts(item.object_name, has_key=has_key), default=None)


def find_passed_over(chosen: StoredBackup, object_names: Iterable[str]) -> str | None:
    """The newest one, if it is newer than an encrypted one that was chosen, and not encrypted itself."""
    plain = [
        (created, name)
        for name in object_names
        if not _is_called_encrypted(name) and (created := _time_of(name)) and created > chosen.created
    ]
    return max(plain)[1] if plain and chosen.is_encrypted else None


def is_from_the_future(object_name: str) -> bool:
    """Whether a clock was wrong when it was made, or is wrong here, or somebody else has named it."""
    created = _time_of(object_name)
    return created is not None and created > utc_now() + CLOCKS_MAY_DIFFER


def locate(place: str, object_name: str) -> str:
    """The address of an object in a place, whose options come last."""
    where, mark, options = place.partition("?")
    return f"{where}/{object_name}{mark}{options}"


def split_address(text: str) -> tuple[str, str | None]:
    """The place in an address, and the object that it names, if it names one."""
    where, mark, options = text.partition("?")
    place, _, name = where.rpartition("/")
    return (f"{place}{mark}{options}", name) if place and is_object_name(name) else (text, None)


def filename_of(object_name: str) -> str:
    return object_name.removesuffix(".age")


def is_object_name(text: str) -> bool:
    return _time_of(text) is not None


def _not_found(store: BackupStore, object_name: str) -> BackupNotFoundError:
    return BackupNotFoundError(
        f"There is no backup {object_name[:100]!r} in {store.place}.",
        hint=f"See what is there: fastcms backup list {shlex.quote(store.place)}",
    )


def _doubts(object_name: str, *, has_key: bool) -> tuple[bool, bool]:
    """What others are taken before it for: the less, the earlier."""
    return has_key and not _is_called_encrypted(object_name), is_from_the_future(object_name)


def _is_called_encrypted(object_name: str) -> bool:
    return object_name.endswith(".age")


def _time_of(object_name: str) -> datetime | None:
    match = _NAME.fullmatch(object_name)
    return time_of(match[1]) if match else None


def _list_objects(store: BackupStore) -> list[StoredObject]:
    """Those that are called like backups, newest first."""
    named = [(created, found) for found in store.list() if (created := _time_of(found.name)) is not None]
    named.sort(key=lambda each: (each[0], each[1].name), reverse=True)
    return [found for _created, found in named]


def _look_into(store: BackupStore, found: StoredObject) -> StoredBackup | None:
    """What an object is by its first bytes; None when it has gone meanwhile."""
    head = _read_head(store, found)
    return None if head is None else _describe(found, head)


def _read_head(store: BackupStore, found: StoredObject) -> bytes | None:
    """An object's first bytes, asked for once per version; None when it has gone meanwhile."""
    key = (store.place, found.name, found.version)
    if (known := _known_heads.get(key)) is not None:
        return known
    try:
        head = (
            b"".join(store.read(found.name, 0, min(_HEAD_BYTES, found.size_bytes)))
            if found.size_bytes
            else b""
        )
    except StoredObjectMissingError:
        return None
    with _remembering:
        _known_heads[key] = head
        while len(_known_heads) > _REMEMBERED:
            _known_heads.popitem(last=False)
    return head


def _describe(found: StoredObject, head: bytes) -> StoredBackup:
    created = _time_of(found.name)
    assert created is not None  # noqa: S101 - the callers have looked
    is_encrypted = looks_encrypted(head)
    problem = None
    if not is_encrypted and not head.startswith(_ZIP_MAGIC):
        problem = "neither a ZIP archive nor encrypted by age: it is no backup"
    elif is_encrypted and not found.name.endswith(".age"):
        problem = "called a ZIP archive, but encrypted"
    elif not is_encrypted and found.name.endswith(".age"):
        problem = "called encrypted, but it is not: whoever reads it there can read everything"
    return StoredBackup(
        filename=filename_of(found.name),
        object_name=found.name,
        created=created,
        size_bytes=found.size_bytes,
        is_encrypted=is_encrypted,
        problem=problem,
    )
