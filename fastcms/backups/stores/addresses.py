"""Addresses of stores: `s3://bucket/prefix?endpoint=...`, `gs://...`, `az://...`, `file:///folder`.

An address never holds credentials: those are given beside it, or stand in each cloud's own environment
variables. Messages do not repeat what was given, in case somebody has put a secret there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fastcms.backups.stores.base import BackupStore
from fastcms.backups.stores.clouds import CREDENTIAL_NAMES, Spot
from fastcms.backups.stores.folder import FolderStore
from fastcms.backups.stores.objects import ObjectStore
from fastcms.errors import InvalidInputError

_FORMS = "s3://bucket/folder, gs://bucket/folder, az://container/folder or file:///folder"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_REGION = re.compile(r"[a-z0-9-]{1,50}")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_ENDPOINT = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?(/[\w./-]*)?", re.ASCII)
# No longer than any size there is: more digits than 308 are no number of Python's.
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_LAST_PORT = 65_535
_USUAL_PORTS = {"http": 80, "https": 443}
_LEAST_LIMIT_BYTES = 1000  # a second, as FASTCMS_BACKUP_COPY_LIMIT wants it
_NOT_IN_PLACES = re.compile(r"[\s%?#\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Address:
    """A store's address: bucket (empty for a folder) and path below it, and the options by name."""

    scheme: str
    bucket: str
    path: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What tells this store from all others, in one form; it is an address, too."""
        path = _NOT_IN_PLACES.sub(lambda found: quote(found[0]), self.path)
        slash = "/" if self.bucket and path else ""
        where = "&".join(f"{name}={self.options[name]}" for name in _WHERE if name in self.options)
        return f"{self.scheme}://{self.bucket}{slash}{path}" + (f"?{where}" if where else "")


def parse_size(text: str) -> int:
    """Bytes of '500', '5MB', '1.5 GiB'."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidInputError("A size was not understood.", hint="Write it like 500MB or 20 GiB.")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))


def parse_address(text: str) -> Address:
    """Take an address apart; raises InvalidInputError with a hint for what cannot be one."""
    try:
        url = urlsplit(text.strip())
    except ValueError:
        raise _refused("This is no address of a store.", f"Write {_FORMS}.") from None
    if url.scheme not in CREDENTIAL_NAMES or "://" not in text:
        raise _refused("This is no address of a store.", f"Write {_FORMS}.")
    if "@" in url.netloc or ":" in url.netloc:
        raise _refused(
            f"An address that begins with {url.scheme}:// has credentials or a port in it.",
            "Leave them out: credentials belong into environment variables, or beside the address on the "
            "page of destinations; another server is named by ?endpoint=https://...",
        )
    if url.fragment or text.strip().endswith("#"):
        raise _refused("An address of a store has no part after #.", "Write %23 for a # in a folder's name.")
    address = Address(
        url.scheme, url.netloc, _parse_path(url.scheme, url.path), _parse_options(url.scheme, url.query)
    )
    if url.scheme == "file":
        _require_folder(address)
    elif not _BUCKET.fullmatch(address.bucket):
        raise _refused(
            f"The bucket's name in an address that begins with {url.scheme}:// cannot be one.",
            "It has letters, digits, dots and hyphens, as in s3://my-backups/site.",
        )
    return address


def open_store(address: Address, credentials: Mapping[str, str]) -> BackupStore:
    """The store at an address; credentials by their names win over the environment's. Nothing is sent yet."""
    if not set(credentials) <= set(CREDENTIAL_NAMES[address.scheme]):
        raise _refused(
            f"{address.scheme}:// takes other credentials than these.",
            f"It takes {', '.join(CREDENTIAL_NAMES[address.scheme]) or 'no credentials'}.",
        )
    given = {name: text.strip() for name, text in credentials.items() if text.strip()}
    if address.scheme == "file":
        return FolderStore(address.place, Path(address.path))
    spot = Spot(address.scheme, address.bucket, address.path, address.options, given)
    return ObjectStore(address.place, spot)


def _parse_path(scheme: str, text: str) -> str:
    path = unquote(text, errors="replace")
    parts = [part for part in path.split("/") if part]
    if any(part in {".", ".."} or re.search(r"[\x00-\x1f\x7f\\�]", part) for part in parts):
        raise _refused(
            "The folder in an address has a part that cannot be used.",
            "Leave out . and .. and control characters.",
        )
    return ("/" if scheme == "file" else "") + "/".join(parts)


def _require_folder(address: Address) -> None:
    if address.bucket or address.path == "/":
        raise _refused(
            "An address that begins with file:// needs the whole path of a folder.",
            "Write three slashes: file:///mnt/nas/backups.",
        )


def _parse_options(scheme: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        is_right = _OPTIONS.get(name)
        if is_right is None or scheme not in _FOR.get(name, (scheme,)):
            known = [option for option in _OPTIONS if scheme in _FOR.get(option, (scheme,))]
            raise _refused(
                f"An address that begins with {scheme}:// has an option that is not known.",
                f"These are: {', '.join(known)}. Credentials are no options: they belong into environment "
                "variables, or beside the address on the page of destinations.",
            )
        if name in options or not is_right(text):
            raise _refused(f"The option {name} of an address cannot be used as it is.", _WRITE[name])
        options[name] = _unify(text) if name == "endpoint" else text
    return options


def _is_endpoint(text: str) -> bool:
    """Whether it is a server's address; what is none would make obstore panic."""
    found = _ENDPOINT.fullmatch(text)
    return found is not None and _is_host(found[2]) and 0 < int(found[3] or 1) <= _LAST_PORT


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        elif re.match(r"\d+$|0x", labels[-1], re.IGNORECASE):
            IPv4Address(host)
        else:
            host.encode("idna").decode("idna")  # labels that are empty or too long, and what xn-- stands for
    except (AddressValueError, UnicodeError):
        return False
    return True


def _unify(endpoint: str) -> str:
    """One server in one form: two spellings would be two places, and each backup be there twice."""
    found = _ENDPOINT.fullmatch(endpoint)
    assert found is not None  # noqa: S101 - the caller has looked
    scheme, host, port, path = found.groups()
    is_usual = port is None or int(port) == _USUAL_PORTS[scheme]
    return f"{scheme}://{host.lower()}{'' if is_usual else f':{int(port)}'}{(path or '').rstrip('/')}"


def _is_size(text: str) -> bool:
    found = _SIZE.fullmatch(text)
    return found is not None and parse_size(text) > 0


def _is_limit(text: str) -> bool:
    return _is_size(text) and parse_size(text) >= _LEAST_LIMIT_BYTES


def _is_count(text: str) -> bool:
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


# Two buckets of one name, at different servers, are two places. A bucket's region is a matter of its server.
_WHERE: Final = ("endpoint", "account")
_FOR: Final = {"endpoint": ("s3", "gs", "az"), "account": ("az",), "region": ("s3",)}
_KEEP: Final = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
_OPTIONS: Final[Mapping[str, Callable[[str], bool]]] = {
    "endpoint": _is_endpoint,
    "account": _matches(_ACCOUNT),
    "region": _matches(_REGION),
    **dict.fromkeys(_KEEP, _is_count),
    "max_total_size": _is_size,
    "limit": _is_limit,
}
_WRITE: Final[Mapping[str, str]] = {
    "endpoint": "Write it once, like endpoint=https://s3.example.com, without a name or password.",
    "account": "Write the storage account's name once: 3 to 24 small letters and digits.",
    "region": "Write it once, like region=eu-central-1.",
    **dict.fromkeys(_KEEP, "Write how many to keep once, as a whole number."),
    "max_total_size": "Write it once, like max_total_size=50GB.",
    "limit": "Write the bytes a second once, 1,000 or more, like limit=5MB.",
}


def _refused(message: str, hint: str) -> InvalidInputError:
    return InvalidInputError(message, hint=hint)
