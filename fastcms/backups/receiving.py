"""Bring an archive from another machine, and ask for the password before it is restored.

The archive is streamed into a hidden file, checked whole, recorded as uploaded, and only then gets its name.
An upload does not hold the lock of backups: backups are made meanwhile.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pyrage.x25519 import Identity

from fastcms.accounts.schemas import Caller
from fastcms.accounts.service import confirm_password
from fastcms.backups import backup_notes, contents
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.encryption import find_public_keys, looks_encrypted, opened
from fastcms.backups.engine.archive_check import check_archive_whole
from fastcms.backups.engine.manifest import DATABASE_NAME, BackupManifest
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.process import run_apart
from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.engine.verify import open_unchanged
from fastcms.backups.engine.whole_archive import WholeCheck
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.origin import Newcomers, Origin, hold_records, read_origin, record_path, write_origin
from fastcms.backups.schemas import BackupDetails, describe_details
from fastcms.backups.service import find_backup, is_being_made, path_of, time_of
from fastcms.backups.streams import read_file, with_progress
from fastcms.backups.verification_report import note_verdict, report_sound
from fastcms.backups.whereabouts import is_of_another
from fastcms.database import known_revisions, utc_now
from fastcms.durability import remove, require_free_space
from fastcms.errors import (
    ArchiveError,
    BackupBusyError,
    ConflictError,
    InvalidInputError,
    PasswordRequiredError,
)
from fastcms.incoming import HEAD_BYTES, IncomingFile, fill_incoming, remove_stale_uploads
from fastcms.site import Site

_CHUNK_BYTES = 1024**2
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
_SHOWN = 5


def receive_archive(
    site: Site,
    incoming: IncomingFile,
    uploaded_by: str,
    on_progress: OnProgress = ignore_progress,
    *,
    fetched_from: str | None = None,
    encrypted_to: Sequence[str] = (),
    is_our_own: bool = False,
) -> BackupDetails:
    """Check a completely written archive whole, and make it a backup that is marked as uploaded.

    fetched_from: the destination that it comes from, if it does. encrypted_to: see `Origin`. is_our_own: it
    is known, byte for byte, as one that was made here; it is not marked.
    On disk: the archive with its record, both durable, or nothing.
    Raises: ConflictError, whose details name it, when this very archive is there already;
    NotEnoughSpaceError; BackupError; the subclasses of ArchiveError.
    """
    paths = data_paths(site)
    with explained("Checking the archive"), unnamed(incoming):
        incoming.sync()
        with _alone(paths) as scratch_dir:
            manifest, newcomers = check_archive(
                incoming.path, scratch_dir, whole := WholeCheck(), on_progress
            )
            now = utc_now().isoformat(timespec="seconds")
            origin = Origin(uploaded_by, now, incoming.sha256, newcomers, fetched_from, list(encrypted_to))
            path = _keep(site, incoming, manifest, origin, scratch_dir)
            if is_our_own:
                remove(record_path(path))
    backup_notes.note(site, path.name, crc32=whole.crc32)
    backup, level = find_backup(site, path.name), VerificationLevel.LIGHT
    # It was read as a light verification reads it.
    note_verdict(site, path.name, level, report_sound(backup, level, manifest).model_dump(mode="json"))
    return describe_details(find_backup(site, path.name), manifest, None if is_our_own else origin)


def open_upload(
    site: Site, incoming: IncomingFile, identities: Sequence[Identity], on_progress: OnProgress
) -> IncomingFile:
    """Decrypt what has arrived, if it is encrypted; it is removed then. Whoever gets the result closes it.

    Raises: KeyRequiredError; WrongKeyError; CorruptArchiveError; NotEnoughSpaceError; BackupError.
    """
    if not looks_encrypted(incoming.head):
        return incoming
    folder = data_paths(site).backups_dir
    with incoming, explained("Decrypting the upload"):
        require_free_space(folder, incoming.size_bytes, "Decrypting the upload")
        chunks = with_progress(read_file(incoming.path), on_progress, "decrypting", incoming.size_bytes)
        return fill_incoming(folder, opened(chunks, identities))


def import_archive(
    site: Site,
    source_path: Path,
    imported_by: str,
    on_progress: OnProgress = ignore_progress,
    identities: Sequence[Identity] = (),
) -> BackupDetails:
    """Copy an archive from anywhere on this machine, decrypted on the way, and receive it.

    Raises: InvalidInputError when it cannot be read; KeyRequiredError; WrongKeyError; what `receive_archive`
    raises.
    """
    folder = data_paths(site).backups_dir
    with _open_file(source_path) as source, explained("Importing the archive"):
        size_bytes = os.fstat(source.fileno()).st_size
        require_free_space(folder, size_bytes, "The import")
        encrypted_to = find_public_keys(source.read(HEAD_BYTES), identities)
        source.seek(0)
        read = iter(partial(source.read, _CHUNK_BYTES), b"")
        chunks = with_progress(read, on_progress, "copying the archive", size_bytes)
        with fill_incoming(folder, opened(chunks, identities)) as incoming:
            return receive_archive(site, incoming, imported_by, on_progress, encrypted_to=encrypted_to)


def find_origin(site: Site, filename: str) -> Origin | None:
    """Where a backup came from; None for one that was made here.

    Raises: BackupNotFoundError; ConflictError when that cannot be told.
    """
    return read_origin(Path(find_backup(site, filename).path))


def require_password(
    site: Site, filename: str, caller: Caller, password: str | None, address: str
) -> Origin | None:
    """Before an uploaded backup is restored: ask for the caller's own password, and say whom it lets in.

    Backups made here need none.
    Returns: what was approved. `stage_restore` compares it, as the archive may be exchanged meanwhile.
    Raises: PasswordRequiredError; PermissionDeniedError; TooManyAttemptsError; BackupNotFoundError.
    """
    origin = find_origin(site, filename)
    if origin is None or caller.kind == "setup":  # a new site has nobody yet whom it could lock out
        return origin
    if not password and caller.account_id is not None:
        raise PasswordRequiredError(
            describe_origin(filename, origin),
            hint='If you know them all, send your own password along: {"password": "..."}.',
            details={"admins": origin.newcomers.admins, "admin_tokens": origin.newcomers.admin_tokens},
        )
    confirm_password(site, caller, password or "", address)
    return origin


def describe_origin(filename: str, origin: Origin) -> str:
    """Say who brought a backup, and who would be in charge of the site after its restore."""
    newcomers, place = origin.newcomers, origin.fetched_from or "elsewhere"
    sentences = [
        f"{filename} was brought here from {place}, by {origin.uploaded_by}.",
        f"After the restore, the admins are: {_shorten(newcomers.admins)}.",
    ]
    if newcomers.admin_tokens:
        sentences.append(f"These API tokens may do everything: {_shorten(newcomers.admin_tokens)}.")
    return " ".join(sentences)


def remove_left_overs(site: Site) -> None:
    """Remove what a killed upload left; those that are under way stay."""
    paths = data_paths(site)
    remove_stale_uploads(paths.backups_dir)
    with suppress(BackupBusyError), hold_records(paths, timeout_seconds=0):
        remove(_scratch_dir(paths))


def _scratch_dir(paths: DataPaths) -> Path:
    return paths.backups_dir / ".checking"


@contextmanager
def _alone(paths: DataPaths) -> Iterator[Path]:
    """Check one archive at a time, the others wait; what a killed process left is removed first."""
    scratch_dir = _scratch_dir(paths)
    with hold_records(paths):
        remove(scratch_dir)
        try:
            scratch_dir.mkdir(mode=0o700)
            yield scratch_dir
        finally:
            with suppress(OSError):  # the next check or start removes it
                remove(scratch_dir)


@contextmanager
def unnamed(incoming: IncomingFile) -> Iterator[None]:
    """Leave out of refusals the hidden name under which an archive is checked: nobody knows it by that."""
    try:
        yield
    except ArchiveError as error:
        message = error.message.removeprefix(f"{incoming.path.name}: ")
        raise type(error)(message, hint=error.hint, code=error.code) from error


def check_archive(
    archive_path: Path, scratch_dir: Path, check_whole: WholeCheck, on_progress: OnProgress
) -> tuple[BackupManifest, Newcomers]:
    """Compare every entry with its checksum, and check the database as if it were to be restored.

    Raises: NotEnoughSpaceError; the subclasses of ArchiveError.
    """
    found: list[Newcomers] = []

    def check_contents(path: Path) -> None:
        with open_unchanged(path) as database:
            contents.refuse_strange_contents(database)
            found.append(contents.read_newcomers(database))

    manifest = run_apart(
        check_archive_whole,
        archive_path,
        database_path=scratch_dir / DATABASE_NAME,
        known_revisions=known_revisions(),
        check_contents=check_contents,
        check_whole=check_whole,
        on_progress=on_progress,
    )
    return manifest, found[0]


def _keep(
    site: Site, incoming: IncomingFile, manifest: BackupManifest, origin: Origin, scratch_dir: Path
) -> Path:
    """Give the archive its own name, or that of the next second that is free."""
    created = _wanted_time(manifest)
    while not _claim(site, path := path_of(data_paths(site), created), incoming, origin, scratch_dir):
        created += timedelta(seconds=1)
    backup_notes.forget_notes(
        site, path.name
    )  # of another archive that had this name, and was removed by hand
    # If this fails, the record stays: should the archive stay too, it must not pass for one made here.
    incoming.keep(path)
    return path


def _wanted_time(manifest: BackupManifest) -> datetime:
    """The time in the archive's own name, unless it cannot be true."""
    now = utc_now().replace(microsecond=0)
    created = time_of(f"{manifest.backup_name}.zip")
    return created if created is not None and _EARLIEST <= created <= now else now


def _claim(site: Site, path: Path, incoming: IncomingFile, origin: Origin, scratch_dir: Path) -> bool:
    """Make the record, unless the name is taken, here or elsewhere. First the claim, then the look."""
    if path.exists():
        _refuse_twin(path, incoming)
        return False
    if is_of_another(site, path.name, incoming.sha256):
        return False
    write_origin(path, origin, scratch_dir)
    if path.exists() or is_being_made(path):
        remove(record_path(path))
        return False
    return True


def _refuse_twin(path: Path, incoming: IncomingFile) -> None:
    if path.stat().st_size != incoming.size_bytes:
        return
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 == incoming.sha256:
        error = ConflictError(
            f"This very archive is there already: {path.name} has the same SHA-256.",
            hint="Restore the one that is there.",
            code="backup_exists",
        )
        error.details = {"filename": path.name}
        raise error


def _open_file(path: Path) -> BinaryIO:
    try:
        if path.is_file():
            return os.fdopen(os.open(path, os.O_RDONLY), "rb")
        reason = "it is a folder" if path.is_dir() else "there is no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    raise InvalidInputError(
        f"{path} cannot be read: {reason}.",
        hint="Give the path of an archive that this user may read.",
        code="archive_unreadable",
    )


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nobody"
