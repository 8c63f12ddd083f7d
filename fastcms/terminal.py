"""What every command has in common: how it gets its site, and how it prints results and errors."""

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from fastcms.database import format_utc
from fastcms.errors import FastCMSError, InvalidInputError, describe, status_of
from fastcms.site import Site

output = Console(highlight=False, soft_wrap=True)
messages = Console(stderr=True, highlight=False, soft_wrap=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True)
class CommandContext:
    """Set as `ctx.obj` by the root command: how to get at the site."""

    peek_site: Callable[[], Site]
    open_site: Callable[[], Site]
    hold_folder: Callable[[Site], None]
    restore_now: Callable[
        [Site, Callable[[], object]], Any
    ]  # gives a receipt, which this layer does not know


def who() -> str:
    """Who types: the name in receipts and logs."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as containers have it
        user = f"user {os.getuid()}"
    return f"{user} (command line)"


def peek_site(context: typer.Context) -> Site:
    """The site as its settings have it. Nothing is opened: app.db may be damaged, and the disk full."""
    command_context: CommandContext = context.obj
    return command_context.peek_site()


def open_site(context: typer.Context) -> Site:
    """The site that a command works on, migrated and ready. A starting server waits for the command's end."""
    command_context: CommandContext = context.obj
    return command_context.open_site()


def hold_folder(context: typer.Context, site: Site) -> None:
    """Let no server start until the command has ended; app.db is not opened."""
    command_context: CommandContext = context.obj
    command_context.hold_folder(site)


def restore_now(context: typer.Context, site: Site, prepare: Callable[[], object]) -> Any:
    """Stage a restore by calling prepare, and complete it as a server's start would; return its receipt.

    Raises: DataFolderInUseError while a server or another command uses the data folder; what prepare raises.
    """
    command_context: CommandContext = context.obj
    return command_context.restore_now(site, prepare)


def confirm(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask before something is destroyed, on standard error.

    Raises: InvalidInputError when a program runs the command: nobody would answer.
    """
    if yes:
        return
    if as_json and not sys.stdin.isatty():
        raise InvalidInputError(
            f"This asks for confirmation, and there is no terminal: {question}",
            hint="Add --yes to answer for it.",
            code="confirmation_required",
        )
    typer.confirm(question, abort=True, err=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_json_value))


@contextmanager
def errors_as_exit_codes(*, as_json: bool = False) -> Iterator[None]:
    """Turn an error into its message, hint and exit code; never a traceback."""
    try:
        yield
    except FastCMSError as error:
        _print_error(error, as_json=as_json)
        raise typer.Exit(status_of(error)[1]) from error


def _print_error(error: FastCMSError, *, as_json: bool) -> None:
    if as_json:
        print_json(describe(error))
        return
    messages.print(f"[bold red]Error:[/] {_plain(error.message)}")
    if error.hint:
        messages.print(f"[bold]What to do:[/] {_plain(error.hint)}")


def _json_value(value: object) -> str:
    return format_utc(value) if isinstance(value, datetime) else str(value)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
