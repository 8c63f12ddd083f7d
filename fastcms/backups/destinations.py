"""Where backups are copied to: the environment's destinations, and those that were added while the site runs.

Added ones are kept in data/backups/destinations.json, with the credentials that came with them: its mode is
0600, no backup holds it, no restore touches it, and nothing shows credentials again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fastcms.backups.folder import data_paths, explained
from fastcms.backups.own_folders import is_same_place, require_apart
from fastcms.backups.retention import Policy
from fastcms.backups.stores.addresses import Address, open_store, parse_address, parse_size
from fastcms.backups.stores.base import BackupStore
from fastcms.durability import write_durably
from fastcms.errors import ConfigError, ConflictError, InvalidInputError, NotFoundError
from fastcms.locks import FileLock
from fastcms.site import Site, make_folders

_ID_CHARACTERS = 8
_RULES = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
_TOTAL = "max_total_size"


class DestinationSource(StrEnum):
    """environment: FASTCMS_BACKUP_DESTINATIONS names it. added: somebody has, while the site ran."""

    ENVIRONMENT = "environment"
    ADDED = "added"


class Destination(BaseModel):
    """A place that backups are copied to; `place` is its address, without credentials.

    `policy` says what stays there, None that the site's own does; `limit` is in bytes a second.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    place: str
    source: DestinationSource
    has_stored_credentials: bool
    policy: Policy | None
    limit: int | None


class _Added(BaseModel):
    """As it stands in the file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    address: str
    credentials: dict[str, str] = Field({}, repr=False)


_FILE = TypeAdapter(list[_Added], config=ConfigDict(hide_input_in_errors=True))


class _Named(NamedTuple):
    """A destination, and what its store is opened with."""

    destination: Destination
    address: Address
    credentials: Mapping[str, str]


def list_destinations(site: Site) -> list[Destination]:
    """All that can be used: the environment's, then those that were added. See `destinations_problem`."""
    return [named.destination for named in _list_named(site)]


def destinations_problem(site: Site) -> str | None:
    """Why not all destinations can be used; None when they can."""
    problem = _find_problem("FASTCMS_BACKUP_DESTINATIONS", _from_environment(site))
    try:
        return problem or _find_problem(str(_path(site)), [entry.address for entry in _read(site)])
    except ConfigError as error:
        return error.message


def find_destination(site: Site, text: str) -> Destination:
    """The destination with this id, or at this place. Raises: NotFoundError."""
    for destination in list_destinations(site):
        if text in (destination.id, destination.place):
            return destination
    raise _unknown()


def open_destination(site: Site, destination: Destination) -> BackupStore:
    """The store of a destination, with its own credentials or the environment's. Nothing is sent yet.

    Raises: NotFoundError when it was removed meanwhile; InvalidInputError.
    """
    for named in _list_named(site):
        if named.destination.id == destination.id:
            return _open(site, named.address, named.credentials)
    raise _unknown()


def try_new(site: Site, text: str, credentials: Mapping[str, str]) -> None:
    """Write, list, read and remove a tiny object at a place that is no destination so far. Nothing is kept.

    Raises: InvalidInputError; ConflictError; the StoreError that says what is wrong.
    """
    address = parse_address(text)
    _require_new(site, address)
    _open(site, address, _without_empty(credentials)).check()


def add_destination(site: Site, text: str, credentials: Mapping[str, str]) -> Destination:
    """Copy backups to one place more, from now on. Nothing is sent yet.

    Raises: InvalidInputError for an address or credentials that make no sense; ConflictError; ConfigError.
    """
    address = parse_address(text)
    given = _without_empty(credentials)
    _open(site, address, given)
    destination = _describe(address, DestinationSource.ADDED, given)
    folder = data_paths(site).backups_dir
    make_folders(folder)
    with explained("Adding the destination"), _changing(folder):
        _require_new(site, address)
        _write(site, [*_read(site), _Added(address=text.strip(), credentials=given)])
    return destination


def find_address(site: Site, destination_id: str) -> Address:
    """What was written when a place was added. Raises: NotFoundError; ConflictError when it was not added."""
    destination = _find_added(site, destination_id)
    return next(named.address for named in _list_named(site) if named.destination.id == destination.id)


def change_destination(
    site: Site, destination_id: str, text: str, credentials: Mapping[str, str]
) -> Destination:
    """Use other options and credentials for a place that was added, if it works with them.

    Without any credentials, those that are stored stay.
    Raises: NotFoundError; ConflictError; InvalidInputError; ConfigError; the StoreError that says why not.
    """
    destination, address = _find_added(site, destination_id), parse_address(text)
    if address.place != destination.place:
        raise InvalidInputError(
            f"{address.place} is another place than {destination.place}.",
            hint="Add it as a destination of its own.",
        )
    stored = next(entry.credentials for entry in _read(site) if _place_of(entry) == destination.place)
    given = _without_empty(credentials) or stored
    _open(site, address, given).check()
    changed = _Added(address=text.strip(), credentials=given)
    with explained("Changing the destination"), _changing(data_paths(site).backups_dir):
        entries = _read(site)
        _write(site, [changed if _place_of(entry) == destination.place else entry for entry in entries])
    return _describe(address, DestinationSource.ADDED, given)


def remove_destination(site: Site, destination_id: str) -> Destination:
    """Copy no more to a place that was added; what is there stays. Raises: NotFoundError; ConflictError."""
    destination = _find_added(site, destination_id)
    with explained("Removing the destination"), _changing(data_paths(site).backups_dir):
        _write(site, [entry for entry in _read(site) if _place_of(entry) != destination.place])
    return destination


def _find_added(site: Site, destination_id: str) -> Destination:
    destination = find_destination(site, destination_id)
    if destination.source is DestinationSource.ENVIRONMENT:
        raise ConflictError(
            f"{destination.place} is named by the environment.",
            hint="Change FASTCMS_BACKUP_DESTINATIONS, then restart the server.",
            code="destination_fixed",
        )
    return destination


def _open(site: Site, address: Address, credentials: Mapping[str, str]) -> BackupStore:
    """Raises: InvalidInputError, also for a folder of the site's own, which a link may have become since."""
    store = open_store(address, credentials)
    require_apart(site, address)
    return store


def _require_new(site: Site, address: Address) -> None:
    for known in _list_named(site):
        if is_same_place(known.address, address):
            raise ConflictError(
                f"{known.destination.place} is a destination already.",
                hint="Change its options or credentials on its page in the dashboard, or remove it and add "
                "it again: what is there stays.",
                code="destination_exists",
            )


def _without_empty(credentials: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in credentials.items() if value}


def _unknown() -> NotFoundError:
    # What was asked for is not repeated: there may be a password in it.
    return NotFoundError(
        "There is no destination with this id or address.",
        hint="`fastcms backup destinations` lists them.",
        code="destination_not_found",
    )


def _changing(folder: Path) -> AbstractContextManager[None]:
    return FileLock(folder / ".destinations_lock").hold(purpose="changing the destinations of backups")


def _list_named(site: Site) -> list[_Named]:
    named: dict[str, _Named] = {}
    for text in _from_environment(site):
        if (address := _try(text)[0]) is not None:
            destination = _describe(address, DestinationSource.ENVIRONMENT)
            named.setdefault(destination.id, _Named(destination, address, {}))
    with suppress(ConfigError):
        for entry in _read(site):
            if (address := _try(entry.address)[0]) is not None:
                destination = _describe(address, DestinationSource.ADDED, entry.credentials)
                named.setdefault(destination.id, _Named(destination, address, entry.credentials))
    return list(named.values())


def _describe(
    address: Address, source: DestinationSource, credentials: Mapping[str, str] | None = None
) -> Destination:
    options = address.options
    limit = options.get("limit")
    return Destination(
        id=hashlib.sha256(address.place.encode()).hexdigest()[:_ID_CHARACTERS],
        place=address.place,
        source=source,
        has_stored_credentials=bool(credentials),
        policy=_policy_of(options),
        limit=None if limit is None else parse_size(limit),
    )


def _policy_of(options: Mapping[str, str]) -> Policy | None:
    """What the options say; one that is named leaves the others at nothing, and none is the site's own."""
    if not options.keys() & {*_RULES, _TOTAL}:
        return None
    rules = {name: int(options[name]) for name in _RULES if name in options}
    return Policy(**rules, max_total_size=parse_size(options[_TOTAL]) if _TOTAL in options else None)


def _try(text: str) -> tuple[Address | None, str | None]:
    """The address, or why it is none; it is never repeated, for there may be a password in it."""
    try:
        return parse_address(text), None
    except InvalidInputError as error:
        return None, f"{error.message} {error.hint}"


def _find_problem(where: str, texts: Sequence[str]) -> str | None:
    """What is wrong with the first of these that is no address."""
    problems = ((number, _try(text)[1]) for number, text in enumerate(texts, 1))
    return next((f"{where}, number {number}: {problem}" for number, problem in problems if problem), None)


def _place_of(entry: _Added) -> str | None:
    address, _problem = _try(entry.address)
    return None if address is None else address.place


def _from_environment(site: Site) -> Sequence[str]:
    return site.settings.backup_destinations.get_secret_value().split()


def _path(site: Site) -> Path:
    return data_paths(site).backups_dir / "destinations.json"


def _read(site: Site) -> list[_Added]:
    try:
        return _FILE.validate_json(_path(site).read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(site, f"{error.strerror}") from error
    except ValidationError:  # which could quote it
        raise _unreadable(site, "it holds something else than destinations") from None


def _unreadable(site: Site, why: str) -> ConfigError:
    return ConfigError(
        f"{_path(site)} cannot be read: {why}. Nothing is copied to the destinations that were added.",
        hint="Delete that file, then add the destinations again: `fastcms backup destination add`.",
        code="destinations_unreadable",
    )


def _write(site: Site, added: Sequence[_Added]) -> None:
    write_durably(_path(site), _FILE.dump_json(list(added), indent=2))
