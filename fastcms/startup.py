"""Bring a data folder up: lock it, finish a pending restore, migrate, say where to log in.

Three locks in the data folder, all released by the kernel when their holder dies: `.starting` is held by one
process at a time while it starts; `.serving` is shared by one server's workers, and `.commands` by commands,
for as long as they may have app.db open. A restore needs the last two for itself.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from fastcms.accounts.service import has_admin, setup_code
from fastcms.activity import service as activity
from fastcms.backups import jobs, restoring
from fastcms.backups.engine.pending import Kind, RestoreReceipt
from fastcms.backups.restore_schemas import RestoreState, describe_what
from fastcms.errors import BackupBusyError, DataFolderInUseError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.media.service import empty_trash, remove_stale_uploads
from fastcms.restarting import server_id
from fastcms.site import Site, make_folders, refuse_linked_database, refuse_wrong_user
from fastcms.sqlite import WITHOUT_WAL_RESET_BUG, sqlite3
from fastcms.start_errors import explained
from fastcms.stopping import default_signals
from fastcms.terminal import messages

STARTING, SERVING, COMMANDS = ".starting", ".serving", ".commands"
# Whoever waits longer is told for whom.
_PATIENCE_SECONDS = 1
_SECONDS_UNTIL_REMOVAL = 2


@contextmanager
def serve_site(site: Site) -> Iterator[None]:
    """Prepare the data folder for a server, applying a staged restore, and hold it until the server ends.

    Of a server's workers, the first one does all of it, and the others wait. Another server is refused.

    Raises: DataFolderInUseError; ConfigError; SchemaTooNewError.
    """
    with _data_folder(site, SERVING, _serving_purpose(), _recover_for_server):
        with explained(site.settings):
            _clean_up(site)
            _warn_of_old_sqlite()
            _announce_setup(site)
        # What a restore has thrown away may be large: the server's own start comes first.
        removing = threading.Timer(_SECONDS_UNTIL_REMOVAL, restoring.remove_discarded, [site])
        removing.daemon = True
        removing.start()
        try:
            yield
        finally:
            removing.cancel()
            with default_signals():  # a second Ctrl+C does not wait for work that is slow to end
                jobs.stop(site)


@contextmanager
def use_site(site: Site, purpose: str = "a fastcms command") -> Iterator[None]:
    """Prepare the data folder for a command, beside a running server or without one, and hold it meanwhile.

    A staged restore stays staged; one that was interrupted half-way is finished first, because nothing may
    open the database in between.

    Raises: ConfigError; SchemaTooNewError.
    """
    is_new = not site.settings.database_path.exists()
    with _data_folder(site, COMMANDS, purpose, _recover_for_command):
        if is_new:
            messages.print(f"Made a new site in {site.settings.data_dir.absolute()}.", markup=False)
        yield


@contextmanager
def hold_folder(site: Site, purpose: str) -> Iterator[None]:
    """Keep starts and restores out for a command that does not open app.db, be it damaged or missing.

    Raises: ConfigError.
    """
    with _data_folder(site, COMMANDS, purpose, lambda _site: None):
        yield


def restore_without_server(site: Site, prepare: Callable[[], object]) -> RestoreReceipt | None:
    """Stage a restore by calling prepare, and apply it as a server's start does, all with nobody else there.

    A restore that was interrupted before is finished first. When prepare raises, nothing is applied.

    Returns: the receipt; None when the restore could not begin and stays staged.
    Raises: DataFolderInUseError, naming who uses the folder; ConfigError; what prepare raises.
    """
    _check_folder(site)
    with explained(site.settings), ExitStack() as held:
        for name in (STARTING, SERVING, COMMANDS):
            held.enter_context(_alone(site, name))
        # On a new machine there is nothing to finish, and nothing that would deserve a safety copy.
        if restoring.is_restore_interrupted(site) or site.settings.database_path.exists():
            _recover(site, applies_staged=False)
        prepare()
        receipt = restoring.recover(site, applies_staged=True)
        if receipt is not None:
            _record_restore(site, receipt)
        _open_database(site)
        site.database.close()
    restoring.remove_discarded(site)
    return receipt


@contextmanager
def _data_folder(site: Site, lock_name: str, purpose: str, open_up: Callable[[Site], None]) -> Iterator[None]:
    _check_folder(site)
    with ExitStack() as held:
        with explained(site.settings), _wait_for(_lock(site, STARTING), "starting"):
            open_up(site)
            group = server_id() if lock_name == SERVING else ""
            held.enter_context(_lock(site, lock_name).hold(is_shared=True, purpose=purpose, group=group))
            held.callback(site.database.close)
        yield


def _check_folder(site: Site) -> None:
    refuse_wrong_user(site.settings)
    refuse_linked_database(site.settings)
    make_folders(site.settings.data_dir, site.settings.backups_dir)


def _open_database(site: Site) -> None:
    # Not before recovery: between two renames of a swap, files/ is rightly absent.
    make_folders(site.settings.files_dir)
    site.database.migrate()


@contextmanager
def _wait_for(lock: FileLock, purpose: str) -> Iterator[None]:
    """Hold a lock; say for whom it waits. Until then Ctrl+C and SIGTERM end the process at once."""
    with ExitStack() as held:
        with default_signals():
            try:
                held.enter_context(lock.hold(purpose=purpose, timeout_seconds=_PATIENCE_SECONDS))
            except BackupBusyError:
                messages.print(f"Waiting until {lock.describe_holders()} has finished.", markup=False)
                held.enter_context(lock.hold(purpose=purpose))
        yield


@contextmanager
def _alone(site: Site, name: str) -> Iterator[None]:
    """Hold a lock that nobody else may have. Raises: DataFolderInUseError."""
    lock = _lock(site, name)
    # Whoever starts needs a moment; whoever serves or works, longer than one waits.
    timeout_seconds = _PATIENCE_SECONDS if name == STARTING else 0
    with ExitStack() as held:
        try:
            held.enter_context(lock.hold(purpose="restoring", timeout_seconds=timeout_seconds))
        except BackupBusyError as error:
            raise DataFolderInUseError(
                f"{site.settings.data_dir.absolute()} is in use by {lock.describe_holders()}.",
                hint="Stop the server first; let other commands finish.",
            ) from error
        yield


def _recover_for_server(site: Site) -> None:
    """Open app.db after making that safe, unless another worker of this server has done so."""
    with ExitStack() as held:
        try:
            held.enter_context(_lock(site, SERVING).hold(purpose="starting", timeout_seconds=0))
        except BackupBusyError:
            _refuse_other_server(site)
            if restoring.is_restore_pending(site):
                get_logger().warning(
                    "A restore is pending: stop the whole server, then start it, to complete it."
                )
        else:
            # A server waits for commands: it was started to restore, and must not start without.
            held.enter_context(_wait_for(_lock(site, COMMANDS), "starting"))
            _recover(site, applies_staged=True)
    _open_database(site)


def _recover_for_command(site: Site) -> None:
    """Open app.db after making that safe, unless somebody has it open already."""
    with ExitStack() as held:
        try:
            for name in (SERVING, COMMANDS):
                held.enter_context(_lock(site, name).hold(purpose="starting", timeout_seconds=0))
        except BackupBusyError:
            pass
        else:
            _recover(site, applies_staged=False)
    _open_database(site)


def _recover(site: Site, *, applies_staged: bool) -> None:
    receipt = restoring.recover(site, applies_staged=applies_staged)
    if receipt is not None:
        _announce_restore(site, receipt)


def _refuse_other_server(site: Site) -> None:
    """Let in only workers of the server that holds the folder: whoever has signed belongs to it."""
    lock = _lock(site, SERVING)
    if any(holder.group == server_id() for holder in lock.signatures()):
        return
    raise DataFolderInUseError(
        f"Another server already uses the data folder {site.settings.data_dir.absolute()}: "
        f"{lock.describe_holders()}.",
        hint="Stop that server first, or give this one a folder of its own (FASTCMS_DATA_DIR). "
        "One server with several processes is started with `uvicorn app.main:app --workers 4`.",
    )


def _serving_purpose() -> str:
    """Name the process that has to be stopped: a killed worker would only be replaced."""
    supervisor = multiprocessing.parent_process()
    return "serving" if supervisor is None else f"serving, started by process {supervisor.pid}"


def _lock(site: Site, name: str) -> FileLock:
    return FileLock(site.settings.data_dir / name)


def _clean_up(site: Site) -> None:
    """Remove what killed processes left; failing at it is no reason not to serve."""
    try:
        remove_stale_uploads(site.settings.files_dir)
        empty_trash(site)
    except OSError as error:
        get_logger().warning("Left-over files could not be removed.", reason=str(error))


def _warn_of_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < WITHOUT_WAL_RESET_BUG:
        get_logger().warning(
            "This SQLite can, very rarely, damage a database under load; 3.51.3 and later cannot.",
            sqlite=sqlite3.sqlite_version,
        )


def _announce_restore(site: Site, receipt: RestoreReceipt) -> None:
    """Say it in words beside the log: it is what whoever watches the terminal waits for."""
    _record_restore(site, receipt)
    what = describe_what(receipt.kind, receipt.backup_filename)
    if receipt.outcome == RestoreState.RESTORED:
        sentence = f"The {what} is complete. Everybody logs in again."
    else:
        sentence = f"The {what} failed and was rolled back: the site is as it was.\nWhy: {receipt.reason}"
    messages.print(f"\n{sentence}\n", markup=False)


def _record_restore(site: Site, receipt: RestoreReceipt) -> None:
    """Where the activity log goes on after a restore, it says so: it may tell of what is gone again."""
    is_complete = receipt.outcome == RestoreState.RESTORED
    if not is_complete:
        sentence = f"The {describe_what(receipt.kind, receipt.backup_filename)} failed: the site is as it was"
    elif receipt.kind is Kind.UNDO:
        sentence = f"The restore of {receipt.backup_filename} was undone"
    else:
        sentence = f"The site was restored from {receipt.backup_filename}"
    activity.add_restore(
        site,
        sentence=sentence,
        requested_by=receipt.requested_by,
        reason=None if is_complete else receipt.reason,
    )


def _announce_setup(site: Site) -> None:
    with site.database.read() as session:
        if has_admin(session):
            return
    messages.print(
        f"\nThere is no admin yet. Open http://localhost:{site.settings.port}/admin (or the address below, "
        f"if it is another)\nand enter the set-up code:\n\n    {setup_code(site)}\n"
    )
