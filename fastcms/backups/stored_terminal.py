"""What commands that read from a destination have in common: which one is meant, and what is there."""

import re
import shlex
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from humanize import naturalsize
from pyrage.x25519 import Identity
from rich.markup import escape
from rich.table import Column, Table

from fastcms.age_keys import check_key_path, is_readable_by_others
from fastcms.backups.encryption import is_encrypted_file
from fastcms.backups.fetching import Source
from fastcms.backups.sources import find_keys, open_source
from fastcms.backups.stored import (
    StoredBackup,
    StoredBackups,
    is_from_the_future,
    is_object_name,
    locate,
    split_address,
)
from fastcms.errors import InvalidInputError
from fastcms.site import Site
from fastcms.terminal import messages, output

MOST_SHOWN = 1000  # each one is a request
_DESTINATION_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


def _check_option(path: Path | None) -> Path | None:
    """Raises: BadParameter for what would stand in logs and messages as the name of a file."""
    try:
        return check_key_path(path)
    except ValueError as error:
        raise typer.BadParameter(
            f"{error} The key may be in your shell's history now: take it out of there."
        ) from error


IdentityOption = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        callback=_check_option,
        help="Key file to decrypt with, from `fastcms backup keygen`, instead of FASTCMS_BACKUP_IDENTITY.",
    ),
]


class Target(NamedTuple):
    """A place to read from, and the one backup in it that was named, if one was."""

    source: Source
    object_name: str | None


def is_elsewhere(text: str) -> bool:
    """Whether somebody means a destination, or a backup in one, and not a backup of this machine."""
    return "/" in text or (_DESTINATION_ID.fullmatch(text) is not None and not is_object_name(text))


def open_target(site: Site, text: str, identity: Path | None) -> Target:
    """Raises: InvalidInputError; NotFoundError."""
    if Path(text).exists():
        raise InvalidInputError(
            f"{text} is a file or folder of this machine.",
            hint="Of a backup in data/backups, give the name alone. Another archive is brought by "
            "`fastcms backup import FILE`. A folder that keeps copies is a destination as file:///...",
            code="backup_name_invalid",
        )
    place, object_name = split_address(text)
    return Target(open_source(site, place, _read_keys(site, identity)), object_name)


def find_import_keys(site: Site, archive_path: Path, identity: Path | None) -> tuple[Identity, ...]:
    """The keys to open a file with. Nobody who brings a plain archive hears of the server's key file."""
    return _read_keys(site, identity) if identity or is_encrypted_file(archive_path) else ()


def _read_keys(site: Site, identity: Path | None) -> tuple[Identity, ...]:
    """Raises: InvalidInputError."""
    key_path = identity or site.settings.backup_identity
    keys = find_keys(site, identity)
    if key_path is not None and is_readable_by_others(key_path):
        messages.print(
            "[yellow]Warning:[/] others on this machine can read the key file, as browsers save files. "
            f"Close it: chmod 600 {escape(shlex.quote(str(key_path)))}"
        )
    return keys


def require_object_name(target: Target, command: str) -> str:
    """Raises: InvalidInputError when only the place was named."""
    place = target.source.store.place
    if target.object_name is None:
        example = shlex.quote(locate(place, "backup_20250115_100000.zip"))
        latest = f", or take the newest: fastcms backup restore {shlex.quote(place)} --latest"
        raise InvalidInputError(
            f"This names a place, and not which backup in it: {place}",
            hint=f"See what is there: fastcms backup list {shlex.quote(place)}. Then name one, for example: "
            f"fastcms backup {command} {example}{latest if command == 'restore' else ''}",
            code="backup_not_chosen",
        )
    return target.object_name


def show_stored(stored: StoredBackups) -> None:
    """Show what is in a place, newest first."""
    if not stored.items:
        output.print(f"There are no backups in {stored.place}.", markup=False)
        return
    table = Table(
        Column("Name", no_wrap=True, min_width=30), "Created (UTC)", "Size", "Encrypted", "Notes", box=None
    )
    for item in stored.items:
        table.add_row(
            item.object_name,
            f"{item.created:%Y-%m-%d %H:%M:%S}",
            naturalsize(item.size_bytes),
            "yes" if item.is_encrypted else "no",
            f"[red]{item.problem}[/]" if item.problem else "",
        )
    output.print(table)
    if (more := stored.total - len(stored.items)) > 0:
        output.print(f"And {more:,} older ones.")


def warn_of(stored: StoredBackup) -> None:
    if is_from_the_future(stored.object_name):
        messages.print(
            f"[yellow]Warning:[/] {stored.object_name} is dated in the future: a clock was wrong when it was "
            "made, or is wrong here, or somebody else has named it."
        )
    if stored.problem:
        messages.print(f"[yellow]Warning:[/] {stored.object_name} is {stored.problem}.")
