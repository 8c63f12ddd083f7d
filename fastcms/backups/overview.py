"""What the dashboard says first: whether the site is safe, and when the next backup comes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from humanize import naturaltime

from fastcms.backups.backup_settings import read_settings
from fastcms.backups.elsewhere import Elsewhere, NewestCopy
from fastcms.backups.folder import data_paths
from fastcms.backups.origin import read_origin
from fastcms.backups.plain_times import say_when_next
from fastcms.backups.schemas import Backup
from fastcms.backups.status import Status, Success, describe_status
from fastcms.backups.whereabouts import join_words, label_places
from fastcms.cron import OFF
from fastcms.database import utc_now
from fastcms.errors import ConflictError
from fastcms.site import Site


class Overview(NamedTuple):
    """`next_run` is in words, None when it is not known; `is_anybody_told`: of what goes wrong.

    `copied` says where the newest backup is, beside this machine; None when that cannot be looked at.
    `is_encrypted`: there is a key to which copies are encrypted from now on.
    """

    status: Status
    copied: str | None
    is_encrypted: bool
    is_scheduled: bool
    next_run: str | None
    is_anybody_told: bool


def look_over(site: Site, backups: Sequence[Backup] | None = None) -> Overview:
    """Whoever has listed the backups already need not do it twice. Never raises."""
    now, settings = utc_now(), read_settings(site)
    status = describe_status(site, now, backups)
    return Overview(
        status=status,
        copied=_say_copied(site, status.elsewhere, status.last_success) if status.elsewhere else None,
        is_encrypted=bool(settings.encrypt_to),
        is_scheduled=settings.schedule != OFF,
        next_run=say_when_next(status.next_run, settings.timezone, now) if status.next_run else None,
        is_anybody_told=bool(settings.notify_urls),
    )


def _say_copied(site: Site, elsewhere: Elsewhere, newest: Success | None) -> str:
    """As `say_copied`; what the site was restored from is not on this machine only."""
    if (
        newest
        and not elsewhere.destinations
        and elsewhere.problem is None
        and _is_fetched(site, newest.filename)
    ):
        return "New backups will be on this machine only"
    return say_copied(elsewhere, newest)


def _is_fetched(site: Site, filename: str) -> bool:
    with suppress(ConflictError, OSError):
        origin = read_origin(data_paths(site).backups_dir / filename)
        return origin is not None and origin.fetched_from is not None
    return False


def say_copied(elsewhere: Elsewhere, newest: Success | None) -> str:
    """Say in a line where the newest backup is, beside this machine."""
    if not elsewhere.destinations:
        is_none_set = elsewhere.problem is None
        return "Every backup is on this machine only" if is_none_set else "No destination can be used"
    labels = label_places([destination.place for destination in elsewhere.destinations])
    found = {labels[destination.place]: destination.newest_copy for destination in elsewhere.destinations}
    there = {label: copy for label, copy in found.items() if copy}
    if newest is None:
        return "There is nothing to copy yet"
    if not there:
        return "No backup is copied yet"
    current = {label: copy for label, copy in there.items() if copy.created >= newest.created}
    if not current:
        label, copy = max(there.items(), key=lambda item: item[1].created)
        made = naturaltime(utc_now() - copy.created)
        return f"The newest one is not copied yet; at {label} is the one made {made}"
    behind = [label for label in found if label not in current]
    when = naturaltime(utc_now() - max(copy.since for copy in current.values()))
    said = f"{_say_where(current)} {when}"
    return f"{said}, but not yet to {join_words(behind)}" if behind else said


def _say_where(copies: Mapping[str, NewestCopy]) -> str:
    ways = {copy.is_encrypted for copy in copies.values()}
    if len(ways) == 1:
        return f"Copied, {'encrypted' if True in ways else 'not encrypted'}, to {join_words(list(copies))}"
    named = [
        f"{label} ({'encrypted' if copy.is_encrypted else 'not encrypted'})" for label, copy in copies.items()
    ]
    return f"Copied to {join_words(named)}"
