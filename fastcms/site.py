"""One site: its settings, its database, and the secret of its data folder."""

import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event

from fastcms.config import Settings
from fastcms.database import Database
from fastcms.errors import ConfigError


@dataclass(frozen=True)
class Site:
    """What every request and command works on. Making one touches no file."""

    settings: Settings
    database: Database
    # Set once the server of this site was asked to stop.
    stopping: Event = field(default_factory=Event, compare=False)

    @cached_property
    def secret_key(self) -> str:
        """The key that signs cookies and set-up codes, shared by all workers, kept out of every backup."""
        return _read_or_create_secret(self.settings.data_dir / ".secret_key")


def new_site(settings: Settings) -> Site:
    return Site(settings, Database(settings.database_path))


def make_folders(*folders: Path) -> None:
    """Create folders that only their owner may read.

    Raises: ConfigError when one cannot be made or written.
    """
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} cannot be created: {error.strerror}.",
                hint="Set FASTCMS_DATA_DIR to a folder that this user may write.",
            ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(
                f"The folder {folder} is not writable for this user.",
                hint="Change its owner, or set FASTCMS_DATA_DIR to another folder.",
            )


def refuse_file_as_folder(folder: Path) -> None:
    """Refuse a data folder that is a file, or is in one, before anything is looked for there.

    Raises: ConfigError.
    """
    found = next(path for path in (folder, *folder.parents) if path.exists())
    if not found.is_dir():
        raise ConfigError(
            f"The folder {folder} cannot be used: {found} is no folder.",
            hint="Name another folder, by FASTCMS_DATA_DIR or --data-dir.",
        )


def refuse_wrong_user(settings: Settings) -> None:
    """Refuse to work as root on a site that runs as another user: it could not open what root leaves behind.

    Raises: ConfigError.
    """
    path = settings.database_path
    if os.geteuid() == 0 and path.exists() and path.stat().st_uid != 0:
        owner = path.stat().st_uid
        raise ConfigError(
            f"{path} belongs to the user with the id {owner}, and this is root.",
            hint=f"Run the same command as that user: sudo -u '#{owner}' ...",
            code="wrong_user",
        )


def refuse_linked_database(settings: Settings) -> None:
    """Refuse a link as app.db: SQLite keeps its WAL beside the target, and a restore renames the link.

    Raises: ConfigError.
    """
    path = settings.database_path
    if path.is_symlink():
        raise ConfigError(
            f"{path} is a symbolic link to {path.readlink()}: the latest changes would be kept beside that "
            "file, and a restore would only replace the link.",
            hint="Move that file, and the -wal beside it if there is one, to the link's place; or keep the "
            "whole data folder elsewhere, with FASTCMS_DATA_DIR.",
            code="database_is_link",
        )


def _read_or_create_secret(path: Path) -> str:
    """Several workers may come at once: the content is linked into place whole, and the first one wins."""
    try:
        return path.read_text()
    except FileNotFoundError:
        beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
        return path.read_text()
