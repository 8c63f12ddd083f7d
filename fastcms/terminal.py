"""What every command has in common: how it gets its site, and how it prints results and errors."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from fastcms.errors import FastCMSError, InvalidInputError, status_of
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
    restore_now: Callable[[], None]


def peek_site(context: typer.Context) -> Site:
    """The site as its settings have it, nothing opened: what to ask questions by, for as long as it takes."""
    command_context: CommandContext = context.obj
    return command_context.peek_site()


def open_site(context: typer.Context) -> Site:
    """The site that a command works on, migrated and ready. A starting server waits for the command's end."""
    command_context: CommandContext = context.obj
    return command_context.open_site()


def restore_now(context: typer.Context) -> None:
    """Complete the staged restore, if there is one, as a server's start would.

    Raises: DataFolderInUseError while a server or another command uses the data folder.
    """
    command_context: CommandContext = context.obj
    command_context.restore_now()


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


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
        content: Mapping[str, object] = {
            "detail": error.message,
            "code": error.code,
            "hint": error.hint,
            "errors": error.errors if isinstance(error, InvalidInputError) else [],
            **error.details,
        }
        print_json(content)
        return
    messages.print(f"[bold red]Error:[/] {_plain(error.message)}")
    if error.hint:
        messages.print(f"[bold]What to do:[/] {_plain(error.hint)}")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
