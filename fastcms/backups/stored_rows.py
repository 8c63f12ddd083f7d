"""The backups that a destination keeps, beside what this machine has and knows of them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from pyrage.x25519 import Identity

from fastcms.backups.copies import Copy
from fastcms.backups.destinations import find_destination
from fastcms.backups.fetching import Source
from fastcms.backups.schemas import Backup
from fastcms.backups.service import list_backups
from fastcms.backups.sources import find_keys, open_destination_source
from fastcms.backups.stored import PER_PAGE, StoredBackup, find_stored, list_stored
from fastcms.errors import InvalidInputError
from fastcms.site import Site

_ALTERED = "not as large as what was copied there: somebody has changed it"


class StoredRow(NamedTuple):
    """A backup that is kept elsewhere.

    `is_ours`: this site has noted what it had sent, and notices any change of it. `needs_key`: the server has
    none to decrypt it with.
    """

    stored: StoredBackup
    is_ours: bool
    is_here: bool
    needs_key: bool
    checked: str | None
    problem: str | None


class StoredPage(NamedTuple):
    """A page of them, newest first."""

    rows: list[StoredRow]
    total: int
    size_bytes: int
    page: int
    page_count: int


def list_page(site: Site, destination_id: str, page: int) -> StoredPage:
    """Ask a destination what it keeps. Raises: NotFoundError; StoreError; BackupError."""
    source, here = _open(site, destination_id), _list_here(site)
    stored = list_stored(source.store, page)
    page_count = max(-(-stored.total // PER_PAGE), 1)
    if page > page_count:
        page, stored = page_count, list_stored(source.store, page_count)
    rows = [_row_of(item, source, here) for item in stored.items]
    return StoredPage(rows, stored.total, stored.size_bytes, page, page_count)


def find_row(site: Site, destination_id: str, object_name: str) -> StoredRow:
    """Ask a destination for one backup. Raises: BackupNotFoundError; what `list_page` raises."""
    source = _open(site, destination_id)
    return _row_of(find_stored(source.store, object_name), source, _list_here(site))


def _open(site: Site, destination_id: str) -> Source:
    keys: tuple[Identity, ...] = ()
    with suppress(InvalidInputError):  # what is there can be seen without them; whoever needs them is told
        keys = find_keys(site, None)
    return open_destination_source(site, find_destination(site, destination_id), keys)


def _list_here(site: Site) -> Mapping[str, Backup]:
    return {backup.filename: backup for backup in list_backups(site)}


def _row_of(stored: StoredBackup, source: Source, here: Mapping[str, Backup]) -> StoredRow:
    copy, local = source.sent.get(stored.object_name), here.get(stored.filename)
    return StoredRow(
        stored,
        is_ours=source.knows(stored.object_name),
        is_here=local is not None and _may_be_same(stored, local),
        needs_key=stored.is_encrypted and not source.identities,
        checked=copy.checked if copy else None,
        problem=stored.problem or (_ALTERED if _is_altered(stored, copy) else None),
    )


def _may_be_same(stored: StoredBackup, local: Backup) -> bool:
    """Of an encrypted one, the size of what is in it is not known."""
    return stored.is_encrypted or stored.size_bytes == local.size_bytes


def _is_altered(stored: StoredBackup, copy: Copy | None) -> bool:
    return copy is not None and copy.size_bytes is not None and copy.size_bytes != stored.size_bytes
