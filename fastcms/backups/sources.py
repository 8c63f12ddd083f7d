"""Open what a command or a request names: a destination of this site, or any address; and find its keys."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pyrage.x25519 import Identity

from fastcms.age_keys import parse_identities, read_identities
from fastcms.backups.copies import Copy, list_copies
from fastcms.backups.destinations import Destination, find_destination, open_destination
from fastcms.backups.encryption import looks_encrypted, require_any, require_fitting
from fastcms.backups.fetching import Source, require_key
from fastcms.backups.stored import find_stored
from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.errors import BackupError, NotFoundError
from fastcms.noting import note
from fastcms.site import Site


def open_source(site: Site, text: str, identities: Sequence[Identity]) -> Source:
    """A place to read from, by a destination's id or address. Nothing is asked of it yet.

    Of an address that is no destination, the environment has the credentials.
    Raises: InvalidInputError; NotFoundError for an id that no destination has.
    """
    address = parse_address(text) if "://" in text else None
    try:
        destination = find_destination(site, address.place if address else text)
    except NotFoundError:
        if address is None:
            raise
        return Source(open_store(address, {}), identities)
    return open_destination_source(site, destination, identities)


def open_destination_source(site: Site, destination: Destination, identities: Sequence[Identity]) -> Source:
    """A destination to read from, with what this site has noted of its copies there."""
    sent: dict[str, Copy] = {}
    with suppress(BackupError):  # without the history, it is a place like any other
        sent = {copy.object_name: copy for copy in list_copies(site, destination=destination.id)}
    return Source(open_destination(site, destination), identities, sent)


def find_keys(site: Site, path: Path | None) -> tuple[Identity, ...]:
    """The keys of a file, or of FASTCMS_BACKUP_IDENTITY, if there is either. Raises: InvalidInputError."""
    path = path or site.settings.backup_identity
    return () if path is None else read_identities(path)


def find_given_keys(site: Site, text: str, what: str) -> tuple[Identity, ...]:
    """The keys that somebody has typed or sent, or else the server's own. Raises: InvalidInputError."""
    return parse_identities(text.splitlines(), what) if text else find_keys(site, None)


def open_readable(site: Site, destination_id: str, object_name: str, identity: str, what: str) -> Source:
    """A destination, and the keys at hand to read one backup there, typed or the server's own.

    Raises: NotFoundError; what `require_readable` and `find_given_keys` raise.
    """
    keys = find_given_keys(site, identity, what)
    source = open_destination_source(site, find_destination(site, destination_id), keys)
    require_readable(source, object_name)
    return source


def require_readable(source: Source, object_name: str) -> None:
    """Refuse at once what would only be refused after the answer that a job has begun.

    Raises: BackupNotFoundError; KeyRequiredError; StoreError.
    """
    stored = find_stored(source.store, object_name)
    note(filename=stored.object_name, place=source.store.place)
    require_key(stored, source.store.place, source.identities)


def find_upload_keys(site: Site, head: bytes, text: str) -> tuple[Identity, ...]:
    """The keys to open an upload with that begins like this: those sent along, or else the server's own.

    None are looked for if it is not encrypted.
    Raises: KeyRequiredError; WrongKeyError; InvalidInputError.
    """
    if not looks_encrypted(head):
        return ()
    keys = find_given_keys(site, text, "What was sent as the key")
    require_any(keys)
    require_fitting(head, keys)
    return keys
