"""What is kept elsewhere: the backups in a store, and whether they are what they are called."""

import re
import shlex
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import BaseModel

from fastcms.backups.encryption import looks_encrypted
from fastcms.backups.service import time_of
from fastcms.backups.stores.base import BackupStore, StoredObject
from fastcms.errors import BackupNotFoundError, StoredObjectMissingError

_NAME = re.compile(r"(backup_\d{8}_\d{6}\.zip)(\.age)?", re.ASCII)
_ZIP_MAGIC = b"PK\x03\x04"
_HEAD_BYTES = 32
_READERS = 8
_REMEMBERED = 10_000

_known_heads: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()


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
    """The backups in one place, newest first."""

    place: str
    items: list[StoredBackup]
    total: int


def list_stored(store: BackupStore) -> StoredBackups:
    """List the backups in a store, newest first. Other people's objects are left out.

    Raises: StoreError.
    """
    objects = [found for found in store.list() if _time_of(found.name) is not None]
    with ThreadPoolExecutor(_READERS) as readers:
        heads = list(readers.map(lambda found: _read_head(store, found), objects))
    items = [_describe(found, head) for found, head in zip(objects, heads, strict=True) if head is not None]
    items.sort(key=lambda item: (item.created, item.object_name), reverse=True)
    return StoredBackups(place=store.place, items=items, total=len(items))


def find_stored(store: BackupStore, object_name: str) -> StoredBackup:
    """One backup in a store. Raises: BackupNotFoundError; StoreError."""
    found = require_object(store, object_name)
    head = _read_head(store, found)
    if head is None:
        raise _not_found(store, object_name)
    return _describe(found, head)


def require_object(store: BackupStore, object_name: str) -> StoredObject:
    """The object of one backup. Raises: BackupNotFoundError; StoreError."""
    found = store.find(object_name) if is_object_name(object_name) else None
    if found is None:
        raise _not_found(store, object_name)
    return found


def find_newest(stored: StoredBackups) -> StoredBackup:
    """The newest one that looks right. Raises: BackupNotFoundError."""
    newest = next((item for item in stored.items if item.problem is None), None)
    if newest is None:
        what = "usable backup" if stored.items else "backup"
        raise BackupNotFoundError(
            f"There is no {what} in {stored.place}.",
            hint="Is it the right bucket, and the right prefix or folder? Backups lie directly in it.",
        )
    return newest


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


def _time_of(object_name: str) -> datetime | None:
    match = _NAME.fullmatch(object_name)
    return time_of(match[1]) if match else None


def _read_head(store: BackupStore, found: StoredObject) -> bytes | None:
    """An object's first bytes, asked for once per version; None when it has gone meanwhile."""
    key = (store.place, found.name, found.version)
    if key in _known_heads:
        return _known_heads[key]
    try:
        head = (
            b"".join(store.read(found.name, 0, min(_HEAD_BYTES, found.size_bytes)))
            if found.size_bytes
            else b""
        )
    except StoredObjectMissingError:
        return None
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
