"""`fastcms backup notify-test` and `alarms`: whether people are told, and of what."""

import typer
from rich.markup import escape
from rich.table import Table

from fastcms.backups.alarms import find_alarms
from fastcms.backups.commands import backup_app, site_of
from fastcms.backups.notifications import try_addresses
from fastcms.terminal import JsonOption, errors_as_exit_codes, output, print_json, who

_NOT_ALL_REACHED = 1


@backup_app.command("notify-test")
def notify_test(context: typer.Context, as_json: JsonOption = False) -> None:
    """Send a test message to everybody who is told when a backup needs attention."""
    with errors_as_exit_codes(as_json=as_json):
        tested = try_addresses(site_of(context), who())
        if as_json:
            print_json(tested.model_dump(mode="json"))
        else:
            for delivery in tested.deliveries:
                output.print(f"{delivery.address}: {delivery.reason or 'sent.'}", markup=False)
        if not tested.ok:
            raise typer.Exit(_NOT_ALL_REACHED)


@backup_app.command("alarms")
def show_alarms(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what needs attention, since when, and when somebody was told."""
    with errors_as_exit_codes(as_json=as_json):
        alarms = find_alarms(site_of(context))
        if as_json:
            print_json({"items": [alarm.model_dump(mode="json") for alarm in alarms], "total": len(alarms)})
            return
        if not alarms:
            output.print("Nothing needs attention.")
            return
        table = Table("Since (UTC)", "Told (UTC)", "What", "What to do", box=None)
        for alarm in alarms:
            told = f"{alarm.told:%Y-%m-%d %H:%M}" if alarm.told else "nobody"
            table.add_row(f"{alarm.since:%Y-%m-%d %H:%M}", told, escape(alarm.message), escape(alarm.hint))
        output.print(table)
