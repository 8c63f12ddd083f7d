"""What there is elsewhere: each destination with its copies, and how to add, try and remove one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from pydantic import BaseModel

from fastcms.backups import destinations, history
from fastcms.backups.copies import Copy, summarize_copies
from fastcms.backups.copy_list import require_not_emptied
from fastcms.backups.destinations import (
    Destination,
    destinations_problem,
    find_destination,
    list_destinations,
    open_destination,
)
from fastcms.backups.far_side import (
    EMPTIED,
    FarSide,
    change_far_side,
    confirmed,
    reached,
    read_far_side,
    try_again,
    unusable,
)
from fastcms.backups.folder import data_paths
from fastcms.backups.schemas import Backup
from fastcms.backups.service import CLOCKS_MAY_DIFFER, path_of, time_of
from fastcms.backups.stores.addresses import parse_address
from fastcms.database import utc_now
from fastcms.errors import StoreError
from fastcms.logs import get_logger
from fastcms.noting import note
from fastcms.site import Site

_NONE_SET = (
    "Every backup is on this machine only. Name another place in FASTCMS_BACKUP_DESTINATIONS, or with "
    "`fastcms backup destination add`, and each backup is copied there."
)


class NewestCopy(BaseModel):
    """The newest backup that has a copy at a destination, and since when."""

    filename: str
    created: datetime
    since: datetime
    is_encrypted: bool
    checked: str | None


class FailedCopy(BaseModel):
    """The newest backup that could not be copied to a destination, one that needs somebody before others."""

    filename: str
    reason: str
    hint: str
    code: str | None
    needs_somebody: bool
    next_try: datetime | None


class DestinationState(Destination):
    """A destination, and how it was found when it was last looked at.

    `reachable` is null before the first look; `failing_since` and what follows say why it cannot be used.
    `copied_bytes` are taken by the copies of this site, `others` counts what lies there beside them.
    `uncopied_since` is when the oldest backup was made after which none has a copy there, or since when this
    is a destination; null if nothing newer is to be copied. `prune_error` says why superfluous copies stay.
    `lost` copies are gone, as their backups are here, since a test of the connection; `newest_lost` is one.
    """

    reachable: bool | None
    looked: datetime | None
    known_since: datetime
    failing_since: datetime | None
    reason: str | None
    hint: str | None
    code: str | None
    needs_somebody: bool
    next_try: datetime | None
    newest_copy: NewestCopy | None
    failed_copy: FailedCopy | None
    copied: int
    copied_bytes: int
    waiting: int
    failed: int
    others: int
    uncopied_since: datetime | None
    prune_error: str | None
    lost: int = 0
    newest_lost: str | None = None


class DestinationList(BaseModel):
    """All destinations. `problem` is why some of those that were named cannot be used."""

    items: list[DestinationState]
    total: int
    problem: str | None


class Elsewhere(BaseModel):
    """Whether backups are elsewhere, too. `hint` is what could be done where there is no destination.

    `uncopied_since`: when the oldest backup was made after which none has a copy at any destination, or since
    when there has been a destination, if that is later; null when the newest backup has a copy.
    """

    destinations: list[DestinationState]
    problem: str | None
    uncopied_since: datetime | None
    hint: str | None


def describe_elsewhere(site: Site, own: Sequence[Backup], now: datetime) -> Elsewhere:
    """What is known of the copies of these backups, newest first. Nothing is asked of any destination.

    Raises: BackupError.
    """
    states, problem = list_states(site, now), destinations_problem(site)
    return Elsewhere(
        destinations=states,
        problem=problem,
        uncopied_since=_find_uncopied(own, states),
        hint=None if states or problem else _NONE_SET,
    )


def list_states(site: Site, now: datetime | None = None) -> list[DestinationState]:
    """Each destination as it was last found. Raises: BackupError."""
    now = now or utc_now()
    found = list_destinations(site)
    return [_look_up(site, destination, now) for destination in found]


def find_problems(site: Site) -> list[str]:
    """Why copies are not where they should be, and what to do. Raises: BackupError."""
    invalid = destinations_problem(site)
    return [*([invalid] if invalid else []), *filter(None, map(_find_problem, list_states(site)))]


def _find_problem(state: DestinationState) -> str | None:
    failed = state.failed_copy
    if state.failing_since is not None:
        text = f"{state.reason} {state.hint}"
    elif failed is not None:
        text = f"{failed.filename} could not be copied. {failed.reason} {failed.hint}"
    else:
        return None
    return text.strip() if state.place in text else f"{state.place}: {text.strip()}"


def mark_copies(states: Iterable[DestinationState]) -> str:
    """What changes whenever a copy comes, goes or fails, or a destination is found otherwise."""
    unsteady = {"known_since", "uncopied_since"}  # before the first look, they are now
    texts = [state.model_dump_json(exclude=unsteady) for state in states]
    return sha256("\n".join(texts).encode()).hexdigest()[:16]


def list_all(site: Site) -> DestinationList:
    """What the API and `fastcms backup destinations --json` say. Raises: BackupError."""
    states = list_states(site)
    return DestinationList(items=states, total=len(states), problem=destinations_problem(site))


def show_destination(site: Site, text: str) -> DestinationState:
    """One destination, by its id or place, as it was last found. Raises: NotFoundError; BackupError."""
    return _look_up(site, find_destination(site, text), utc_now())


def add_destination(
    site: Site, address: str, credentials: Mapping[str, str], added_by: str
) -> DestinationState:
    """Copy backups to one place more, from now on.

    Raises: InvalidInputError; ConflictError; ConfigError; BackupError.
    """
    note(place=parse_address(address).place)
    destination = destinations.add_destination(site, address, credentials)
    get_logger().info("destination added", place=destination.place, by=added_by)
    try_again(site, destination, utc_now())
    return show_destination(site, destination.id)


def try_and_add(site: Site, address: str, credentials: Mapping[str, str], added_by: str) -> DestinationState:
    """Copy backups to one place more, if it takes them. Of one that does not, nothing is kept.

    Raises: the StoreError that says what is wrong; what `add_destination` raises.
    """
    note(place=parse_address(address).place)
    destinations.try_new(site, address, credentials)
    return add_destination(site, address, credentials, added_by)


def try_and_change(
    site: Site, destination_id: str, address: str, credentials: Mapping[str, str], changed_by: str
) -> DestinationState:
    """Use other options or credentials for a place, if it works with them. What waited waits no longer.

    Raises: what `destinations.change_destination` raises; BackupError.
    """
    note(place=find_destination(site, destination_id).place)
    destination = destinations.change_destination(site, destination_id, address, credentials)
    get_logger().info("destination changed", place=destination.place, by=changed_by)
    _note_usable(site, destination, lambda found, now: reached(found, found.others, now))
    return show_destination(site, destination.id)


def remove_destination(site: Site, text: str, removed_by: str) -> Destination:
    """Copy no more to a place; the copies that are there stay. Raises: NotFoundError; ConflictError."""
    destination = find_destination(site, text)
    note(place=destination.place)
    destinations.remove_destination(site, destination.id)
    get_logger().info("destination removed", place=destination.place, by=removed_by)
    return destination


def try_destination(site: Site, text: str) -> Destination:
    """Write, read and remove a tiny object there. What waited for its next try waits no longer.

    It is remembered how that went. That all copies are gone is told once; the next test accepts it.
    Raises: NotFoundError; the StoreError that says what is wrong; ConfigError; InvalidInputError;
    BackupError.
    """
    destination = find_destination(site, text)
    note(place=destination.place)
    is_told = read_far_side(site, destination, utc_now()).code == EMPTIED
    try:
        store = open_destination(site, destination)
        store.check()
        if not is_told:
            require_not_emptied(site, destination, [found.name for found in store.list()])
    except StoreError as error:
        now = utc_now()
        failure = error
        change_far_side(site, destination, now, lambda found: unusable(found, failure, now))
        raise
    _note_usable(site, destination, confirmed)
    return destination


def _note_usable(
    site: Site, destination: Destination, change: Callable[[FarSide, datetime], FarSide]
) -> None:
    now = utc_now()
    change_far_side(site, destination, now, lambda found: change(found, now))
    try_again(site, destination, now)


def _look_up(site: Site, destination: Destination, now: datetime) -> DestinationState:
    found = read_far_side(site, destination, now)
    last_name = path_of(data_paths(site), now + CLOCKS_MAY_DIFFER).name
    copies = summarize_copies(site, destination.id, last_name)
    return DestinationState(
        **dict(destination),
        reachable=None if found.looked is None and found.failing_since is None else not found.failing_since,
        **found.model_dump(
            include={
                "looked",
                "known_since",
                "failing_since",
                "reason",
                "hint",
                "code",
                "next_try",
                "others",
                "lost",
                "newest_lost",
            }
        ),
        needs_somebody=found.is_permanent,
        newest_copy=_describe_newest(copies.newest) if copies.newest else None,
        failed_copy=_describe_failed(copies.worst) if copies.worst else None,
        copied=copies.copied,
        copied_bytes=copies.copied_bytes,
        waiting=copies.waiting,
        failed=copies.failed,
        uncopied_since=_since_when(copies.missing, found.known_since),
        prune_error=_find_prune_error(site, destination) if found.prune_failed else None,
    )


def _since_when(missing: str | None, known_since: datetime) -> datetime | None:
    created = time_of(missing) if missing else None
    return None if created is None else max(created, known_since)


def _find_prune_error(site: Site, destination: Destination) -> str | None:
    run = history.latest_pruning(site, destination.place)
    return None if run is None or run.error is None else f"{run.error.detail} {run.error.hint}".strip()


def _describe_newest(copy: Copy) -> NewestCopy:
    return NewestCopy(
        filename=copy.filename,
        created=time_of(copy.filename),
        since=copy.since,
        is_encrypted=copy.is_encrypted,
        checked=copy.checked,
    )


def _describe_failed(copy: Copy) -> FailedCopy:
    return FailedCopy(
        filename=copy.filename,
        reason=copy.reason or "",
        hint=copy.hint or "",
        code=copy.code,
        needs_somebody=copy.needs_somebody,
        next_try=copy.next_try,
    )


def _find_uncopied(own: Sequence[Backup], states: Iterable[DestinationState]) -> datetime | None:
    newest_copied, known_since = None, None
    for state in states:
        known_since = min(filter(None, [known_since, state.known_since]))
        if state.newest_copy is not None:
            newest_copied = max(filter(None, [newest_copied, state.newest_copy.created]))
    if known_since is None:
        return None
    uncopied = [backup.created for backup in own if newest_copied is None or backup.created > newest_copied]
    return max(min(uncopied), known_since) if uncopied else None
