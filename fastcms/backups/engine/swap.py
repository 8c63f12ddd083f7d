"""Put a staged restore in place of the live state, or put the live state back.

Runs at start, under the data folder's lock, before any connection to app.db exists. Every step is decided
from what is on disk, so that a run that died anywhere is continued by the next one: forward while the marker
says `swapping`, backward once it says `rolling_back`. There is no moment without an app.db.
"""

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from fastcms.backups.engine.live import is_live, mark_as_copy
from fastcms.backups.engine.paths import DataPaths, beside
from fastcms.backups.engine.pending import (
    PendingRestore,
    Phase,
    RestoreReceipt,
    add_receipt,
    advance,
    read_marker,
    remove_marker,
)
from fastcms.backups.engine.staging import discard_staging, is_staged, remove_stale_staging
from fastcms.durability import fsync_file, fsync_folder, remove
from fastcms.errors import FastCMSError, RolledBackError
from fastcms.sqlite import sqlite3

_EARLIER = ".earlier"


def apply_pending_restore(paths: DataPaths, bring_up: Callable[[], None]) -> RestoreReceipt | None:
    """Finish the pending restore, if there is one; return its receipt.

    bring_up migrates and opens the restored database, closes it again, and raises when it cannot be served:
    then everything is put back and the receipt's outcome is `rolled_back`.
    On disk: the whole state of the backup or the whole state before, and the receipt.
    Raises: OSError when even putting back fails; the next start tries again.
    """
    pending = read_marker(paths)
    if pending is None:
        remove_stale_staging(paths)
        _remove_earlier_safety_copies(paths)
        return None
    if pending.phase in (Phase.STAGED, Phase.SWAPPING):
        try:
            pending = _begin(paths, pending)
            _swap(paths)
            bring_up()
        except Exception as error:  # noqa: BLE001 - whatever it is, the old state has to come back
            has_begun = pending.phase is Phase.SWAPPING
            next_phase = Phase.ROLLING_BACK if has_begun else Phase.ROLLED_BACK
            pending = advance(paths, pending, next_phase, reason=_explain(error))
    if pending.phase is Phase.ROLLING_BACK:
        _put_back_files(paths, pending)
        _put_back_database(paths, pending)
        fsync_folder(paths.data_dir)
        pending = advance(paths, pending, Phase.ROLLED_BACK)
    return _finish(paths, pending)


def _begin(paths: DataPaths, pending: PendingRestore) -> PendingRestore:
    if pending.phase is Phase.SWAPPING:
        return pending
    if not is_staged(paths, pending):
        raise RolledBackError(
            f"{paths.staging_dir} no longer holds what was staged.", hint="Stage the restore again."
        )
    return advance(
        paths,
        pending,
        Phase.SWAPPING,
        had_database=paths.database.exists(),
        had_files=paths.files_dir.exists(),
    )


def _swap(paths: DataPaths) -> None:
    if paths.staged_database.exists():
        _keep_database(paths)
        paths.staged_database.replace(paths.database)
        fsync_folder(paths.data_dir)
    if paths.staged_files_dir.exists():
        if paths.files_dir.exists():
            # Both are there, so the live files are still the old ones, and a safety copy is an earlier one.
            _set_aside(paths.safety_files_dir)
            paths.files_dir.rename(paths.safety_files_dir)
        paths.staged_files_dir.rename(paths.files_dir)
        fsync_folder(paths.data_dir)
        fsync_folder(paths.staging_dir)


def _keep_database(paths: DataPaths) -> None:
    """Make the safety copy of the live database: a second name for it, so that app.db never goes away."""
    safety, wal_path = paths.safety_database, beside(paths.database, "-wal")
    if not paths.database.exists():
        return
    if not (safety.exists() and safety.samefile(paths.database)):
        _write_wal_back(paths.database)
        _set_aside(safety)
        _set_aside(beside(safety, "-wal"))
        try:
            safety.hardlink_to(paths.database)
        except OSError:  # a file system without hard links
            partial_path = beside(safety, ".partial")
            shutil.copyfile(paths.database, partial_path)
            fsync_file(partial_path)
            partial_path.replace(safety)
    if wal_path.exists():  # too damaged to be written back: the three files move together
        wal_path.replace(beside(safety, "-wal"))
    remove(beside(paths.database, "-shm"))
    fsync_folder(paths.data_dir)


def _write_wal_back(database_path: Path) -> None:
    """Write the WAL into its database, so that the safety copy is one file that stands alone.

    What has no sound header is not opened: SQLite would recognise nothing in the WAL, and delete it.
    """
    if not is_live(database_path):
        return
    try:
        with closing(sqlite3.connect(database_path, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return  # the caller moves database and WAL together
    mark_as_copy(database_path)


def _put_back_files(paths: DataPaths, pending: PendingRestore) -> None:
    """Put the old files back, from wherever the swap or an earlier roll-back stopped."""
    is_restored = paths.files_dir.exists() and not paths.staged_files_dir.exists()
    if is_restored and (not pending.had_files or paths.safety_files_dir.exists()):
        paths.files_dir.rename(paths.staged_files_dir)
    if pending.had_files and not paths.files_dir.exists():
        paths.safety_files_dir.rename(paths.files_dir)


def _put_back_database(paths: DataPaths, pending: PendingRestore) -> None:
    """Put the old database back; the restored one's WAL goes first, so that it never meets the old one."""
    safety, wal_path = paths.safety_database, beside(paths.database, "-wal")
    safety_wal = beside(safety, "-wal")
    if paths.staged_database.exists():
        # The live database is still the old one. If it has two names, the safety copy's WAL is its own;
        # otherwise whatever has that name belongs to an earlier restore.
        if safety.exists() and safety.samefile(paths.database):
            if safety_wal.exists():
                safety_wal.replace(wal_path)
            safety.unlink()
        return
    if safety.exists() or not pending.had_database:
        remove(wal_path)
        remove(beside(paths.database, "-shm"))
    if not pending.had_database:
        remove(paths.database)
    elif safety.exists():
        safety.replace(paths.database)
    if safety_wal.exists() and pending.had_database:
        safety_wal.replace(wal_path)


def _finish(paths: DataPaths, pending: PendingRestore) -> RestoreReceipt:
    """Write the receipt, then take the marker away: from here on, the restore is over."""
    if pending.phase is Phase.ROLLED_BACK:
        for path in _safety_copies(paths):
            if beside(path, _EARLIER).exists() and not path.exists():
                beside(path, _EARLIER).rename(path)
    receipt = RestoreReceipt(
        restore_id=pending.restore_id,
        backup_filename=pending.backup_filename,
        requested_by=pending.requested_by,
        requested=pending.requested,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        outcome="rolled_back" if pending.phase is Phase.ROLLED_BACK else "restored",
        reason=pending.reason,
    )
    add_receipt(paths, receipt)
    remove_marker(paths)
    with suppress(OSError):  # the next start removes what stays
        discard_staging(paths)
        _remove_earlier_safety_copies(paths)
    return receipt


def _safety_copies(paths: DataPaths) -> tuple[Path, Path, Path]:
    return paths.safety_files_dir, paths.safety_database, beside(paths.safety_database, "-wal")


def _remove_earlier_safety_copies(paths: DataPaths) -> None:
    for path in _safety_copies(paths):
        remove(beside(path, _EARLIER))


def _set_aside(path: Path) -> None:
    """Keep an earlier restore's safety copy until this restore has succeeded."""
    if path.exists():
        remove(beside(path, _EARLIER))
        path.rename(beside(path, _EARLIER))


def _explain(error: Exception) -> str:
    return error.message if isinstance(error, FastCMSError) else f"{type(error).__name__}: {error}"
