"""Prepare a restore beside the running site, which does not notice."""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from isal import isal_zlib

from fastcms.backups.engine.archive_reader import CheckedArchive, open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.paths import RESTORE_ID_NAME, DataPaths, State, are_files_apart, is_one_mount
from fastcms.backups.engine.pending import (
    Kind,
    PendingRestore,
    Phase,
    fingerprint_of,
    now,
    read_marker,
    remove_marker,
    remove_reserve,
    timed,
    write_marker,
)
from fastcms.backups.engine.progress import OnProgress, Progress, Work, ignore_progress
from fastcms.backups.engine.verify import CheckContents, prepare_database
from fastcms.backups.engine.whole_archive import OnWhole, accept_whole, read_whole
from fastcms.disks import Disks
from fastcms.durability import (
    Space,
    fsync_folder,
    measure_space,
    partial_path_of,
    remove,
    require_space,
    write_durably,
)
from fastcms.errors import NoPendingRestoreError, RestorePendingError

_ID_NAME = "restore.json"
_DISCARDED = ".discarded-"


def stage_restore(
    paths: DataPaths,
    archive_path: Path,
    *,
    requested_by: str,
    known_revisions: Collection[str],
    check_contents: CheckContents,
    omit_rows_of: Sequence[str] = (),
    check_whole: OnWhole = accept_whole,
    on_progress: OnProgress = ignore_progress,
) -> PendingRestore:
    """Extract and check an archive, then leave the marker that the next start looks for.

    check_contents gets the path of the extracted database (see `verify.check_database`), in another thread
    than the caller's; on_progress is called in any thread; for check_whole see `whole_archive`.
    On disk: everything is durable before it returns; after an error, neither a staging folder nor a marker.
    Raises: RestorePendingError; NotEnoughSpaceError; the subclasses of ArchiveError.
    """
    require_nothing_pending(paths)
    discard_staging(paths)
    remove_discarded(paths)
    target = _choose_places(paths)
    restore_id, seconds = secrets.token_hex(8), dict[str, float]()
    prepare = partial(
        prepare_database,
        target.database,
        known_revisions=known_revisions,
        check_contents=check_contents,
        omit_rows_of=omit_rows_of,
    )
    try:
        with open_archive(archive_path) as archive:
            for space in _measure_space(archive, target):
                require_space(space, f"Restoring {archive_path.name}")
            _make_staging_folders(paths, target, restore_id)
            with Disks(target.database.parent, target.files.parent) as disks:
                archive_sha256, crc32 = _unpack(archive, target, prepare, seconds, on_progress)
                check_whole(archive.manifest, crc32)
                on_progress(Progress("writing to the disk", archive.total_bytes, archive.total_bytes))
                with timed(seconds, "sync"):
                    sign_files(target, restore_id)
                    disks.sync()
                    _fsync_folders(paths, target)
        pending = PendingRestore(
            restore_id=restore_id,
            kind=Kind.BACKUP,
            backup_filename=archive_path.name,
            archive_sha256=archive_sha256,
            requested_by=requested_by,
            requested=now(),
            incoming_database=str(target.database.relative_to(paths.data_dir)),
            incoming_files=str(target.files.relative_to(paths.data_dir)),
            files_apart=are_files_apart(paths),
            fingerprint=fingerprint_of(target),
            seconds=seconds,
        )
        write_marker(paths, pending)
    except BaseException:
        abandon_staging(paths)
        raise
    return pending


def measure_staging(paths: DataPaths, archive: CheckedArchive) -> list[Space]:
    """What staging an archive would need on each disk, and what is free there now."""
    return _measure_space(archive, _choose_places(paths))


def abandon_staging(paths: DataPaths) -> None:
    """Throw away what a failed or killed staging has left, its marker and all."""
    with suppress(OSError):  # the first error is the one to report; the next start removes the rest
        remove_marker(paths)
        discard_staging(paths)
        remove_discarded(paths)


def require_nothing_pending(paths: DataPaths) -> None:
    """Raise RestorePendingError when a restore is staged or was interrupted."""
    pending = read_marker(paths)
    if pending is not None:
        what = "An undo of the restore" if pending.kind is Kind.UNDO else "A restore"
        raise RestorePendingError(
            f"{what} of {pending.backup_filename} is already staged.",
            hint="Restart the server to complete it, or cancel it first.",
        )


def cancel_restore(paths: DataPaths) -> PendingRestore:
    """Forget the staged restore. Raises: NoPendingRestoreError; RestorePendingError in mid-swap."""
    pending = read_marker(paths)
    if pending is None:
        raise NoPendingRestoreError("No restore is pending.", hint="There is nothing to cancel.")
    if pending.phase is not Phase.STAGED:
        raise RestorePendingError(
            f"The restore of {pending.backup_filename} was interrupted and cannot be cancelled.",
            hint="Restart the server: it finishes the restore, or rolls it back.",
        )
    remove_marker(paths)
    if pending.kind is Kind.BACKUP:
        discard_staging(paths)
        remove_discarded(paths)
    else:
        unsign_files(pending.incoming(paths))
    return pending


def is_staged(paths: DataPaths, pending: PendingRestore) -> bool:
    """Whether what this pending restore puts in place is still there, as it was when it was checked."""
    incoming = pending.incoming(paths)
    is_there = incoming.database.exists() and has_signed(incoming, pending.restore_id)
    return is_there and fingerprint_of(incoming) == pending.fingerprint


def sign_files(state: State, restore_id: str) -> None:
    """Put the id of a restore into the files that it moves, durably."""
    write_durably(state.files / RESTORE_ID_NAME, restore_id.encode())


def has_signed(state: State, restore_id: str) -> bool:
    """Whether a state's files are those of this restore, all of them."""
    try:
        return (state.files / RESTORE_ID_NAME).read_text() == restore_id
    except (OSError, ValueError):
        return False


def unsign_files(state: State) -> None:
    """Take the id away again, or what a crash left of it."""
    path = state.files / RESTORE_ID_NAME
    remove(partial_path_of(path))
    remove(path)


def staged_restore_id(paths: DataPaths) -> str | None:
    """The id that FastCMS left in the staging folder; None for a folder that somebody unzipped by hand."""
    try:
        return str(json.loads((paths.staging_dir / _ID_NAME).read_bytes())["restore_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_stale_staging(paths: DataPaths) -> None:
    """Throw away what a killed staging left; what somebody unzipped there by hand stays."""
    remove_reserve(paths)
    is_by_hand = staged_restore_id(paths) is None and (paths.staging_dir / "database.db").exists()
    if not is_by_hand:
        set_aside(paths.staging_dir)
    for folder in paths.staging_dirs[1:]:
        set_aside(folder)
    for state in (paths.live, *(paths.safety(files_apart=files_apart) for files_apart in (False, True))):
        unsign_files(state)


def discard_staging(paths: DataPaths) -> None:
    """Throw away all staging folders; `remove_discarded` removes them from the disk."""
    for folder in paths.staging_dirs:
        set_aside(folder)


def set_aside(path: Path) -> None:
    """Throw a file or folder away in one step, as quick for any size; none is ever half removed."""
    if path.exists():
        path.rename(path.with_name(f"{_DISCARDED}{secrets.token_hex(4)}"))


def remove_discarded(paths: DataPaths) -> None:
    """Remove from the disk what was thrown away; takes as long as there are files."""
    for folder in (paths.data_dir, paths.backups_dir, paths.restore_dir):
        for discarded in folder.glob(f"{_DISCARDED}*"):
            shutil.rmtree(discarded, ignore_errors=True)  # somebody else may remove it, too
            with suppress(OSError):  # a file
                discarded.unlink()


def _choose_places(paths: DataPaths) -> State:
    """The first staging folders from which a rename leads to where the database and the files belong."""
    files_parent = paths.files_dir if are_files_apart(paths) else paths.data_dir

    def first_beside(target_dir: Path) -> Path:
        parents = (paths.backups_dir, paths.data_dir, paths.files_dir)
        places = zip(parents, paths.staging_dirs, strict=True)
        return next(folder for parent, folder in places if is_one_mount(parent, target_dir))

    return State(first_beside(paths.data_dir) / "database.db", first_beside(files_parent) / "files")


def _make_staging_folders(paths: DataPaths, target: State, restore_id: str) -> None:
    for folder in (paths.staging_dir, target.database.parent, target.files.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(paths.staging_dir / _ID_NAME, json.dumps({"restore_id": restore_id}).encode())


def _measure_space(archive: CheckedArchive, target: State) -> list[Space]:
    database_disk, files_disk = _existing_parent(target.database), _existing_parent(target.files)
    if database_disk.stat().st_dev == files_disk.stat().st_dev:
        return [measure_space(database_disk, archive.total_bytes, archive.entry_count)]
    return [
        measure_space(database_disk, archive.database_bytes),
        measure_space(files_disk, archive.files_bytes, archive.entry_count),
    ]


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.exists())


def _fsync_folders(paths: DataPaths, target: State) -> None:
    """Make the names of the staging folders durable; what is in them is."""
    for folder in {*target.database.parents, *target.files.parents}:
        if folder.is_relative_to(paths.data_dir):
            fsync_folder(folder)


def _unpack(
    archive: CheckedArchive,
    target: State,
    prepare: Callable[..., None],
    seconds: dict[str, float],
    on_progress: OnProgress,
) -> tuple[str, int]:
    """Extract everything, and meanwhile check the database; return the archive's own SHA-256 and CRC-32."""
    digest, crc32 = hashlib.sha256(), 0

    def sum_up(work: Work) -> None:
        nonlocal crc32
        for piece in read_whole(archive.descriptor, work):
            digest.update(piece)
            crc32 = isal_zlib.crc32(piece, crc32)

    def prepare_timed(work: Work) -> None:
        with timed(seconds, "check"):
            prepare(keep_going=lambda: work.add(0))

    with timed(seconds, "extract"):
        extract_archive(
            archive,
            database_path=target.database,
            files_dir=target.files,
            on_progress=on_progress,
            then=prepare_timed,
            meanwhile=sum_up,
        )
    return digest.hexdigest(), crc32
