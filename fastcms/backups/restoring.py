"""Stage, cancel and finish restores: joins the engine with the site."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

from fastcms.accounts.models import LoginSession
from fastcms.backups import archive_cache, contents, receiving, verification
from fastcms.backups.creation import OMITTED_TABLES
from fastcms.backups.deletion import hold_backup
from fastcms.backups.engine import live, staging, swap, undo
from fastcms.backups.engine.paths import State, beside
from fastcms.backups.engine.pending import (
    PendingRestore,
    Phase,
    RestoreReceipt,
    read_marker,
    read_receipts,
)
from fastcms.backups.engine.process import run_apart
from fastcms.backups.engine.progress import OnProgress, ignore_progress
from fastcms.backups.engine.verify import check_database, open_unchanged
from fastcms.backups.folder import alone, data_paths, explained
from fastcms.backups.origin import Origin, hold_records, read_origin
from fastcms.backups.restore_schemas import RestoreState, RestoreStatus, describe_latest, describe_pending
from fastcms.content.schemas import RecordQuery
from fastcms.content.service import list_collections, list_records
from fastcms.database import Base, known_revisions, utc_now
from fastcms.errors import (
    ArchiveError,
    BackupBusyError,
    ConflictError,
    NoPendingRestoreError,
    RestoreError,
    UnusableSafetyCopyError,
)
from fastcms.logs import get_logger
from fastcms.site import Site

# A deletion is over in a moment; the check of a large upload is not, and the error says who is at it.
_WAIT_FOR_UPLOADS_SECONDS = 2


def stage_restore(
    site: Site,
    filename: str,
    requested_by: str,
    on_progress: OnProgress = ignore_progress,
    *,
    approved: Origin | None = None,
) -> PendingRestore:
    """Check a backup whole and prepare it, so that the next start of the server restores it.

    approved: the origin that whoever asks has agreed to, maybe a while ago; None for a backup made here.
    Raises: what `find_backup` and `engine.staging.stage_restore` raise; BackupBusyError; ConflictError when
    the name has become another backup's meanwhile.
    """
    paths = data_paths(site)

    with (
        explained("Staging the restore"),
        alone(paths, "staging a restore"),
        # Until the end: nobody can give the name to another archive.
        hold_records(paths, timeout_seconds=_WAIT_FOR_UPLOADS_SECONDS),
        hold_backup(site, filename) as backup,
    ):
        archive_path = Path(backup.path)
        _require_unchanged(archive_path, approved)
        swap.finish_what_is_over(paths)
        staging.require_nothing_pending(paths)
        try:
            return run_apart(
                staging.stage_restore,
                paths,
                archive_path,
                requested_by=requested_by,
                known_revisions=known_revisions(),
                check_contents=_check_contents,
                omit_rows_of=OMITTED_TABLES,
                on_progress=on_progress,
            )
        except BaseException:  # the process may have been killed
            staging.abandon_staging(paths)
            raise


def _check_contents(database_path: Path) -> None:
    with open_unchanged(database_path) as database:
        contents.refuse_strange_contents(database)


def _require_unchanged(archive_path: Path, approved: Origin | None) -> None:
    if read_origin(archive_path) != approved:
        raise ConflictError(
            f"{archive_path.name} is not the backup any more that was looked at: "
            "somebody has deleted it, and brought another one of that name.",
            hint="Look again at where it comes from and whom it lets in, then decide anew.",
            code="backup_changed",
        )


def stage_undo(site: Site, requested_by: str) -> PendingRestore:
    """Prepare the way back: the next start puts the state before the latest restore in place again.

    Raises: what `engine.undo.stage_undo` raises; BackupBusyError; the subclasses of ArchiveError when the
    safety copy's database cannot be served.
    """
    paths = data_paths(site)

    def check(safety: State) -> None:
        try:
            check_database(
                safety.database,
                known_revisions=known_revisions(),
                check_contents=_check_contents,
            )
        except ArchiveError as error:
            raise UnusableSafetyCopyError(
                f"{safety.database} cannot be served: {error.message}",
                hint="It was so before the restore. Go back by hand if you must: docs/disaster-recovery.md.",
                code="safety_copy_damaged",
            ) from error

    with explained("Staging the undo"), alone(paths, "staging an undo"):
        swap.finish_what_is_over(paths)
        return undo.stage_undo(paths, requested_by=requested_by, check=check)


def discard_safety_copy(site: Site) -> undo.SafetyCopy:
    """Delete the state before the latest restore. Raises: NoSafetyCopyError; RestorePendingError."""
    paths = data_paths(site)
    with explained("Discarding the safety copy"), alone(paths, "discarding the safety copy"):
        swap.finish_what_is_over(paths)
        return undo.discard_safety_copy(paths)


def cancel_restore(site: Site) -> PendingRestore:
    """Forget the pending restore. Raises: NoPendingRestoreError; RestorePendingError; BackupBusyError."""
    paths = data_paths(site)
    with explained("Cancelling the restore"), alone(paths, "cancelling a restore"):
        swap.finish_what_is_over(paths)
        return staging.cancel_restore(paths)


def list_restores(site: Site) -> list[RestoreReceipt]:
    """The receipts of all restores, newest first."""
    with explained("Reading the receipts"):
        return list(read_receipts(data_paths(site).receipts))[::-1]


def restore_status(site: Site) -> RestoreStatus:
    """The pending restore, or else how the latest one ended, and what an undo would bring back."""
    paths = data_paths(site)
    with explained("Looking at the restores"):
        pending = read_marker(paths)
        safety_copy = undo.find_safety_copy(paths)
    if pending is not None and not pending.phase.is_over:
        return describe_pending(pending, safety_copy)
    if pending is not None:  # over, but still without its receipt and its safety copy
        return describe_latest(swap.receipt_of(pending), None)
    return describe_latest(next(iter(list_restores(site)), None), safety_copy)


def require_nothing_staged(site: Site) -> None:
    """Raise RestorePendingError when a restore waits for a start; an interrupted one goes on by itself.

    Where there is no site, nothing waits: `give_up_killed` makes place for the next.
    """
    paths = data_paths(site)
    pending = read_marker(paths)
    if pending is not None and pending.phase is Phase.STAGED and paths.database.exists():
        staging.require_nothing_pending(paths)


def give_up_killed(site: Site) -> None:
    """Where there is no site, forget a restore that was killed once it was staged: it begins anew.

    Only with nobody else there. Raises: BackupBusyError.
    """
    if not data_paths(site).database.exists():
        with suppress(NoPendingRestoreError):
            cancel_restore(site)


def is_restore_pending(site: Site) -> bool:
    return data_paths(site).marker.exists()


def is_restore_interrupted(site: Site) -> bool:
    """Whether a start has to finish one before anything else, or has to look at its marker."""
    try:
        pending = read_marker(data_paths(site))
    except RestoreError:
        return True
    return pending is not None and pending.phase is not Phase.STAGED


def remove_discarded(site: Site) -> None:
    """Remove from the disk what restores have thrown away; takes as long as there are files."""
    staging.remove_discarded(data_paths(site))


def recover(site: Site, *, applies_staged: bool) -> RestoreReceipt | None:
    """Make app.db safe to open, and finish the pending restore; return its receipt, if there was one.

    Only at start, before app.db is opened by anyone. Without applies_staged, a restore is only finished when
    its swap was interrupted.
    """
    database_path = data_paths(site).database
    _give_way_to_hand(site)
    for kept_path in live.adopt_database(database_path):
        get_logger().warning(
            "app.db was replaced by hand beside a journal of its predecessor; the journal was moved aside.",
            journal=str(kept_path),
        )
    receipt = _finish_pending_restore(site, applies_staged=applies_staged)
    live.mark_as_live(database_path)  # a safety copy that was put back
    if not database_path.exists():
        live.create_database(database_path)
    _remove_left_overs(site)
    return receipt


def _give_way_to_hand(site: Site) -> None:
    """Before app.db is marked as live, which makes it look like FastCMS's own."""
    with suppress(RestoreError):  # a marker that cannot be read is dealt with later
        if swap.give_way_to_hand(data_paths(site)):
            get_logger().warning("app.db was replaced by hand in the middle of a restore, which is given up.")


def _remove_left_overs(site: Site) -> None:
    """Remove what a killed backup, upload or staging left, unless one is at work."""
    paths = data_paths(site)
    with suppress(BackupBusyError), alone(paths, "removing left-overs"):
        if read_marker(paths) is None:
            staging.remove_stale_staging(paths)
    receiving.remove_left_overs(site)
    verification.remove_left_overs(site)
    archive_cache.remove_left_overs(site)


def _finish_pending_restore(site: Site, *, applies_staged: bool) -> RestoreReceipt | None:
    paths = data_paths(site)
    try:
        pending = read_marker(paths)
    except RestoreError as error:
        if swap.find_strays(paths):
            raise
        # FastCMS replaces its marker in one step, so this is somebody else's file: the site is untouched.
        paths.marker.replace(beside(paths.marker, f".unreadable-{utc_now():%Y%m%d_%H%M%S}"))
        get_logger().error(error.message, hint=error.hint)
        pending = None
    if pending is not None and pending.phase is Phase.STAGED and not applies_staged:
        return None
    try:
        receipt = swap.apply_pending_restore(paths, lambda: _bring_up(site))
    except (OSError, RestoreError) as error:
        pending = read_marker(paths)
        if pending is None or pending.phase is not Phase.STAGED:
            raise _explain_interruption(error) from error
        get_logger().error("The restore could not begin; it stays staged.", reason=str(error))
        return None
    if receipt is not None:
        log = get_logger().info if receipt.outcome == RestoreState.RESTORED else get_logger().error
        log(f"restore {receipt.outcome}", **asdict(receipt))
    return receipt


def _explain_interruption(error: OSError | RestoreError) -> RestoreError:
    if isinstance(error, RestoreError):
        return error
    return RestoreError(
        f"The restore was interrupted: {error}.",
        hint="Nothing is lost. Look at the disk's free space and health, then start again: "
        "FastCMS goes on where it stopped.",
        code="restore_interrupted",
    )


def _bring_up(site: Site) -> None:
    """Migrate the restored database and read from every table through the application's own models."""
    try:
        site.database.migrate()
        with site.database.write() as session:
            # Logins that were ended since must not come back.
            session.execute(sa.delete(LoginSession))
        with site.database.read() as session:
            for table in Base.metadata.sorted_tables:
                session.execute(sa.select(table).limit(1)).all()
            for collection in list_collections(session):
                list_records(session, collection, RecordQuery(per_page=1))
    finally:
        site.database.close()
