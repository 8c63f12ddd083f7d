"""The safety copy: what a restore has replaced, and the way back to it."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from fastcms.backups.engine.moving import tidy_up
from fastcms.backups.engine.paths import DataPaths, State, are_files_apart, is_one_mount
from fastcms.backups.engine.pending import (
    Kind,
    PendingRestore,
    Phase,
    RestoreReceipt,
    fingerprint_of,
    now,
    read_marker,
    read_receipts,
    remove_marker,
    write_marker,
)
from fastcms.backups.engine.staging import (
    remove_discarded,
    require_nothing_pending,
    set_aside,
    sign_files,
    unsign_files,
)
from fastcms.durability import fsync_folder, remove
from fastcms.errors import NoSafetyCopyError, RestorePendingError, UnusableSafetyCopyError


@dataclass(frozen=True)
class SafetyCopy:
    """The state before the latest restore; `restore` is that restore's receipt, if it can still be read."""

    state: State
    size_bytes: int
    restore: RestoreReceipt | None


def find_safety_copy(paths: DataPaths) -> SafetyCopy | None:
    """What an undo would bring back, or None."""
    places = [paths.safety(files_apart=files_apart) for files_apart in (False, True)]
    state = next((place for place in places if place.files.exists()), places[0])
    if not state.database.exists():
        return None
    receipts = [receipt for receipt in read_receipts(paths.receipts) if receipt.outcome == Phase.RESTORED]
    size_bytes = _size(state.database) + _size(state.wal)
    if state.files.exists():
        size_bytes += _folder_size(state.files, state.files.stat().st_mtime_ns)
    return SafetyCopy(state, size_bytes, receipts[-1] if receipts else None)


def stage_undo(paths: DataPaths, *, requested_by: str, check: Callable[[State], None]) -> PendingRestore:
    """Leave the marker that makes the next start put the safety copy back.

    Nothing is copied: the safety copy itself moves in, and what it replaces becomes the safety copy. check
    gets it, and raises for what must not be served.
    On disk: the marker, durably; after an error, the safety copy as it was.
    Raises: NoSafetyCopyError; RestorePendingError; UnusableSafetyCopyError; what check raises.
    """
    require_nothing_pending(paths)
    safety_copy = _require_safety_copy(paths)
    state, restore = safety_copy.state, safety_copy.restore
    _require_usable(paths, state)
    check(state)
    pending = PendingRestore(
        restore_id=secrets.token_hex(8),
        kind=Kind.UNDO,
        backup_filename=restore.backup_filename if restore else "",
        archive_sha256="",
        requested_by=requested_by,
        requested=now(),
        incoming_database=str(state.database.relative_to(paths.data_dir)),
        incoming_files=str(state.files.relative_to(paths.data_dir)),
        files_apart=are_files_apart(paths),
        fingerprint="",
    )
    try:
        sign_files(state, pending.restore_id)
        pending = replace(pending, fingerprint=fingerprint_of(state))
        write_marker(paths, pending)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            remove_marker(paths)
            unsign_files(state)
        raise
    return pending


def _require_usable(paths: DataPaths, state: State) -> None:
    """Raise UnusableSafetyCopyError for a safety copy that cannot change places with the live state."""
    by_hand = "Go back by hand: docs/disaster-recovery.md says how."
    tidy_up(state)  # perhaps there was no space for it, or another program had the database open
    if state.wal.exists():
        raise UnusableSafetyCopyError(
            f"{state.database} cannot be made one file with {state.wal.name}: it was damaged when it was "
            "replaced, another program has it open, or the disk is full.",
            hint=f"Close other programs, free some space, and try again. {by_hand}",
            code="safety_copy_damaged",
        )
    if not state.files.exists():
        raise UnusableSafetyCopyError(
            f"The files of the safety copy are gone: {state.files}.",
            hint=by_hand,
            code="safety_copy_incomplete",
        )
    is_inside = state.files.is_relative_to(paths.files_dir)
    if is_inside != are_files_apart(paths) or not is_one_mount(state.files, paths.files_dir):
        raise UnusableSafetyCopyError(
            f"{paths.files_dir} is not the mount that it was when {state.files} was made.",
            hint=by_hand,
            code="safety_copy_elsewhere",
        )


def discard_safety_copy(paths: DataPaths) -> SafetyCopy:
    """Give up the way back, for its space. Raises: NoSafetyCopyError; RestorePendingError."""
    pending = read_marker(paths)
    if pending is not None and pending.kind is Kind.UNDO:
        raise RestorePendingError(
            "The safety copy is about to be put back.", hint="Cancel the pending restore first."
        )
    safety_copy = _require_safety_copy(paths)
    # The files first: killed in between, what is left is still found here, and refused as an undo.
    set_aside(safety_copy.state.files)
    fsync_folder(safety_copy.state.files.parent)
    for path in (safety_copy.state.wal, safety_copy.state.database):
        remove(path)
    fsync_folder(paths.data_dir)
    remove_discarded(paths)
    return safety_copy


def _require_safety_copy(paths: DataPaths) -> SafetyCopy:
    safety_copy = find_safety_copy(paths)
    if safety_copy is None:
        raise NoSafetyCopyError(
            "There is no safety copy: no restore has replaced anything, or it was discarded.",
            hint="Restore a backup from the time you want to go back to.",
        )
    return safety_copy


@lru_cache(maxsize=1)
def _folder_size(folder: Path, _mtime_ns: int) -> int:
    """A safety copy does not change once it is there."""
    return sum(_size(Path(top, name)) for top, _folders, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    return path.lstat().st_size if path.exists() else 0
