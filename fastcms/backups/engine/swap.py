"""Put a staged restore in place of the live state, or put the live state back.

Runs at start, under the data folder's lock, before any connection to app.db exists. The marker is the
journal: a run that died anywhere is continued by the next one, in the phase that the marker says, and each
phase may be repeated. `Phase` draws the states.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from fastcms.backups.engine.live import mark_as_copy
from fastcms.backups.engine.moving import make_safety_copy, move_in, move_out, write_wal_back
from fastcms.backups.engine.paths import DataPaths, State, beside
from fastcms.backups.engine.pending import (
    Kind,
    PendingRestore,
    Phase,
    RestoreReceipt,
    add_receipt,
    advance,
    read_marker,
    remove_marker,
)
from fastcms.backups.engine.staging import discard_staging, is_staged, remove_stale_staging, set_aside
from fastcms.durability import remove
from fastcms.errors import FastCMSError, RestoreError, RolledBackError

_MOST_ATTEMPTS = 3


def apply_pending_restore(paths: DataPaths, bring_up: Callable[[], None]) -> RestoreReceipt | None:
    """Finish the pending restore, if there is one; return its receipt.

    bring_up migrates and opens the restored database, closes it again, and raises when it cannot be served:
    then everything is put back and the receipt's outcome is `rolled_back`. It may take as long as it needs.
    On disk: the whole state of the backup or the whole state before. What is thrown away stays, under hidden
    names, for `staging.remove_discarded`: at start there is only time for renames.
    Raises: OSError when even putting back fails; the next start tries again.
    """
    pending = read_marker(paths)
    if pending is None:
        remove_stale_staging(paths)
        return None
    if pending.phase in (Phase.STAGED, Phase.MOVING_OUT, Phase.MOVING_IN):
        pending = _go_forward(paths, pending, bring_up)
    if not pending.phase.is_over:
        pending = _go_back(paths, pending)
    receipt = receipt_of(pending)
    # The site is as it will be: the next start, or the next restore, does what fails here.
    with suppress(OSError):
        finish_restore(paths, pending, receipt)
    return receipt


def finish_restore(paths: DataPaths, pending: PendingRestore, receipt: RestoreReceipt | None = None) -> None:
    """Tidy up after a restore that is over: safety copy, receipt, marker, staging. The live state stays."""
    safety = pending.safety(paths)
    if pending.phase is Phase.RESTORED:
        _make_safety_copy(paths, pending)
    elif pending.kind is Kind.UNDO:
        write_wal_back(safety)
        mark_as_copy(safety.database)
        remove(safety.shm)
    add_receipt(paths, receipt or receipt_of(pending))
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
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        outcome=str(pending.phase),
        reason=pending.reason,
        seconds=pending.seconds,
    )


def _go_forward(paths: DataPaths, pending: PendingRestore, bring_up: Callable[[], None]) -> PendingRestore:
    incoming, replaced = pending.incoming(paths), pending.replaced(paths)
    seconds = dict(pending.seconds)
    try:
        if pending.phase is Phase.STAGED:
            if not is_staged(paths, pending):
                raise RolledBackError(  # noqa: TRY301 - one place says why
                    f"{incoming.database.parent} no longer holds what was staged.",
                    hint="Stage the restore again.",
                )
            _set_strays_aside(replaced)
            pending = advance(paths, pending, Phase.MOVING_OUT, had_database=paths.database.exists())
        with _timed(seconds, "swap"):
            if pending.phase is Phase.MOVING_OUT:
                if not replaced.database.exists():
                    write_wal_back(paths.live)
                move_out(paths.live, replaced)
            pending = _begin_moving_in(paths, pending)
            move_in(incoming, paths.live)
        with _timed(seconds, "open"):
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
    with _timed(seconds, "roll_back"):
        if pending.phase is Phase.TAKING_OUT:
            move_out(paths.live, incoming)
            pending = advance(paths, pending, Phase.PUTTING_BACK)
        move_in(replaced, paths.live)
        if not pending.had_database:
            remove(paths.database)
    return advance(paths, pending, Phase.ROLLED_BACK, seconds=seconds)


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
    if replaced.files.exists():
        for files_apart in (False, True):
            set_aside(paths.safety(files_apart=files_apart).files)
    make_safety_copy(replaced, safety)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        seconds[name] = round(seconds.get(name, 0) + time.monotonic() - started, 3)


def _explain(error: Exception) -> str:
    return error.message if isinstance(error, FastCMSError) else f"{type(error).__name__}: {error}"
