"""`fastcms backup destinations` and `destination add|remove|test`: where backups are copied to."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from humanize import naturalsize, naturaltime
from rich.markup import escape

from fastcms.backups import elsewhere
from fastcms.backups.commands import backup_app, site_of
from fastcms.backups.elsewhere import DestinationState
from fastcms.backups.own_folders import ON_SAME_DISK, is_on_same_disk
from fastcms.backups.stores.addresses import parse_address
from fastcms.database import utc_now
from fastcms.errors import InvalidInputError
from fastcms.site import Site
from fastcms.terminal import (
    JsonOption,
    YesOption,
    confirm,
    errors_as_exit_codes,
    messages,
    output,
    print_json,
    who,
)

destination_app = typer.Typer(no_args_is_help=True, help="Add, try and remove a place that backups go to.")
backup_app.add_typer(destination_app, name="destination")

_STANDARD_INPUT = "-"
_LONGEST_CREDENTIALS = 100_000

DestinationArgument = Annotated[
    str, typer.Argument(help="Its id or address, as `fastcms backup destinations` lists them.")
]


@backup_app.command("destinations")
def list_destinations(context: typer.Context, as_json: JsonOption = False) -> None:
    """List where backups are copied to, and how that goes."""
    with errors_as_exit_codes(as_json=as_json):
        found = elsewhere.list_all(site_of(context))
        if as_json:
            print_json(found.model_dump(mode="json"))
            return
        for state in found.items:
            _show(state)
        if found.problem:
            messages.print(f"[bold red]Error:[/] {escape(found.problem)}")
        elif not found.items:
            output.print(
                "Backups are on this machine only. Name another place: "
                "`fastcms backup destination add ADDRESS`."
            )


@destination_app.command("add")
def add_destination(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(help="Such as s3://bucket/folder or file:///mnt/nas/backups, with options after a ?."),
    ],
    credentials: Annotated[
        str | None,
        typer.Option(
            "--credentials",
            help="A file with lines such as AWS_ACCESS_KEY_ID=..., or `-` for standard input.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy backups to one place more; without credentials, with those of the environment."""
    with errors_as_exit_codes(as_json=as_json):
        given = {} if credentials is None else _read_credentials(credentials)
        site = site_of(context)
        state = elsewhere.add_destination(site, address, given, who())
        if as_json:
            print_json(state.model_dump(mode="json"))
            return
        output.print(
            f"Backups are copied to {state.place} from now on. Try it: `fastcms backup destination test "
            f"{state.id}`.",
            markup=False,
        )
        _warn_of(site, state.place)


@destination_app.command("remove")
def remove_destination(
    context: typer.Context,
    destination: DestinationArgument,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy no more to a place that was added; the copies that are there stay."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        state = elsewhere.show_destination(site, destination)
        question = f"Copy no more to {state.place}? The {state.copied:,} copies that are there stay."
        confirm(question, yes=yes, as_json=as_json)
        removed = elsewhere.remove_destination(site, state.id, who())
        if as_json:
            print_json({"status": "removed", "id": removed.id, "place": removed.place})
        else:
            output.print(f"Nothing is copied to {removed.place} any more.", markup=False)


@destination_app.command("test")
def try_destination(
    context: typer.Context, destination: DestinationArgument, as_json: JsonOption = False
) -> None:
    """Write, list, read and remove a tiny object there."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        tested = elsewhere.try_destination(site, destination)
        if as_json:
            print_json({"status": "ok", "id": tested.id, "place": tested.place})
        else:
            output.print(f"{tested.place} takes backups, lists them, and gives them back.", markup=False)
            _warn_of(site, tested.place)


def _warn_of(site: Site, place: str) -> None:
    if is_on_same_disk(site, parse_address(place)):
        messages.print(f"[yellow]Warning:[/] {ON_SAME_DISK}")


def _read_credentials(source: str) -> dict[str, str]:
    """NAME=VALUE lines; none is ever repeated in a message. Raises: InvalidInputError."""
    try:
        file = sys.stdin if source == _STANDARD_INPUT else Path(source).open(encoding="utf-8")  # noqa: SIM115 - closed below
        with file:
            lines = file.read(_LONGEST_CREDENTIALS).splitlines()
    except (OSError, UnicodeError) as error:
        raise InvalidInputError(
            f"The credentials in {source} cannot be read: {getattr(error, 'strerror', None) or 'no text'}.",
            hint="Name a file with lines such as AWS_ACCESS_KEY_ID=..., or - for standard input.",
            code="credentials_unreadable",
        ) from None
    pairs = [line.strip().removeprefix("export ").partition("=") for line in lines if line.strip()]
    pairs = [pair for pair in pairs if not pair[0].startswith("#")]
    if not all(sign for _name, sign, _value in pairs):
        raise InvalidInputError(
            "The credentials are not written as NAME=VALUE, one a line.",
            hint="Such as AWS_ACCESS_KEY_ID=...; lines that begin with # are comments.",
            code="credentials_unreadable",
        )
    return {name.strip(): value.strip().strip("\"'") for name, _sign, value in pairs}


def _show(state: DestinationState) -> None:
    output.print(f"[bold]{escape(state.place)}[/]  [dim]{state.id}, {_describe_source(state)}[/]")
    for line in _describe(state):
        output.print(f"  {line}")


def _describe_source(state: DestinationState) -> str:
    credentials = ", with credentials of its own" if state.has_stored_credentials else ""
    return f"{'added' if state.source == 'added' else 'from the environment'}{credentials}"


def _describe(state: DestinationState) -> Iterator[str]:
    newest, failed = state.newest_copy, state.failed_copy
    if state.reachable is None:
        yield "Not looked at so far."
    elif state.failing_since is not None:
        since = f"{state.failing_since:%Y-%m-%d %H:%M} UTC"
        yield f"[bold red]Cannot be used[/] since {since}: {_plain(state.reason)}"
        yield f"[dim]What to do:[/] {_plain(state.hint)}"
    if newest is not None:
        made = naturaltime(utc_now() - newest.created)
        yield f"Newest copy: {newest.filename}, made {made}{', encrypted' if newest.is_encrypted else ''}."
    yield f"{state.copied:,} copies take {naturalsize(state.copied_bytes)}; {state.waiting:,} wait."
    if failed is not None and state.failing_since is None:
        yield f"[red]{failed.filename} could not be copied:[/] {_plain(failed.reason)}"
        yield f"[dim]What to do:[/] {_plain(failed.hint)}"
    if state.lost:
        yield f"[red]Copies are gone[/] that are not here either: {state.lost:,}, to {state.newest_lost}."
    if state.prune_error is not None:
        yield f"[red]Superfluous copies stay:[/] {_plain(state.prune_error)}"


def _plain(text: str | None) -> str:
    return escape(text or "")
