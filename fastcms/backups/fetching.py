"""Read what is kept elsewhere: list it, and bring a backup here, decrypted on the way.

What comes from a store is hostile until it was checked, like any upload. It is written into a hidden file; a
connection that breaks is taken up again where it broke, and a killed process leaves nothing that is listed.
"""

import hashlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pyrage.x25519 import Identity

from fastcms.backups import receiving
from fastcms.backups.copies import Checked, Copy, note_checked
from fastcms.backups.encryption import find_public_keys, opened
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.schemas import Backup, BackupDetails
from fastcms.backups.service import describe_backup, find_backup, time_of
from fastcms.backups.stored import StoredBackup, filename_of, find_stored, locate, require_object
from fastcms.backups.stores.base import BackupStore, StoredObject
from fastcms.backups.streams import ahead
from fastcms.database import utc_now
from fastcms.durability import require_free_space
from fastcms.errors import (
    BackupNotFoundError,
    ConflictError,
    CorruptArchiveError,
    KeyRequiredError,
    StoredObjectChangedError,
    StoreError,
    StoreUnreachableError,
)
from fastcms.incoming import HEAD_BYTES, IncomingFile, fill_incoming
from fastcms.site import Site

# Before it is tried again to go on. After each success, the patience is new.
_WAITS_SECONDS = (1, 2, 4, 8, 15, 30, 60)
_LOOK_SECONDS = 0.5  # while waiting, somebody may cancel


@dataclass(frozen=True)
class Source:
    """A place to read from, the keys at hand, and what this site has noted of its own objects there."""

    store: BackupStore
    identities: Sequence[Identity] = ()
    sent: Mapping[str, Copy] = field(default_factory=lambda: MappingProxyType({}))

    def knows(self, object_name: str) -> bool:
        """Whether this site has made it, and notices if it is not the same any more.

        Uploaded backups are never copied.
        """
        copy = self.sent.get(object_name)
        return copy is not None and copy.sha256 is not None


def require_key(stored: StoredBackup, place: str, identities: Sequence[Identity]) -> None:
    """Before anything is fetched: raise KeyRequiredError for an encrypted backup without any key."""
    if stored.is_encrypted and not identities:
        raise KeyRequiredError(
            f"{locate(place, stored.object_name)} is encrypted, and there is no key to decrypt it with.",
            hint="Give the file with the secret key: --identity key.txt, or FASTCMS_BACKUP_IDENTITY. It is "
            "what `fastcms backup keygen` has written, with a line that begins with AGE-SECRET-KEY-1; the "
            "recovery sheet has that line, too. The backup does not tell which key it was encrypted to.",
        )


def fetch(source: Source, object_name: str, folder: Path, on_progress: OnProgress) -> IncomingFile:
    """Bring a backup into a hidden file of a folder, decrypted; whoever gets it closes it.

    It has the bytes that were put there if that is known, and is not checked otherwise.
    Raises: BackupNotFoundError; KeyRequiredError; WrongKeyError; CorruptArchiveError; StoreError;
    NotEnoughSpaceError.
    """
    stored = find_stored(source.store, object_name)
    require_key(stored, source.store.place, source.identities)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_free_space(folder, stored.size_bytes, "Fetching the backup")
    return fill_incoming(folder, read_decrypted(source, object_name, on_progress))


def read_decrypted(source: Source, object_name: str, on_progress: OnProgress) -> Generator[bytes]:
    """The bytes of a backup as it was made; the last ones come only when all of it was what was put there.

    Raises: as `fetch`, while it is read.
    """
    yield from opened(read_stored(source, object_name, on_progress), source.identities)


def read_stored(source: Source, object_name: str, on_progress: OnProgress) -> Generator[bytes]:
    """The bytes of an object as they are stored.

    Raises: BackupNotFoundError; StoreError; CorruptArchiveError when they are not those that were put there.
    """
    found = require_object(source.store, object_name)
    copy = source.sent.get(object_name)
    expected = copy.sha256 if copy else None
    sha256 = hashlib.sha256() if expected else None
    held = b""  # one chunk late: nobody gets the end of what turns out to be wrong
    for chunk in _resumed(source.store, found, on_progress):
        if sha256:
            sha256.update(chunk)
        if held:
            yield held
        held = chunk
    if sha256 and sha256.hexdigest() != expected:
        raise CorruptArchiveError(
            f"{locate(source.store.place, object_name)} is not what was copied there: its SHA-256 is "
            f"{sha256.hexdigest()}, and was {expected}.",
            hint="Something has changed it since. Use another backup, and find out who can write there.",
        )
    if held:
        yield held


def receive(
    site: Site, source: Source, object_name: str, requested_by: str, on_progress: OnProgress
) -> BackupDetails:
    """Fetch a backup, check it whole, and make it one of this machine's, under its old name if that is free.

    It is treated like an upload, unless it is known byte for byte as one that was made here. The very archive
    that is here already is used, and not even fetched if its SHA-256 was noted.
    Raises: what `fetch` and `receiving.receive_archive` raise.
    """
    with explained("Fetching the backup"):
        if (here := _find_here(site, source, object_name)) is not None:
            return describe_backup(site, here)
        with fetch(source, object_name, data_paths(site).backups_dir, on_progress) as incoming:
            try:
                return receiving.receive_archive(
                    site,
                    incoming,
                    requested_by,
                    on_progress,
                    fetched_from=source.store.place,
                    encrypted_to=_find_public_keys(source, object_name),
                    is_our_own=source.knows(object_name),
                )
            except ConflictError as error:
                if error.code != "backup_exists":
                    raise
                return describe_backup(site, error.details["filename"])


def _find_public_keys(source: Source, object_name: str) -> list[str]:
    """To which of the keys at hand it is encrypted; none where that cannot be looked at again."""
    keys = source.identities
    with suppress(StoreError, BackupNotFoundError):
        stored = find_stored(source.store, object_name)
        if stored.is_encrypted and len(keys) > 1:
            head = source.store.read(object_name, 0, min(HEAD_BYTES, stored.size_bytes))
            return find_public_keys(b"".join(head), keys)
        return [str(key.to_public()) for key in keys] if stored.is_encrypted else []
    return []


def _find_here(site: Site, source: Source, object_name: str) -> str | None:
    """The backup on this machine that was copied there, if it still has the bytes that it had then."""
    copy = source.sent.get(object_name)
    if copy is None:
        return None
    try:
        backup = find_backup(site, filename_of(object_name))
    except BackupNotFoundError:
        return None
    with Path(backup.path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return backup.filename if sha256 == copy.archive_sha256 else None


def note_readable(site: Site, source: Source, object_name: str) -> None:
    """Note of an encrypted copy of this site's that it was decrypted, and sound."""
    copy = source.sent.get(object_name)
    if copy is not None and copy.is_encrypted:
        note_checked(site, copy, Checked.DECRYPTED)


def as_backup(incoming: IncomingFile, object_name: str) -> Backup:
    """What was fetched, as those see it who look into backups."""
    filename = filename_of(object_name)
    return Backup(filename, incoming.size_bytes, time_of(filename) or utc_now(), str(incoming.path))


def _resumed(store: BackupStore, found: StoredObject, on_progress: OnProgress) -> Iterator[bytes]:
    """An object's bytes; where the connection breaks, it goes on from there.

    Raises: StoreError, also when the object has become another one.
    """
    done_bytes, waits, broken = 0, iter(_WAITS_SECONDS), None
    on_progress(Progress("fetching", 0, found.size_bytes))
    while done_bytes < found.size_bytes:
        try:
            if broken is not None:
                _require_same(store, found)
            with closing(ahead(store.read(found.name, done_bytes))) as chunks:
                for chunk in filter(None, chunks):
                    done_bytes += len(chunk)
                    if done_bytes > found.size_bytes:  # before it fills the disk
                        raise _changed(store, found)
                    on_progress(Progress("fetching", done_bytes, found.size_bytes))
                    waits = iter(_WAITS_SECONDS)
                    yield chunk
            broken = _cut_off(store, found, done_bytes)
        except StoreError as error:
            if error.is_permanent:
                raise
            broken = error
        if done_bytes < found.size_bytes:
            _wait(
                next(waits, None),
                broken,
                Progress("waiting to go on", done_bytes, found.size_bytes),
                on_progress,
            )


def _wait(seconds: float | None, broken: StoreError, progress: Progress, on_progress: OnProgress) -> None:
    """Wait, while somebody may cancel. Raises: the error, when there is no patience left."""
    if seconds is None:
        raise broken
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        on_progress(progress)
        time.sleep(min(left, _LOOK_SECONDS))


def _require_same(store: BackupStore, found: StoredObject) -> None:
    if store.find(found.name) != found:
        raise _changed(store, found)


def _changed(store: BackupStore, found: StoredObject) -> StoreError:
    return StoredObjectChangedError(
        f"{locate(store.place, found.name)} was changed or removed while it was read.",
        hint="Look what is there now, and try again.",
    )


def _cut_off(store: BackupStore, found: StoredObject, done_bytes: int) -> StoreError:
    return StoreUnreachableError(
        f"{locate(store.place, found.name)} ended after {done_bytes:,} of {found.size_bytes:,} bytes.",
        hint="Try again later, or use another backup.",
    )
