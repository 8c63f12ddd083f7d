"""Put a staged restore in place of the live state, or put the live state back.

Runs at start, under the data folder's lock, before any connection to app.db exists. The marker is the
journal: a run that died anywhere is continued by the next one, in the phase that the marker says, and each
phase may be repeated. `Phase` draws the states.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fastcms.backups.engine.live import is_copy
from fastcms.backups.engine.moving import (
    make_safety_copy,
    move_database_out,
    move_folder,
    move_in,
    move_out,
    tidy_up,
    write_wal_back,
)
from fastcms.backups.engine.paths import DataPaths, State, are_files_apart, beside
from fastcms.backups.engine.pending import (
    Kind,
    PendingRestore,
    Phase,
    RestoreReceipt,
    add_receipt,
    advance,
    read_marker,
    remove_marker,
    timed,
)
from fastcms.backups.engine.staging import discard_staging, has_signed, is_staged, set_aside, unsign_files
from fastcms.durability import remove
from fastcms.errors import FastCMSError, RestoreError, RolledBackError

_MOST_ATTEMPTS = 3


def apply_pending_restore(paths: DataPaths, bring_up: Callable[[], None]) -> RestoreReceipt | None:
    """Finish the pending restore, if there is one; return its receipt.

    bring_up migrates and opens the restored database, closes it again, and raises when it cannot be served:
    then everything is put back and the receipt's outcome is `rolled_back`. It may take as long as it needs.
    On disk: the whole state of the backup or the whole state before. What is thrown away stays, under hidden
    names, for `staging.remove_discarded`: at start there is only time for renames.
    Raises: OSError or RestoreError when neither can be reached now; the next start tries again.
    """
    pending = read_marker(paths)
    if pending is None:
        _refuse_lost_marker(paths)
        return None
    if not pending.phase.is_over:
        _require_same_mount(paths, pending)
    if pending.phase in (Phase.STAGED, Phase.MOVING_OUT, Phase.MOVING_IN):
        pending = _go_forward(paths, pending, bring_up)
    if not pending.phase.is_over:
        pending = _go_back(paths, pending)
    # The site is as it will be: the next start, or the next restore, does what fails here.
    with suppress(OSError, RestoreError):
        finish_restore(paths, pending)
    return receipt_of(pending)


def give_way_to_hand(paths: DataPaths) -> bool:
    """Abandon an interrupted restore when somebody has put another app.db in its place meanwhile.

    Every app.db that FastCMS itself puts there is marked as live before. Whatever the restore had moved is
    kept, under names that end in `.found-<time>`.
    """
    pending = read_marker(paths)
    if (
        pending is None
        or pending.phase is Phase.STAGED
        or pending.phase.is_over
        or not is_copy(paths.database)
    ):
        return False
    replaced = pending.replaced(paths)
    if _is_same(paths.database, replaced.database):
        replaced.database.unlink()  # it was overwritten under both of its names
    _set_strays_aside(replaced)
    reason = (
        f"Somebody put another {paths.database.name} in place while the restore was interrupted. "
        "It is served as it is; what the restore had moved is beside it, under names with `.found`."
    )
    advance(paths, pending, Phase.ROLLED_BACK, reason=reason)
    return True


def find_strays(paths: DataPaths) -> list[Path]:
    """What a restore has moved out of the live place, wherever data/files is mounted."""
    states = [paths.replaced(files_apart=files_apart) for files_apart in (False, True)]
    places = [path for state in states for path in (state.database, state.files)]
    return [path for path in dict.fromkeys(places) if path.exists()]


def finish_restore(paths: DataPaths, pending: PendingRestore) -> None:
    """Tidy up after a restore that is over: safety copy, receipt, marker, staging. The live state stays."""
    _require_same_mount(paths, pending)
    safety = pending.safety(paths)
    if pending.phase is Phase.RESTORED:
        _make_safety_copy(paths, pending)
        unsign_files(paths.live)
    elif pending.kind is Kind.UNDO:
        tidy_up(safety)
        unsign_files(safety)
    add_receipt(paths, receipt_of(pending))
    if pending.kind is Kind.BACKUP:
        discard_staging(paths)
    remove_marker(paths)


def finish_what_is_over(paths: DataPaths) -> None:
    """Tidy up after a restore that could not be finished at start, as on a full disk. Raises: OSError."""
    pending = read_marker(paths)
    if pending is not None and pending.phase.is_over:
        finish_restore(paths, pending)


def receipt_of(pending: PendingRestore) -> RestoreReceipt:
    """The receipt of a restore that is over."""
    return RestoreReceipt(
        restore_id=pending.restore_id,
        kind=pending.kind,
        backup_filename=pending.backup_filename,
        archive_sha256=pending.archive_sha256,
        requested_by=pending.requested_by,
        requested=pending.requested,
        finished=pending.finished,
        outcome=str(pending.phase),
        reason=pending.reason,
        seconds=pending.seconds,
    )


def _go_forward(paths: DataPaths, pending: PendingRestore, bring_up: Callable[[], None]) -> PendingRestore:
    replaced = pending.replaced(paths)
    seconds = dict(pending.seconds)
    try:
        if pending.phase is not Phase.MOVING_IN:
            _require_staged(paths, pending)
        if pending.phase is Phase.STAGED:
            _set_strays_aside(replaced)
            had = {"had_database": paths.database.exists(), "had_files": paths.files_dir.exists()}
            pending = advance(paths, pending, Phase.MOVING_OUT, **had)
        with timed(seconds, "swap"):
            if pending.phase is Phase.MOVING_OUT:
                if not replaced.database.exists() and not replaced.wal.exists():
                    write_wal_back(paths.live)
                move_out(paths.live, replaced)
            pending = _begin_moving_in(paths, pending)
            move_in(pending.incoming(paths), paths.live)
            _require_arrived(paths, pending)
        with timed(seconds, "open"):
            bring_up()
        return advance(paths, pending, Phase.RESTORED, seconds=seconds)
    except Exception as error:  # noqa: BLE001 - whatever it is, the old state has to come back
        turn = {
            Phase.STAGED: Phase.ROLLED_BACK,
            Phase.MOVING_OUT: Phase.PUTTING_BACK,
            Phase.MOVING_IN: Phase.TAKING_OUT,
        }
        return advance(paths, pending, turn[pending.phase], reason=_explain(error), seconds=seconds)


def _begin_moving_in(paths: DataPaths, pending: PendingRestore) -> PendingRestore:
    """Count the attempts: a restored site that takes the process with it must not do so for ever."""
    if pending.attempts == _MOST_ATTEMPTS:
        raise RestoreError(
            f"The server was stopped {_MOST_ATTEMPTS} times while it opened the restored site.",
            hint="Look at the server's log, and at what limits its memory and its time to start.",
        )
    if pending.incoming(paths).database.exists() and paths.live.wal.exists():
        raise RestoreError(
            f"Another program has opened {paths.database} meanwhile.", hint="Stop it, then stage it again."
        )
    return advance(paths, pending, Phase.MOVING_IN, attempts=pending.attempts + 1)


def _go_back(paths: DataPaths, pending: PendingRestore) -> PendingRestore:
    incoming, replaced = pending.incoming(paths), pending.replaced(paths)
    seconds = dict(pending.seconds)
    with timed(seconds, "roll_back"):
        if pending.phase is Phase.TAKING_OUT:
            # When the incoming database is still in its place, or back there, the live one is not it.
            if not incoming.database.exists() and not _is_same(paths.database, replaced.database):
                move_database_out(paths.live, incoming)
            move_folder(paths.files_dir, incoming.files)
            pending = advance(paths, pending, Phase.PUTTING_BACK)
        move_in(replaced, paths.live)
        if not pending.had_database:
            remove(paths.database)
        _require_put_back(paths, pending)
    return advance(paths, pending, Phase.ROLLED_BACK, seconds=seconds)


def _require_same_mount(paths: DataPaths, pending: PendingRestore) -> None:
    if pending.files_apart != are_files_apart(paths):
        raise RestoreError(
            f"{paths.files_dir} is not the mount that it was when the restore of "
            f"{pending.backup_filename} was staged.",
            hint="Mount it as before, then start again: FastCMS goes on where it stopped.",
            code="restore_interrupted",
        )


def _refuse_lost_marker(paths: DataPaths) -> None:
    """Never serve half of a state: what was moved out says that a restore was interrupted."""
    strays = find_strays(paths)
    if strays:
        raise RestoreError(
            f"A restore was interrupted, and its marker {paths.marker} is gone: "
            f"{', '.join(map(str, strays))} is the state before.",
            hint=f"If {paths.backups_dir} is a disk of its own, mount it; "
            "otherwise docs/disaster-recovery.md says what to do.",
            code="restore_marker_lost",
        )


def _require_staged(paths: DataPaths, pending: PendingRestore) -> None:
    if not is_staged(paths, pending):
        raise RolledBackError(
            f"{pending.incoming(paths).database.parent} no longer holds what was staged.",
            hint="Stage the restore again.",
        )


def _require_arrived(paths: DataPaths, pending: PendingRestore) -> None:
    """Prove that what is live now is what was staged: a source that is gone looks like one that has moved."""
    incoming, replaced = pending.incoming(paths), pending.replaced(paths)
    has_database = paths.database.exists() and not incoming.database.exists()
    if not (
        has_database
        and not _is_same(paths.database, replaced.database)
        and has_signed(paths.live, pending.restore_id)
    ):
        raise RolledBackError(
            f"What was staged in {incoming.database.parent} was removed in the middle of the restore.",
            hint="Stage the restore again.",
        )


def _require_put_back(paths: DataPaths, pending: PendingRestore) -> None:
    incoming, replaced = pending.incoming(paths), pending.replaced(paths)
    if pending.had_database and (not paths.database.exists() or _is_same(paths.database, incoming.database)):
        gone = replaced.database
    elif pending.had_files and not paths.files_dir.exists():
        gone = replaced.files
    else:
        return
    raise RestoreError(
        f"The restore failed, and the state before cannot be put back: {gone} is gone.",
        hint="Put it back if you have moved it; otherwise restore by hand: docs/disaster-recovery.md.",
        code="restore_interrupted",
    )


def _is_same(path: Path, other_path: Path) -> bool:
    return path.exists() and other_path.exists() and path.samefile(other_path)


def _set_strays_aside(replaced: State) -> None:
    """Keep what lies where the old state will go: somebody removed the marker of an interrupted restore."""
    for path in (replaced.database, replaced.wal, replaced.files):
        if path.exists():
            path.rename(beside(path, f".found-{datetime.now(UTC):%Y%m%d_%H%M%S}"))


def _make_safety_copy(paths: DataPaths, pending: PendingRestore) -> None:
    """What was replaced becomes the safety copy. Only now the earlier one is given up, part by part."""
    replaced, safety = pending.replaced(paths), pending.safety(paths)
    if not pending.had_database:
        remove(safety.database)
        remove(safety.wal)
    if replaced.files.exists():  # move_out makes one, even of nothing
        for files_apart in (False, True):
            set_aside(paths.safety(files_apart=files_apart).files)
    if replaced.database.exists():  # a rename over it would wait until gigabytes are given back
        set_aside(safety.database)
    make_safety_copy(replaced, safety)


def _explain(error: Exception) -> str:
    if isinstance(error, FastCMSError):
        return error.message
    cause = error.__cause__ or error  # SQLAlchemy wraps what SQLite said in links to its own pages
    return f"{type(cause).__name__}: {cause}"
