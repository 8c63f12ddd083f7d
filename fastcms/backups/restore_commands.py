"""`fastcms backup restore` and its relatives."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from humanize import naturalsize

from fastcms.backups import jobs, receiving, restoring, service, set_again, tasks
from fastcms.backups.commands import backup_app, progress_bar, show_problems, site_of
from fastcms.backups.engine.pending import PendingRestore, RestoreReceipt
from fastcms.backups.restore_preview import describe_preview, preview_restore
from fastcms.backups.restore_schemas import RestoreState, SafetyCopyInfo, describe_restores, describe_what
from fastcms.backups.stored import split_address
from fastcms.backups.stored_commands import describe_counts, fetch_to_restore
from fastcms.backups.stored_terminal import IdentityOption, is_elsewhere, open_target
from fastcms.errors import NoSafetyCopyError, RestoreError, RolledBackError
from fastcms.noting import note
from fastcms.site import Site
from fastcms.terminal import (
    JsonOption,
    YesOption,
    confirm,
    errors_as_exit_codes,
    hold_folder,
    messages,
    output,
    peek_site,
    print_json,
    restore_now,
    who,
)

NowOption = Annotated[
    bool, typer.Option("--now", help="Complete it at once, without a server; refused while one runs.")
]


@backup_app.command("restore")
def stage_restore(  # noqa: PLR0917 - Typer calls it by name
    context: typer.Context,
    filename: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A backup's name; with a destination's id or address before it, the one there, such as "
            "s3://bucket/folder/backup_20250115_100000.zip.age.",
        ),
    ],
    now: NowOption = False,
    latest: Annotated[
        bool, typer.Option("--latest", help="Of a destination without a name: the newest backup there.")
    ] = False,
    identity: IdentityOption = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="FOLDER", help="Instead of FASTCMS_DATA_DIR.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a backup and prepare it; the next start of the server puts it in place.

    From a destination it is fetched first. Where there is no site, it is put in place at once.
    """
    with errors_as_exit_codes(as_json=as_json):
        site = peek_site(context, data_dir)
        is_nobodys, missing = set_again.is_nobodys(site), list[set_again.SetAgain]()
        if is_elsewhere(filename):
            note(
                filename=split_address(filename)[1] or "a backup"
            )  # there may be a password in what was typed
            target = open_target(site, filename, identity)
            is_new = not site.settings.database_path.exists()
            brought = fetch_to_restore(site, target, latest=latest, yes=yes or is_new, as_json=as_json)
            note(filename=brought.filename)
            answer = _restore(
                context, site, brought.filename, now=now or is_new, yes=yes or is_new, as_json=as_json
            )
            answer |= {"fetched_from": target.source.store.place, "counts": brought.counts}
            sentence = describe_counts(brought)
        else:
            service.require_site(site)
            answer = _restore(context, site, filename, now=now, yes=yes, as_json=as_json)
            sentence = ""
        name = str(answer["backup_filename"])
        origin = receiving.find_origin(site, name) if is_nobodys else None
        if is_nobodys and (origin or is_elsewhere(filename)):
            set_again.note_came_back(site, name, origin)
            missing = set_again.see_what_to_set_again(site)
            answer["set_again"] = [thing.model_dump() for thing in missing]
        if as_json:
            print_json(answer)
            return
        if sentence:
            output.print(sentence, markup=False)
        _say_what_to_set_again(missing)


def _say_what_to_set_again(missing: Sequence[set_again.SetAgain]) -> None:
    if missing:
        output.print("What no backup holds has to be set again, here or in the dashboard:")
    for thing in missing:
        output.print(f"- {thing.sentence}\n  {thing.command}", markup=False)


def _restore(
    context: typer.Context, site: Site, filename: str, *, now: bool, yes: bool, as_json: bool
) -> dict[str, object]:
    """Ask, stage a backup of this machine, and with now put it in place. Returns: what --json says."""
    backup = service.find_backup(site, filename)
    restoring.require_nothing_staged(site)  # before anybody is asked
    preview = preview_restore(site, filename)
    show_problems(preview.problems)
    for sentence in () if yes else describe_preview(preview):
        messages.print(sentence, markup=False)
    origin = receiving.find_origin(site, filename)
    if origin is not None:
        typer.echo(receiving.describe_origin(filename, origin), err=True)
    question = f"Replace the database and all files with those of {backup.created:%Y-%m-%d %H:%M:%S} UTC"
    confirm(f"{question}{_when(now=now)}?", yes=yes, as_json=as_json)

    def stage() -> PendingRestore:
        if now:
            restoring.give_up_killed(site)
        with progress_bar() as show:
            return jobs.run(site, tasks.staging(site, filename, who(), approved=origin), show)

    return _carry_out(context, site, stage, now=now, as_json=as_json) | {"problems": preview.problems}


@backup_app.command("undo")
def stage_undo(
    context: typer.Context, now: NowOption = False, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Prepare the way back to the state before the latest restore; the next start of the server takes it."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        restoring.require_nothing_staged(site)  # before anybody is asked
        _require_safety_copy(site)
        question = f"Go back to the state before the latest restore{_when(now=now)}?"
        confirm(question, yes=yes, as_json=as_json)
        answer = _carry_out(
            context, site, lambda: restoring.stage_undo(site, who()), now=now, as_json=as_json
        )
        if as_json:
            print_json(answer)


@backup_app.command("discard")
def discard_safety_copy(context: typer.Context, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete the state before the latest restore, for its space; it cannot be undone any more."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        size = naturalsize(_require_safety_copy(site).size_bytes)
        question = f"Delete the state before the latest restore ({size}) for good?"
        confirm(question, yes=yes, as_json=as_json)
        hold_folder(context, site)
        safety_copy = restoring.discard_safety_copy(site)
        if as_json:
            print_json({"status": "discarded", "size_bytes": safety_copy.size_bytes})
        else:
            output.print(f"Deleted the safety copy ({naturalsize(safety_copy.size_bytes)}).")


@backup_app.command("cancel")
def cancel_restore(context: typer.Context, as_json: JsonOption = False) -> None:
    """Cancel the pending restore; the site stays as it is."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        hold_folder(context, site)
        pending = restoring.cancel_restore(site)
        if as_json:
            print_json({"status": "cancelled", "backup_filename": pending.backup_filename})
        else:
            output.print(f"Cancelled the {describe_what(pending.kind, pending.backup_filename)}.")


@backup_app.command("restores")
def list_restores(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what every restore so far has done, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        receipts = restoring.list_restores(site_of(context))
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


def _when(*, now: bool) -> str:
    return ", now" if now else " when the server next starts"


def _require_safety_copy(site: Site) -> SafetyCopyInfo:
    """Before anybody is asked about it. Raises: NoSafetyCopyError."""
    safety_copy = restoring.restore_status(site).safety_copy
    if safety_copy is None:
        raise NoSafetyCopyError(
            "There is no state before a restore: nothing was restored, or it was discarded.",
            hint="Restore a backup from the time you want to go back to.",
        )
    return safety_copy


def _carry_out(
    context: typer.Context, site: Site, stage: Callable[[], PendingRestore], *, now: bool, as_json: bool
) -> dict[str, object]:
    """Stage a restore, and with --now complete it; say so, and return what --json says."""
    if now:
        return _complete(context, site, stage, as_json=as_json)
    hold_folder(context, site)
    pending = stage()
    if not as_json:
        output.print(
            f"The {describe_what(pending.kind, pending.backup_filename)} is checked and staged. "
            "Restart the server to complete it, or cancel it with `fastcms backup cancel`."
        )
    return {"status": "pending_restart", "backup_filename": pending.backup_filename}


def _complete(
    context: typer.Context, site: Site, stage: Callable[[], PendingRestore], *, as_json: bool
) -> dict[str, object]:
    staged: list[PendingRestore] = []
    receipt: RestoreReceipt | None = restore_now(context, site, lambda: staged.append(stage()))
    what = describe_what(staged[0].kind, staged[0].backup_filename)
    if receipt is None:
        raise RestoreError(
            f"The {what} could not begin and stays staged.",
            hint="Look at the disk's free space and health. The next start of the server tries again; "
            "cancel it with `fastcms backup cancel`.",
            code="restore_not_begun",
        )
    if receipt.outcome != RestoreState.RESTORED:
        raise RolledBackError(
            f"The {what} failed: {receipt.reason}", hint="The site is as it was. Try another backup."
        )
    if not as_json:
        output.print(f"The {what} is complete. Start the server; everybody logs in again.")
    return {"status": "restored", "backup_filename": receipt.backup_filename}
