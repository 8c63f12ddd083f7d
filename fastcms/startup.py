"""Bring a data folder up: lock it, finish a pending restore, migrate, say where to log in.

Three locks in the data folder, all released by the kernel when their holder dies: `.starting` is held by one
process at a time while it starts; `.serving` is shared by a server's workers, and `.commands` by commands,
for as long as they may have app.db open. A restore needs the last two for itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fastcms.accounts.service import has_admin, setup_code
from fastcms.backups import restoring
from fastcms.backups.engine.pending import RestoreReceipt
from fastcms.backups.schemas import RestoreState
from fastcms.errors import BackupBusyError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.media.service import empty_trash, remove_stale_uploads
from fastcms.site import Site, make_folders, refuse_wrong_user
from fastcms.sqlite import WITHOUT_WAL_RESET_BUG, sqlite3
from fastcms.terminal import messages

_STARTING, _SERVING, _COMMANDS = ".starting", ".serving", ".commands"


@contextmanager
def serve_site(site: Site) -> Iterator[None]:
    """Prepare the data folder for a server, applying a staged restore, and hold it until the server ends.

    Raises: ConfigError; SchemaTooNewError.
    """
    with _open_data_folder(site, _SERVING):
        _clean_up(site)
        _warn_of_old_sqlite()
        _announce_setup(site)
        yield


@contextmanager
def use_site(site: Site) -> Iterator[None]:
    """Prepare the data folder for a command, beside a running server or without one, and hold it meanwhile.

    A staged restore stays staged; one that was interrupted half-way is finished first, because nothing may
    open the database in between.

    Raises: ConfigError; SchemaTooNewError.
    """
    is_new = not site.settings.database_path.exists()
    with _open_data_folder(site, _COMMANDS):
        if is_new:
            messages.print(f"Made a new site in {site.settings.data_dir.absolute()}.", markup=False)
        yield


def _clean_up(site: Site) -> None:
    """Remove what killed processes left; failing at it is no reason not to serve."""
    try:
        remove_stale_uploads(site.settings.files_dir)
        empty_trash(site)
    except OSError as error:
        get_logger().warning("Left-over files could not be removed.", reason=str(error))


@contextmanager
def _open_data_folder(site: Site, lock_name: str) -> Iterator[None]:
    settings = site.settings
    refuse_wrong_user(settings)
    make_folders(settings.data_dir, settings.backups_dir)
    with ExitStack() as held:
        with FileLock(settings.data_dir / _STARTING).hold(purpose="starting"):
            _recover(site, is_server=lock_name == _SERVING)
            # Not before: between two renames of a swap, files/ is rightly absent.
            make_folders(settings.files_dir)
            site.database.migrate()
            held.enter_context(FileLock(settings.data_dir / lock_name).hold(is_shared=True))
            held.callback(site.database.close)
        yield


def _recover(site: Site, *, is_server: bool) -> None:
    """Make app.db safe to open, unless somebody has it open already."""
    data_dir = site.settings.data_dir
    try:
        with (
            FileLock(data_dir / _SERVING).hold(purpose="starting", timeout_seconds=0),
            # A server waits: it was started to restore, and must not start without.
            _without_commands(FileLock(data_dir / _COMMANDS), is_server=is_server),
        ):
            receipt = restoring.recover(site, applies_staged=is_server)
            if receipt is not None:
                _announce_restore(receipt)
    except BackupBusyError:
        if is_server and restoring.is_restore_pending(site):
            get_logger().warning("A restore is pending: stop all servers on this data folder to complete it.")


@contextmanager
def _without_commands(lock: FileLock, *, is_server: bool) -> Iterator[None]:
    if is_server:
        try:
            with lock.hold(timeout_seconds=1):
                pass
        except BackupBusyError:
            get_logger().warning("Waiting for a running fastcms command to end.")
    with lock.hold(purpose="starting", timeout_seconds=None if is_server else 0):
        yield


def _warn_of_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < WITHOUT_WAL_RESET_BUG:
        get_logger().warning(
            "This SQLite can, very rarely, damage a database under load; 3.51.3 and later cannot.",
            sqlite=sqlite3.sqlite_version,
        )


def _announce_restore(receipt: RestoreReceipt) -> None:
    """Say it in words beside the log: it is what whoever watches the terminal waits for."""
    if receipt.outcome == RestoreState.RESTORED:
        sentence = f"Restored {receipt.backup_filename}. Everybody logs in again."
    else:
        sentence = (
            f"The restore of {receipt.backup_filename} failed and was rolled back: the site is as it was.\n"
            f"Why: {receipt.reason}"
        )
    messages.print(f"\n{sentence}\n", markup=False)


def _announce_setup(site: Site) -> None:
    with site.database.read() as session:
        if has_admin(session):
            return
    messages.print(
        f"\nThere is no admin yet. Open http://localhost:{site.settings.port}/admin (or the address below, "
        f"if it is another)\nand enter the set-up code:\n\n    {setup_code(site)}\n"
    )
