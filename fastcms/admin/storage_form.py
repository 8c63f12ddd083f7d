"""The set-up page's form of a place where copies are kept, with the fields of the page that adds one."""

from collections.abc import Mapping

from starlette.requests import Request

from fastcms.age_keys import holds_secret_key
from fastcms.backups.destination_forms import SECRETS, Kind, read_new
from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.backups.stores.base import BackupStore
from fastcms.errors import InvalidInputError
from fastcms.pages import form_text, read_form

_PLACE = ("kind", "path", "endpoint", "account", "bucket", "folder", "region", "access_key")
_LABELS = {
    "path": "Folder",
    "endpoint": "Server",
    "account": "Storage account",
    "bucket": "Bucket or container",
    "folder": "Folder in it",
    "region": "Region",
    "access_key": "Access key ID",
    "secret_key": "Secret access key",
}


async def read_fields(request: Request) -> dict[str, str]:
    """What was typed, the key to decrypt with among it."""
    await read_form(request)
    return {name: await form_text(request, name) for name in (*_PLACE, *SECRETS, "identity")}


def kind_of(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        return Kind.S3


def find_repeatable(fields: Mapping[str, str]) -> dict[str, str]:
    """What a page may send back: no secret, wherever it was typed."""
    return {name: fields[name] for name in _PLACE if name in fields and not holds_secret_key(fields[name])}


def open_typed_store(fields: Mapping[str, str]) -> BackupStore:
    """Raises: InvalidInputError."""
    if any(holds_secret_key(value) for name, value in fields.items() if name != "identity"):
        raise InvalidInputError(
            "A field of the storage holds the key to decrypt with.",
            hint="What begins with AGE-SECRET-KEY-1 belongs into the field 'Key to decrypt with'. It was not "
            "sent to the storage, which has a secret access key of its own.",
            code="wrong_field",
        )
    try:
        address, credentials = read_new(kind_of(fields["kind"]), fields)
    except InvalidInputError as error:
        problems = [f"{_LABELS[str(found['field'])]}: {found['message']}." for found in error.errors]
        raise InvalidInputError("Not everything makes sense.", hint=" ".join(problems)) from error
    return open_store(parse_address(address), credentials)
