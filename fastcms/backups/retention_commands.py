"""`fastcms backup prune`, `pin` and `unpin`: which backups stay."""

from typing import Annotated

import typer
from humanize import naturalsize
from rich.markup import escape
from rich.table import Table

from fastcms.backups import pinning, pruning
from fastcms.backups.commands import Filename, backup_app, site_of
from fastcms.backups.pruning import PlannedBackup, Pruned, Retention
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

_INCOMPLETE = 1

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say for each backup whether it stays, and why.")
]


@backup_app.command("prune")
def prune_backups(
    context: typer.Context, dry_run: DryRunOption = False, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Remove the backups that the policy does not keep; the schedule does so after each backup."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        retention = pruning.describe_retention(site)
        if dry_run:
            _print_retention(retention, as_json=as_json)
            return
        going = [backup for backup in retention.items if not backup.keep]
        if going:
            confirm(_question(going), yes=yes, as_json=as_json)
        pruned = pruning.prune(site, who())
        _print_pruned(pruned, retention, as_json=as_json)
        if pruned.failed:
            raise typer.Exit(_INCOMPLETE)


@backup_app.command("pin")
def pin_backup(context: typer.Context, filename: Filename, as_json: JsonOption = False) -> None:
    """Keep a backup until it is unpinned, whatever the policy says; it cannot be deleted by hand either."""
    with errors_as_exit_codes(as_json=as_json):
        pinning.pin(site_of(context), filename, who())
        if as_json:
            print_json({"status": "pinned", "filename": filename})
        else:
            output.print(f"{filename} stays until `fastcms backup unpin {filename}`.", markup=False)


@backup_app.command("unpin")
def unpin_backup(context: typer.Context, filename: Filename, as_json: JsonOption = False) -> None:
    """Let the policy decide about a backup again."""
    with errors_as_exit_codes(as_json=as_json):
        pinning.unpin(site_of(context), filename)
        if as_json:
            print_json({"status": "unpinned", "filename": filename})
        else:
            output.print(f"{filename} is not pinned: the policy decides whether it stays.", markup=False)


def _question(going: list[PlannedBackup]) -> str:
    size = naturalsize(sum(backup.size_bytes for backup in going))
    if len(going) == 1:
        return f"Delete {going[0].filename} ({size}) for good?"
    return f"Delete {len(going)} backups ({size}), {going[-1].filename} to {going[0].filename}, for good?"


def _print_retention(retention: Retention, *, as_json: bool) -> None:
    if as_json:
        print_json(retention.model_dump(mode="json"))
        return
    table = Table("Filename", "Size", "", "Why", box=None)
    for backup in retention.items:
        why = "; ".join(reason.message for reason in backup.reasons)
        what = "keep" if backup.keep else "[yellow]remove[/]"
        table.add_row(backup.filename, naturalsize(backup.size_bytes), what, escape(why))
    if retention.items:
        output.print(table)
    kept = f"{retention.kept} of {retention.total} backups stay ({naturalsize(retention.kept_bytes)})"
    output.print(f"{kept}; days begin in {retention.policy.timezone}.", markup=False)
    _warn_of_excess(retention)


def _print_pruned(pruned: Pruned, retention: Retention, *, as_json: bool) -> None:
    if as_json:
        print_json(pruned.model_dump() | {"excess_bytes": retention.excess_bytes})
        return
    for filename in pruned.removed:
        output.print(f"Deleted {filename}.")
    for filename, reason in pruned.failed.items():
        messages.print(f"[bold red]Error:[/] {filename} could not be deleted: {escape(reason)}")
    if not pruned.removed and not pruned.failed:
        output.print(
            "There is nothing to remove. `fastcms backup prune --dry-run` says why each backup stays."
        )
    _warn_of_excess(retention)


def _warn_of_excess(retention: Retention) -> None:
    if retention.excess_bytes and retention.policy.max_total_size is not None:
        excess, limit = naturalsize(retention.excess_bytes), naturalsize(retention.policy.max_total_size)
        messages.print(f"[yellow]Warning:[/] what must stay takes {excess} more than the {limit} allowed.")
