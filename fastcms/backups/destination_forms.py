"""The form that adds a destination: what was typed, as an address and the credentials that belong to it."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote, urlencode

from fastcms.backups.stores.addresses import Address, parse_address
from fastcms.errors import InvalidInputError

_TOTAL = "max_total_size"
# No rule keeps everything.
_EVERYTHING = {"keep_last": "0"}
KEEPS = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
# What is sent and never comes back into the form.
SECRETS = ("secret_key", "sas_token")
UNENCRYPTED = "unencrypted"
_WRITE = {
    "endpoint": "write it like https://s3.example.com, without a name or password",
    "region": "write it like eu-central-1",
    "account": "a storage account's name has 3 to 24 small letters and digits",
    "folder": "leave out . and .. and control characters",
    "limit": "write the bytes a second like 5 MB, and 1,000 or more",
    _TOTAL: "write a size like 50 GB",
    **dict.fromkeys(KEEPS, "a whole number is wanted, 0 or more"),
}


class Kind(StrEnum):
    """What an address begins with."""

    S3 = "s3"
    GOOGLE = "gs"
    AZURE = "az"
    FOLDER = "file"


class Keeping(StrEnum):
    """What stays there: what the site's rules keep, everything, or what rules of its own keep."""

    SAME = "same"
    ALL = "all"
    OWN = "own"


class NewDestination(NamedTuple):
    address: str
    credentials: dict[str, str]


_OPTIONS = {
    Kind.S3: ("endpoint", "region"),
    Kind.GOOGLE: ("endpoint",),
    Kind.AZURE: ("account", "endpoint"),
    Kind.FOLDER: (),
}
# The credentials' fields, by the stores' own names.
_CREDENTIALS: Mapping[Kind, Mapping[str, str]] = {
    Kind.S3: {"access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY"},
    Kind.GOOGLE: {"secret_key": "GOOGLE_SERVICE_ACCOUNT_KEY"},
    Kind.AZURE: {"secret_key": "AZURE_STORAGE_ACCOUNT_KEY", "sas_token": "AZURE_STORAGE_SAS_TOKEN"},
    Kind.FOLDER: {},
}


def shown_values(address: Address) -> dict[str, str]:
    """What the form shows of a destination that is there."""
    rules = {name: text for name, text in address.options.items() if name in (*KEEPS, _TOTAL)}
    keeping = Keeping.SAME if not rules else Keeping.ALL if rules == _EVERYTHING else Keeping.OWN
    place = {"bucket": address.bucket, "folder": address.path, "path": address.path}
    return {**place, **address.options, "keeping": keeping}


def read_new(kind: Kind, sent: Mapping[str, str], *, must_choose: bool = False) -> NewDestination:
    """What a form says. `must_choose`: copies would leave as they are, and somebody has to want that.

    Raises: InvalidInputError, naming each field that makes no sense.
    """
    options = {name: sent[name] for name in (*_OPTIONS[kind], "limit") if sent.get(name)} | _policy(sent)
    problems = [*_find_place_problems(kind, sent), *_find_problems(kind, sent, options)]
    if must_choose and sent.get(UNENCRYPTED) != "yes":
        problems.append((UNENCRYPTED, "make a key first, or tick that copies may leave unencrypted"))
    if problems:
        errors: list[dict[str, object]] = [{"field": name, "message": text} for name, text in problems]
        raise InvalidInputError("Not everything makes sense: look at what is marked below.", errors=errors)
    query = f"?{urlencode(options)}" if options else ""
    given = {name: sent.get(field, "") for field, name in _CREDENTIALS[kind].items()}
    return NewDestination(
        f"{_place(kind, sent)}{query}", {name: value for name, value in given.items() if value}
    )


def _place(kind: Kind, sent: Mapping[str, str]) -> str:
    if kind is Kind.FOLDER:
        return f"file://{quote(sent.get('path', ''))}"
    return f"{kind}://{sent.get('bucket', '')}/{quote(sent.get('folder', ''))}"


def _policy(sent: Mapping[str, str]) -> dict[str, str]:
    keeping = sent.get("keeping", Keeping.SAME)
    if keeping == Keeping.OWN:
        sizes = {_TOTAL: sent[_TOTAL]} if sent.get(_TOTAL) else {}
        return {name: sent.get(name) or "0" for name in KEEPS} | sizes
    return _EVERYTHING if keeping == Keeping.ALL else {}


def _find_place_problems(kind: Kind, sent: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if kind is Kind.FOLDER:
        path = sent.get("path", "")
        if not path.startswith("/") or not _is_address(f"file://{quote(path)}"):
            yield "path", "write the whole path of a folder, which begins with /"
        return
    bucket = sent.get("bucket", "")
    if not _is_address(f"{kind}://{bucket}") or parse_address(f"{kind}://{bucket}").bucket != bucket:
        yield "bucket", "write its name only, such as my-backups"
    if not _is_address(f"{kind}://bucket/{quote(sent.get('folder', ''))}"):
        yield "folder", _WRITE["folder"]


def _find_problems(
    kind: Kind, sent: Mapping[str, str], options: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Each option by itself, by the rules that hold for the whole address."""
    anywhere = "file:///folder" if kind is Kind.FOLDER else f"{kind}://bucket"
    for name, value in options.items():
        if not _is_address(f"{anywhere}?{urlencode({name: value})}"):
            yield name, _WRITE[name]
    if kind is Kind.S3 and bool(sent.get("access_key")) != bool(sent.get("secret_key")):
        missing = "secret_key" if sent.get("access_key") else "access_key"
        yield missing, "the access key and the secret key belong together: give both, or neither"


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except InvalidInputError:
        return False
    return True
