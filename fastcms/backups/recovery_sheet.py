"""The recovery sheet: one page of paper that says how to bring the site back when the machine is gone.

Every command on it is typed by tests/e2e/test_recovery_sheet.py, with no FastCMS in reach.
"""

import re
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import fastcms
from fastcms.backups.destinations import list_destinations
from fastcms.backups.stores.addresses import parse_address
from fastcms.backups.stores.clouds import CREDENTIAL_NAMES, ENDPOINT_NAMES, Spot
from fastcms.database import utc_now
from fastcms.site import Site

_TEMPLATE = Path(__file__).with_name("recovery_sheet.html")
# Those that are always needed; the others of a cloud are for special cases.
_USUAL_CREDENTIALS = 2
_COMMANDS = re.compile(r"(?<=<pre>)[^<]+")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Place:
    """A destination: its address, and what one types to get in and to fetch its newest backup."""

    address: str
    scheme: str
    exports: Sequence[str]
    fetch: Sequence[str]

    @property
    def quoted(self) -> str:
        return shlex.quote(self.address)

    @property
    def is_locked(self) -> bool:
        return self.scheme != "file"


@dataclass(frozen=True)
class RecoverySheet:
    """What is written on the sheet; public_keys are empty where copies are not encrypted."""

    created: str
    machine: str
    data_dir: Path
    version: str
    public_keys: Sequence[str]
    secret_key: str
    places: Sequence[Place]


def describe_sheet(site: Site, public_keys: Sequence[str], secret_key: str = "") -> RecoverySheet:
    """The sheet of a site, whose database is not needed."""
    return RecoverySheet(
        created=f"{utc_now():%Y-%m-%d}",
        machine=socket.gethostname(),
        data_dir=site.settings.data_dir.absolute(),
        version=fastcms.__version__,
        public_keys=tuple(public_keys),
        secret_key=secret_key,
        places=[
            _describe_place(destination.place, is_encrypted=bool(public_keys))
            for destination in list_destinations(site)
        ],
    )


def render_sheet(sheet: RecoverySheet) -> str:
    """The sheet as one HTML file that needs no other, and fits on one page of A4."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    is_encrypted = bool(sheet.public_keys)
    html = environment.from_string(_TEMPLATE.read_text()).render(
        sheet=sheet,
        suffix=".age" if is_encrypted else "",
        programs=_find_programs(sheet),
        find_here=_find_newest("ls", is_encrypted=is_encrypted),
        qr_code=_draw(sheet.secret_key) if sheet.secret_key else "",
    )
    return _COMMANDS.sub(_keep_words_whole, html)


def _keep_words_whole(commands: re.Match[str]) -> str:
    """Let lines break between words only: a break at a hyphen would be typed as a space."""
    return _WORD.sub(r"<span>\g<0></span>", commands[0])


def _find_programs(sheet: RecoverySheet) -> list[str]:
    """What the commands need that not every machine has, as Debian calls it."""
    needs_rclone = any(place.scheme == "s3" for place in sheet.places)
    return [*(["age"] if sheet.public_keys else []), *(["rclone"] if needs_rclone else []), "unzip"]


def _draw(text: str) -> Markup:
    import segno  # noqa: PLC0415 - every other command can do without

    return Markup(segno.make(text, micro=False).svg_inline(border=2, omitsize=True))  # noqa: S704 - its own


def _describe_place(place: str, *, is_encrypted: bool) -> Place:
    address = parse_address(place)
    if address.scheme == "file":
        return Place(place, "file", (), _fetch(address.path, "ls", "cp", is_encrypted=is_encrypted))
    endpoint = Spot(address.scheme, address.bucket, address.path, address.options, {}).endpoint
    names = CREDENTIAL_NAMES[address.scheme][:_USUAL_CREDENTIALS]
    exports = [f"export {' '.join(f'{name}=...' for name in names)}"]
    if endpoint and "endpoint" not in address.options:
        exports.append(f"export {ENDPOINT_NAMES[address.scheme][0]}={shlex.quote(endpoint)}")
    if address.scheme != "s3":
        return Place(place, address.scheme, exports, ())
    server = f'provider=Other,endpoint="{endpoint}"' if endpoint else "provider=AWS"
    source = f":s3,{server},env_auth=true:{address.bucket}/{address.path}".rstrip("/")
    fetch = _fetch(source, "rclone lsf", "rclone copy", is_encrypted=is_encrypted)
    return Place(place, "s3", exports, [*exports, *fetch])


def _fetch(source: str, list_with: str, copy_with: str, *, is_encrypted: bool) -> list[str]:
    """Without any backup there, the last of them stops with words: it would copy all that is there."""
    return [
        f"FROM={shlex.quote(source)}",
        _find_newest(f'{list_with} "$FROM"', is_encrypted=is_encrypted),
        f'{copy_with} "$FROM/${{NEWEST:?no backup was found there}}" .',
    ]


def _find_newest(listing: str, *, is_encrypted: bool) -> str:
    """Where copies are encrypted, of these alone: a plain one may be anybody's who can write there."""
    suffix = "[.]zip[.]age" if is_encrypted else "[.]zip"
    return f"NEWEST=$({listing} | grep -E '^backup_[0-9_]+{suffix}$' | sort | tail -n 1)"
