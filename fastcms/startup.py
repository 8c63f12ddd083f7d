"""Bring a data folder up: lock it, finish a pending restore, migrate, say where to log in."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastcms.accounts.service import has_admin, setup_code
from fastcms.locks import FileLock
from fastcms.media.service import empty_trash, remove_stale_uploads
from fastcms.site import Site, make_data_folder
from fastcms.terminal import messages


@contextmanager
def start_up(site: Site) -> Iterator[None]:
    """Prepare the data folder and hold it for as long as the server runs.

    Raises: ConfigError; SchemaTooNewError.
    """
    make_data_folder(site.settings)
    with FileLock(site.settings.data_dir / ".starting").hold():
        prepare(site)
    yield


def prepare(site: Site) -> None:
    site.database.migrate()
    remove_stale_uploads(site.settings.files_dir)
    empty_trash(site.settings.files_dir, site.settings.backups_dir)


def announce_setup(site: Site) -> None:
    with site.database.read() as session:
        if has_admin(session):
            return
    url = f"http://localhost:{site.settings.port}/admin"
    messages.print(
        f"\nThere is no admin yet. Open {url} and enter the set-up code:\n\n    {setup_code(site)}\n"
    )
