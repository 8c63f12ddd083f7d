"""Send one backup to a store, encrypted if there are keys, and prove that what is there is what was sent.

Memory stays bounded, whatever the size. The checksum of what is sent is noted before the store could make an
object of it: a process that is killed in between leaves one that the next attempt knows to be its own.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib
from pyrage.x25519 import Identity, Recipient

from fastcms.backups.copies import Checked, Copy, CopyState, changed
from fastcms.backups.deletion import hold_backup
from fastcms.backups.encryption import (
    MAX_HEADER_BYTES,
    encrypted,
    encrypted_size,
    longest_encrypted_size,
    looks_encrypted,
    prove_decryptable,
)
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.folder import explained
from fastcms.backups.schemas import Backup
from fastcms.backups.stores.base import BackupStore, StoredObject
from fastcms.backups.streams import Hashed, limited, read_file, with_progress
from fastcms.errors import BackupError, ConflictError, CorruptArchiveError, StoreError
from fastcms.site import Site


@dataclass(frozen=True)
class Sending:
    """How copies to one destination are made. `limit` is in bytes a second; `note` keeps what is known.

    Without `identities`, the secret keys, nothing is decrypted as a test.
    """

    site: Site
    store: BackupStore
    recipients: tuple[Recipient, ...]
    identities: tuple[Identity, ...]
    limit: int | None
    note: Callable[[Copy], None]


def longest_size(backup_bytes: int, *, is_encrypted: bool) -> int:
    """How many bytes a copy may take."""
    return longest_encrypted_size(backup_bytes) if is_encrypted else backup_bytes


def send(sending: Sending, copy: Copy, on_progress: OnProgress) -> Copy:
    """Make a copy, or find that it is there already, and give it back as it is known to be then.

    Nothing that is there is overwritten.
    Raises: ConflictError when something else is there; the subclasses of StoreError and of ArchiveError;
    BackupNotFoundError; JobCancelledError.
    """
    there = sending.store.find(copy.object_name)
    if there is not None and copy.sha256 is not None:
        if there.size_bytes != copy.size_bytes:
            raise _occupied(sending.store, copy)
        return _prove(sending, copy, there, on_progress)
    with explained("The copy"), hold_backup(sending.site, copy.filename) as backup:
        if there is not None:
            return _recognize(sending, copy, backup, there, on_progress)
        return _upload(sending, copy, backup, on_progress)


def _upload(sending: Sending, copy: Copy, backup: Backup, on_progress: OnProgress) -> Copy:
    if copy.is_encrypted is not bool(sending.recipients):
        raise BackupError("Whether copies are encrypted was changed just now.", hint="It is copied again.")
    # Before some stores ask for the first byte, it takes a while: the job is seen until then.
    on_progress(Progress("copying to the destination", 0, backup.size_bytes))
    archive = Hashed(_sound_chunks(backup))
    with ExitStack() as open_streams:
        stored, size_bytes = archive, backup.size_bytes
        if copy.is_encrypted:
            stream = open_streams.enter_context(encrypted(archive, size_bytes, sending.recipients))
            stored, size_bytes = Hashed(stream.chunks), stream.size_bytes
        passing = limited(stored, sending.limit)
        known = copy._replace(size_bytes=size_bytes)

        def noted() -> Iterator[bytes]:
            nonlocal known
            yield from with_progress(passing, on_progress, "copying to the destination", size_bytes)
            known = known._replace(sha256=stored.sha256, archive_sha256=archive.sha256)
            sending.note(known)

        result = sending.store.put(copy.object_name, noted(), size_bytes)
    if result.is_checked and not (copy.is_encrypted and sending.identities):
        return _copied(known, result.stored, Checked.FAR_SIDE)
    return _prove(sending, known, result.stored, on_progress, is_new=True)


def _sound_chunks(backup: Backup) -> Iterator[bytes]:
    """The bytes of a backup; the last ones do not come unless all are what was written once."""
    crc32, done_bytes = 0, 0
    for chunk in read_file(Path(backup.path)):
        crc32 = isal_zlib.crc32(chunk, crc32)
        done_bytes += len(chunk)
        if done_bytes >= backup.size_bytes and backup.notes.crc32 not in (None, crc32):
            raise CorruptArchiveError(
                f"{backup.filename} is damaged: it has other bytes than were written.",
                hint="It is not copied. Make a new backup, and look at the disk's health.",
            )
        yield chunk


def _prove(
    sending: Sending, copy: Copy, there: StoredObject, on_progress: OnProgress, *, is_new: bool = False
) -> Copy:
    """Read a copy and compare it with what was sent. A new one of which that is not true is removed."""
    checked = Checked.READ_BACK
    read = Hashed(_read(sending.store, there, on_progress))
    try:
        if copy.is_encrypted and sending.identities and copy.archive_sha256:
            prove_decryptable(read, sending.identities, copy.archive_sha256)
            checked = Checked.DECRYPTED
        else:
            _exhaust(read)
        is_right = read.sha256 == copy.sha256
    except CorruptArchiveError:
        is_right = False
    if is_right:
        return _copied(copy, there, checked)
    if not is_new:
        raise _occupied(sending.store, copy)
    became = "it was removed" if _was_removed(sending.store, there) else "it could not be removed"
    raise StoreError(
        f"{sending.store.place} gave back other bytes of {copy.object_name} than were sent: {became}.",
        hint="It is tried again. If that happens more than once, do not rely on this place.",
        code="copy_damaged",
    )


def _was_removed(store: BackupStore, there: StoredObject) -> bool:
    """Remove what was put there, if it is still that. Where that cannot be, the reason why is less urgent."""
    with suppress(StoreError):
        found = store.find(there.name)
        if found is not None and found.version == there.version:
            store.remove(there.name)
            return True
    return False


def _recognize(
    sending: Sending, copy: Copy, backup: Backup, there: StoredObject, on_progress: OnProgress
) -> Copy:
    """Find out whether an object of which nothing is noted is a copy of this backup."""
    longest = longest_size(backup.size_bytes, is_encrypted=copy.is_encrypted)
    if not backup.size_bytes <= there.size_bytes <= longest:
        raise _occupied(sending.store, copy)
    archive = Hashed(_sound_chunks(backup))
    _exhaust(archive)
    known = copy._replace(size_bytes=there.size_bytes, archive_sha256=archive.sha256)
    if not copy.is_encrypted:
        return _prove(sending, known._replace(sha256=archive.sha256), there, on_progress)
    if sending.identities:
        read = Hashed(_read(sending.store, there, on_progress))
        try:
            prove_decryptable(read, sending.identities, archive.sha256)
        except CorruptArchiveError:
            raise _occupied(sending.store, copy) from None
        return _copied(known._replace(sha256=read.sha256), there, Checked.DECRYPTED)
    # Without the key, nobody can tell more than that it has the right name, size and kind: nothing relies on
    # it, and it is never removed.
    with closing(sending.store.read(there.name, 0, min(MAX_HEADER_BYTES, there.size_bytes))) as chunks:
        head = b"".join(chunks)
    if not looks_encrypted(head) or not _has_size(head, backup, there):
        raise _occupied(sending.store, copy)
    return _copied(known._replace(archive_sha256=None), there, None)


def _has_size(head: bytes, backup: Backup, there: StoredObject) -> bool:
    with suppress(ValueError):
        return encrypted_size(head, backup.size_bytes) == there.size_bytes
    return False


def _read(store: BackupStore, there: StoredObject, on_progress: OnProgress) -> Iterator[bytes]:
    return with_progress(store.read(there.name), on_progress, "reading the copy", there.size_bytes)


def _exhaust(chunks: Iterable[bytes]) -> None:
    for _chunk in chunks:
        pass


def _copied(copy: Copy, there: StoredObject, checked: Checked | None) -> Copy:
    found = copy._replace(version=there.version, checked=checked, attempts=0, next_try=None)
    well = found._replace(reason=None, hint=None, code=None, needs_somebody=False)
    return changed(well, CopyState.COPIED)


def _occupied(store: BackupStore, copy: Copy) -> ConflictError:
    return ConflictError(
        f"{store.place} has a {copy.object_name} already, with other bytes than this backup: it was not "
        "touched.",
        hint="Does another site copy to the same place? Give each one a folder of its own. If that object "
        "was altered, move it away: the backup is copied again.",
        code="copy_differs",
    )
