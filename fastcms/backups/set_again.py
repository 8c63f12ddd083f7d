"""What has to be set again on a machine that a site came back on from nothing: no backup holds it."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from fastcms.backups import history, restoring
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.comparison import count_live
from fastcms.backups.destinations import list_destinations
from fastcms.backups.engine.pending import Kind
from fastcms.backups.folder import try_to_see
from fastcms.backups.origin import Origin
from fastcms.backups.restore_schemas import RestoreState
from fastcms.site import Site

_MARK = "came_back"


class Matter(StrEnum):
    ENCRYPTION = "encryption"
    DESTINATIONS = "destinations"
    NOTIFICATIONS = "notifications"


class SetAgain(BaseModel):
    """Something to set again: what is so until then, and the command. `public_keys`: use them again."""

    matter: Matter
    sentence: str
    command: str
    public_keys: list[str] = []


def is_nobodys(site: Site) -> bool:
    """Whether there is no site here yet, or one without any account."""
    if not site.settings.database_path.exists():
        return True
    counts = count_live(site)  # which leaves the database closed in a command
    return counts is not None and counts["accounts"] == 0  # a damaged one was somebody's


def note_came_back(site: Site, filename: str, origin: Origin | None) -> None:
    """Remember, once its restore is staged, from which backup a site comes back. Never raises."""
    encrypted_to = origin.encrypted_to if origin else []
    history.write_mark(site, _MARK, {"filename": filename, "encrypted_to": encrypted_to})


def find_what_to_set_again(site: Site) -> list[SetAgain]:
    """Nothing unless the site came back from nothing, and nothing any more once all is set.

    Raises: BackupError.
    """
    mark: dict[str, Any] | None = history.read_mark(site, _MARK)
    latest = restoring.restore_status(site)
    is_back = (latest.state, latest.kind) == (RestoreState.RESTORED, Kind.BACKUP)
    if mark is None or not is_back or latest.backup_filename != mark["filename"]:
        return []
    return list(_find_missing(site, mark["encrypted_to"]))


def see_what_to_set_again(site: Site) -> list[SetAgain]:
    """The same for pages, which are shown also where the history does not answer."""
    return try_to_see(find_what_to_set_again, site) or []


def _find_missing(site: Site, encrypted_to: Sequence[str]) -> Iterator[SetAgain]:
    settings = read_settings(site)
    if encrypted_to and not settings.encrypt_to:
        keys = " ".join(encrypted_to)
        yield SetAgain(
            matter=Matter.ENCRYPTION,
            sentence=f"Copies were encrypted to {keys}: use {_these(encrypted_to)} again.",
            command=f"fastcms backup set encrypt_to {_quoted(keys)}",
            public_keys=list(encrypted_to),
        )
    if not list_destinations(site):
        yield SetAgain(
            matter=Matter.DESTINATIONS,
            sentence="Backups are copied nowhere: add the place where the copies are.",
            command="fastcms backup destination add ADDRESS",
        )
    if not settings.notify_urls:
        yield SetAgain(
            matter=Matter.NOTIFICATIONS,
            sentence="Nobody would be told if a backup failed: say whom to tell.",
            command="fastcms backup set notify_urls ADDRESS",
        )


def _these(keys: Sequence[str]) -> str:
    return "that key" if len(keys) == 1 else "those keys"


def _quoted(keys: str) -> str:
    return f'"{keys}"' if " " in keys else keys
