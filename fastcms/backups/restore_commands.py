"""`fastcms backup restore` and its relatives."""

from typing import Annotated

import typer
from humanize import naturalsize

from fastcms.backups import receiving, restoring, service
from fastcms.backups.commands import Filename, backup_app, progress_bar, who
from fastcms.backups.schemas import RestoreState, describe_restores, describe_what
from fastcms.errors import RolledBackError
from fastcms.site import Site
from fastcms.terminal import (
    JsonOption,
    YesOption,
    errors_as_exit_codes,
    open_site,
    output,
    peek_site,
    print_json,
    restore_now,
)

__all__ = ["backup_app"]

NowOption = Annotated[
    bool, typer.Option("--now", help="Complete it at once, without a server; refused while one runs.")
]


@backup_app.command("restore")
def stage_restore(
    context: typer.Context,
    filename: Filename,
    now: NowOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a backup and prepare it; the next start of the server puts it in place."""
    with errors_as_exit_codes(as_json=as_json):
        backup = service.find_backup(peek_site(context), filename)
        created = f"{backup.created:%Y-%m-%d %H:%M:%S} UTC"
        origin = receiving.find_origin(peek_site(context), filename)
        if origin is not None:
            typer.echo(receiving.describe_origin(filename, origin), err=True)
        _confirm(f"Replace the database and all files with those of {created}{_when(now=now)}?", yes=yes)
        site = _site_for(context, now=now)
        with progress_bar() as on_progress:
            pending = restoring.stage_restore(site, filename, who(), on_progress, approved=origin)
        _complete(context, site, f"restore of {pending.backup_filename}", now=now, as_json=as_json)


@backup_app.command("undo")
def stage_undo(
    context: typer.Context, now: NowOption = False, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Prepare the way back to the state before the latest restore; the next start of the server takes it."""
    with errors_as_exit_codes(as_json=as_json):
        _confirm(f"Go back to the state before the latest restore{_when(now=now)}?", yes=yes)
        site = _site_for(context, now=now)
        pending = restoring.stage_undo(site, who())
        what = describe_what(pending.kind, pending.backup_filename)
        _complete(context, site, what, now=now, as_json=as_json)


@backup_app.command("discard")
def discard_safety_copy(context: typer.Context, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete the state before the latest restore, for its space; it cannot be undone any more."""
    with errors_as_exit_codes(as_json=as_json):
        _confirm("Delete the state before the latest restore for good?", yes=yes)
        safety_copy = restoring.discard_safety_copy(open_site(context))
        if as_json:
            print_json({"status": "discarded", "size_bytes": safety_copy.size_bytes})
        else:
            output.print(f"Deleted the safety copy ({naturalsize(safety_copy.size_bytes)}).")


@backup_app.command("cancel")
def cancel_restore(context: typer.Context, as_json: JsonOption = False) -> None:
    """Cancel the pending restore; the site stays as it is."""
    with errors_as_exit_codes(as_json=as_json):
        pending = restoring.cancel_restore(open_site(context))
        if as_json:
            print_json({"status": "cancelled", "backup_filename": pending.backup_filename})
        else:
            output.print(f"Cancelled the {describe_what(pending.kind, pending.backup_filename)}.")


@backup_app.command("restores")
def list_restores(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what every restore so far has done, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        receipts = restoring.list_restores(peek_site(context))
        if as_json:
            print_json(describe_restores(receipts).model_dump(mode="json"))
            return
        if not receipts:
            output.print("No restore so far.")
            return
        for receipt in receipts:
            what = describe_what(receipt.kind, receipt.backup_filename)
            line = f"{receipt.finished[:19]} UTC  {receipt.outcome}: {what}, by {receipt.requested_by}"
            output.print(f"{line}. {receipt.reason}".rstrip(), markup=False)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _when(*, now: bool) -> str:
    return ", now" if now else " when the server next starts"


def _site_for(context: typer.Context, *, now: bool) -> Site:
    """With --now nobody may use the folder: that is found out before the work, not after it."""
    if not now:
        return open_site(context)
    site = peek_site(context)
    restoring.require_nothing_staged(site)  # it would be completed instead
    restore_now(context)
    return site


def _complete(context: typer.Context, site: Site, what: str, *, now: bool, as_json: bool) -> None:
    if not now:
        if as_json:
            status = restoring.restore_status(site)
            print_json({"status": "pending_restart", "backup_filename": status.backup_filename})
        else:
            output.print(
                f"The {what} is checked and staged. Restart the server to complete it, "
                "or cancel it with `fastcms backup cancel`."
            )
        return
    restore_now(context)
    restoring.remove_discarded(site)
    status = restoring.restore_status(site)
    if status.state is not RestoreState.RESTORED:
        raise RolledBackError(
            f"The {what} failed: {status.reason}", hint="The site is as it was. Try another backup."
        )
    if as_json:
        print_json({"status": "restored", "backup_filename": status.backup_filename})
    else:
        output.print(f"The {what} is complete. Start the server; everybody logs in again.")
