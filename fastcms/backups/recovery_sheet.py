"""The recovery sheet: one page of paper that says how to bring the site back when the machine is gone.

Every command on it is typed by tests/e2e/test_recovery_sheet.py, with no FastCMS in reach.
"""

import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import fastcms
from fastcms.backups.destinations import list_destinations
from fastcms.backups.stores.addresses import Address, parse_address
from fastcms.backups.stores.clouds import CREDENTIAL_NAMES, ENDPOINT_NAMES, Spot
from fastcms.database import utc_now
from fastcms.site import Site

_TEMPLATE = Path(__file__).with_name("recovery_sheet.html")
# Those that are always needed; the others of a cloud are for special cases.
_USUAL_CREDENTIALS = 2


@dataclass(frozen=True)
class Place:
    """A destination: its address, and what one types to get in and to fetch its newest backup."""

    address: str
    exports: Sequence[str]
    fetch: Sequence[str]

    @property
    def quoted(self) -> str:
        return shlex.quote(self.address)

    @property
    def is_locked(self) -> bool:
        return not self.address.startswith("file:")


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
    suffix = ".zip.age" if public_keys else ".zip"
    return RecoverySheet(
        created=f"{utc_now():%Y-%m-%d}",
        machine=socket.gethostname(),
        data_dir=site.settings.data_dir.absolute(),
        version=fastcms.__version__,
        public_keys=tuple(public_keys),
        secret_key=secret_key,
        places=[_describe_place(destination.place, suffix) for destination in list_destinations(site)],
    )


def render_sheet(sheet: RecoverySheet) -> str:
    """The sheet as one HTML file that needs no other, and fits on one page of A4."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_TEMPLATE.read_text()).render(
        sheet=sheet,
        suffix=".age" if sheet.public_keys else "",
        qr_code=_draw(sheet.secret_key) if sheet.secret_key else "",
    )


def _draw(text: str) -> Markup:
    import segno  # noqa: PLC0415 - every other command can do without

    return Markup(segno.make(text, micro=False).svg_inline(border=2, omitsize=True))  # noqa: S704 - its own


def _describe_place(place: str, suffix: str) -> Place:
    address = parse_address(place)
    if address.scheme == "file":
        found = f"{shlex.quote(address.path)}/backup_*{suffix}"
        return Place(place, (), [f'cp "$(ls {found} | tail -n 1)" .'])
    endpoint = Spot(address.scheme, address.bucket, address.path, address.options, {}).endpoint
    exports = [f"export {name}=..." for name in CREDENTIAL_NAMES[address.scheme][:_USUAL_CREDENTIALS]]
    if endpoint and "endpoint" not in address.options:
        exports.append(f"export {ENDPOINT_NAMES[address.scheme][0]}={shlex.quote(endpoint)}")
    fetch = [*exports, *_rclone(address, endpoint, suffix)] if address.scheme == "s3" else ()
    return Place(place, exports, fetch)


def _rclone(address: Address, endpoint: str, suffix: str) -> list[str]:
    server = f'provider=Other,endpoint="{endpoint}"' if endpoint else "provider=AWS"
    source = f":s3,{server},env_auth=true:{address.bucket}/{address.path}".rstrip("/")
    return [
        f"FROM={shlex.quote(source)}",
        f"NEWEST=$(rclone lsf \"$FROM\" --include '/backup_*{suffix}' | sort | tail -n 1)",
        'rclone copy "$FROM/$NEWEST" .',
    ]
