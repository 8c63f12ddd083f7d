"""Has commands told that change something, whichever domain they are from."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple

import typer

from fastcms.activity import service
from fastcms.activity.action import Action
from fastcms.activity.actions import find_action
from fastcms.activity.describing import describe
from fastcms.activity.schemas import CallerKind
from fastcms.errors import FastCMSError
from fastcms.noting import taking_notes
from fastcms.site import Site
from fastcms.terminal import who


class _Typist(NamedTuple):
    name: str
    kind: CallerKind = CallerKind.TERMINAL


def record_commands(app: typer.Typer, name: str = "fastcms") -> None:
    """Have every command of an application told in the log of its site."""
    for command in app.registered_commands:
        assert command.callback is not None  # noqa: S101 - Typer's own decorator gives it
        command_name = command.name or command.callback.__name__
        action = find_action(f"{name} {command_name}")
        if action is not None:
            command.callback = _recorded(action, command.callback)
    for group in app.registered_groups:
        assert group.typer_instance is not None  # noqa: S101 - as above
        record_commands(group.typer_instance, f"{name} {group.name}")


def all_ways(app: typer.Typer, name: str = "fastcms") -> Iterator[str]:
    """Every command, as one types it."""
    for command in app.registered_commands:
        yield f"{name} {command.name or getattr(command.callback, '__name__', '')}"
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from all_ways(group.typer_instance, f"{name} {group.name}")


def _recorded(action: Action, command: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        with taking_notes() as notes:
            try:
                answer = command(*arguments, **options)
            except typer.Exit as end:
                # Every error of ours has become an exit code: see `terminal.errors_as_exit_codes`.
                error = end.__cause__ if isinstance(end.__cause__, FastCMSError) else None
                _record(action, notes, options, error)
                raise
            _record(action, notes, options, None)
            return answer

    return run


def _record(
    action: Action, notes: dict[str, Any], options: dict[str, Any], error: FastCMSError | None
) -> None:
    site: Site | None = notes.get("site")
    # Where there is no site, as in a mistyped folder, none begins with this.
    if site is None or not site.settings.database_path.exists():
        return
    known = {**options, **notes, "caller": _Typist(who())}
    deed = describe(action, known, None if error is None else error.message)
    if deed is not None:
        service.add(site, deed)
