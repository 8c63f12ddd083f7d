"""`fastcms backup settings`, `set` and `run-due`: what happens by itself, and how to change it."""

import sys
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from fastcms.backups import elsewhere, schedule, service, upkeep
from fastcms.backups.backup_settings import BackupSettings
from fastcms.backups.commands import backup_app, site_of
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import JobState
from fastcms.backups.schedule import Duty
from fastcms.backups.shown_settings import SECRETS, ShownSettings, change_shown_settings, show_settings
from fastcms.database import utc_now
from fastcms.errors import BackupBusyError, InvalidInputError
from fastcms.terminal import (
    JsonOption,
    errors_as_exit_codes,
    messages,
    open_site,
    output,
    peek_site,
    print_json,
    who,
)

_FAILED = 1
_STANDARD_INPUT = "-"
_LISTS = ("encrypt_to", "notify_urls")


@backup_app.command("settings")
def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show when and how backups are made, kept and told of."""
    with errors_as_exit_codes(as_json=as_json):
        _print_settings(show_settings(site_of(context)), as_json=as_json)


@backup_app.command("set")
def change(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A setting, as `fastcms backup settings` names it.")],
    value: Annotated[
        str | None,
        typer.Argument(help="Several addresses with spaces between; `-` reads it from standard input."),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the environment's value.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Change a setting of backups, also while the server runs."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        changes = {name: _value_of(name, value, is_reset=reset)}
        _print_settings(change_shown_settings(site, changes, who()), as_json=as_json)


@backup_app.command("run-due")
def run_due(context: typer.Context, as_json: JsonOption = False) -> None:
    """Do what is due and copy what is missing, once: for cron and systemd timers, beside a server or not."""
    with errors_as_exit_codes(as_json=as_json):
        service.require_database(peek_site(context))
        site = open_site(context)
        runs: list[Run] = []
        busy = None
        try:
            runs = upkeep.run_due(site)
        except BackupBusyError as error:
            busy = error.message
        runs += upkeep.copy_and_run_due(site)
        problems = elsewhere.find_problems(site)
        now = utc_now()
        next_backup = schedule.next_run(site, Duty.BACKUP, now)
        if as_json:
            next_verification = schedule.next_run(site, Duty.VERIFICATION, now)
            print_json(
                {
                    "runs": [run.model_dump(mode="json") for run in runs],
                    "busy": busy,
                    "problems": problems,
                    "next_backup": next_backup,
                    "next_verification": next_verification,
                }
            )
        elif busy is not None and not runs:
            messages.print(f"Nothing was done: {busy}", markup=False)
        else:
            _print_runs(runs, problems, next_backup)
        if problems or any(run.state is not JobState.SUCCEEDED for run in runs):
            raise typer.Exit(_FAILED)


def _value_of(name: str, value: str | None, *, is_reset: bool) -> Any:
    """What a setting is to be changed to; None for the environment's value. Raises: InvalidInputError."""
    if name not in BackupSettings.model_fields:
        raise InvalidInputError(
            f"There is no setting {name!r} of backups.",
            hint=f"There are: {', '.join(BackupSettings.model_fields)}.",
            code="settings_invalid",
        )
    if (value is None) != is_reset:
        raise InvalidInputError(
            "A setting needs either a value or --reset.",
            hint=f'For example: fastcms backup set {name} VALUE, with quotes: "0 2 * * *".',
            code="settings_invalid",
        )
    if value == _STANDARD_INPUT:
        value = sys.stdin.read().strip()
    return value.split() if value is not None and name in _LISTS else value


def _print_settings(shown: ShownSettings, *, as_json: bool) -> None:
    if as_json:
        print_json(shown.model_dump(mode="json"))
        return
    table = Table("Name", "Value", "From", box=None)
    for name, value in shown.settings:
        origin = "changed here" if name in shown.changed else "environment"
        table.add_row(name, _describe_value(name, value), origin)
    output.print(table)
    if shown.problem:
        messages.print(f"Warning: {shown.problem}", markup=False)
    if shown.next_runs:
        output.print("\nThe next backups:")
        for run in shown.next_runs:
            output.print(f"  {run.local}", markup=False)
    else:
        output.print("\nNo backup is made by itself: the schedule is off.")


def _describe_value(name: str, value: Any) -> str:
    if name in SECRETS or name in _LISTS or value is None:
        return (value if isinstance(value, str) else " ".join(value or [])) or "not set"
    return str(value)


def _print_runs(runs: list[Run], problems: list[str], next_backup: datetime | None) -> None:
    for run in runs:
        if run.state is JobState.SUCCEEDED:
            output.print(_describe_run(run), markup=False)
        else:
            reason = run.error.detail if run.error else ""
            messages.print(f"Error: {run.kind}: {run.state}. {reason}", markup=False)
    for problem in problems:
        messages.print(f"Error: {problem}", markup=False)
    what = "Done" if runs else "Nothing was done" if problems else "Nothing is due"
    when = f"next backup at {next_backup:%Y-%m-%d %H:%M} UTC" if next_backup else "the schedule is off"
    output.print(f"{what}; {when}.", markup=False)


def _describe_run(run: Run) -> str:
    place = run.details.get("destination")
    if run.kind is RunKind.PRUNE:
        return (
            f"Removed {len(run.details['removed'])} old {f'copies from {place}' if place else 'backup(s)'}."
        )
    if run.kind is RunKind.COPY:
        return f"Copied {run.backup_filename} to {place}."
    return f"{'Created' if run.kind is RunKind.CREATE else 'Verified'} {run.backup_filename}."
