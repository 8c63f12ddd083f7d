"""`fastcms backup status`, `storage` and `history`: is the site safe, is there space, what was done?"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from humanize import naturalsize, naturaltime
from rich.markup import escape
from rich.table import Column, Table

from fastcms.backups import history, restoring
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.commands import backup_app, site_of
from fastcms.backups.elsewhere import Elsewhere
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import JobState
from fastcms.backups.reasons import ReasonLevel
from fastcms.backups.restore_schemas import RestoreState, RestoreStatus, describe_what
from fastcms.backups.schemas import RunPage
from fastcms.backups.status import SafetyState, Status, describe_status
from fastcms.backups.storage import Storage, StorageLevel, measure_storage
from fastcms.database import utc_now
from fastcms.terminal import JsonOption, errors_as_exit_codes, output, print_json

_NOT_SAFE = 1
_STYLES = {
    SafetyState.OK: "bold green",
    SafetyState.WARNINGS: "bold yellow",
    SafetyState.ATTENTION: "bold red",
    SafetyState.RUNNING: "bold cyan",
    SafetyState.WAITING: "bold yellow",
}
_SIGNS = {
    ReasonLevel.ATTENTION: "[bold red]attention[/]",
    ReasonLevel.WARNING: "[yellow]warning[/]  ",
}
_SPACE_STYLES = {StorageLevel.OK: "green", StorageLevel.WARNING: "yellow", StorageLevel.CRITICAL: "bold red"}


@backup_app.command("status")
def show_status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Say whether the site is safe, and why; the exit code is 1 when it is not."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        status, restore = describe_status(site), restoring.restore_status(site)
        if as_json:
            newest = status.last_success
            before = {
                "total": status.storage.backups if status.storage else None,
                "newest": newest.filename if newest else None,
                "newest_problems": newest.problems if newest else [],
                "restore": restore.model_dump(mode="json"),
            }
            print_json(before | status.model_dump(mode="json"))
        else:
            _show(status, restore)
        if not status.is_safe:
            raise typer.Exit(_NOT_SAFE)


@backup_app.command("storage")
def show_storage(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show how much space there is, what takes it, and until when it will do."""
    with errors_as_exit_codes(as_json=as_json):
        storage = measure_storage(site_of(context))
        if as_json:
            print_json(storage.model_dump(mode="json"))
            return
        table = Table("", "", box=None, show_header=False)
        for name, value in _describe_storage(storage):
            table.add_row(name, value)
        output.print(table)
        if storage.reason:
            output.print(f"[{_SPACE_STYLES[storage.level]}]{escape(storage.reason)}[/]")
            output.print(f"[dim]What to do:[/] {escape(storage.hint or '')}")


@backup_app.command("history")
def show_history(
    context: typer.Context,
    kind: Annotated[RunKind | None, typer.Option("--kind", help="Only what did this.")] = None,
    state: Annotated[JobState | None, typer.Option("--state", help="Only what ended so.")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """List what was done to backups, and what has failed, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        runs = history.list_runs(site, kind=kind, state=state, limit=last)
        if as_json:
            total = history.count_runs(site, kind=kind, state=state)
            print_json(RunPage(items=runs, total=total, page=1, per_page=last).model_dump(mode="json"))
            return
        if not runs:
            output.print("Nothing of the kind was done so far.")
            return
        whole = [Column(name, no_wrap=True) for name in ("When (UTC)", "What")]
        table = Table(*whole, "By", "How it ended", box=None)
        for run in runs:
            what = f"{run.kind} {run.backup_filename or ''}"
            table.add_row(
                f"{run.started:%Y-%m-%d %H:%M:%S}", what, escape(run.requested_by), _describe_end(run)
            )
        output.print(table)


def _show(status: Status, restore: RestoreStatus) -> None:
    output.print(f"[{_STYLES[status.state]}]{status.sentence}.[/]")
    for reason in status.reasons:
        output.print(f"  {_SIGNS[reason.level]}  {escape(reason.message)}")
        if reason.hint:
            output.print(f"             [dim]What to do:[/] {escape(reason.hint)}")
    output.print()
    for line in [*_describe_backups(status), *_describe_restore(restore)]:
        output.print(line, markup=False)


def _describe_backups(status: Status) -> Iterator[str]:
    newest, failure, verified = status.last_success, status.last_failure, status.verified
    if newest is None:
        yield "Newest backup: none yet."
    else:
        size = naturalsize(newest.size_bytes)
        yield f"Newest backup: {newest.filename}, {_ago(newest.created)} ({size})."
    if verified is not None:
        how = "restored as a test" if verified.level is VerificationLevel.FULL else "every byte was compared"
        yield f"Newest that was verified: {verified.filename}, {_ago(verified.verified)} ({how})."
    if failure is not None and not failure.is_current:
        yield f"The latest failure was {_ago(failure.time)}: {failure.reason}"
    if status.next_run is not None:
        yield f"Next backup: {status.next_run:%Y-%m-%d %H:%M} UTC, if the server runs."
    elif any(reason.code == "schedule_off" for reason in status.reasons):
        yield "Next backup: the schedule is off."
    else:
        yield "Next backup: not known."
    if status.elsewhere is not None:
        yield _describe_elsewhere(status.elsewhere)
    if status.storage is not None:
        disk = status.storage.disk
        yield (
            f"Space: {naturalsize(disk.free_bytes)} of {naturalsize(disk.total_bytes)} are free; "
            f"{status.storage.backups} backup(s) take {naturalsize(status.storage.backups_bytes)}."
        )


def _describe_elsewhere(elsewhere: Elsewhere) -> str:
    copies = [found.newest_copy for found in elsewhere.destinations if found.newest_copy is not None]
    newest = max(copies, key=lambda copy: copy.created, default=None)
    if newest is None:
        return elsewhere.hint or "Newest copy elsewhere: none yet."
    waiting = sum(found.waiting + found.failed for found in elsewhere.destinations)
    more = f"; {waiting:,} to be made" if waiting else ""
    return f"Newest copy elsewhere: {newest.filename}, {_ago(newest.created)}{more}."


def _describe_storage(storage: Storage) -> Iterator[tuple[str, str]]:
    for disk in [storage.disk, *storage.other_disks]:
        yield (
            f"Disk of {disk.folder}",
            f"{naturalsize(disk.free_bytes)} of {naturalsize(disk.total_bytes)} are free",
        )
    yield "Backups", f"{naturalsize(storage.backups_bytes)} ({storage.backups})"
    yield "Safety copy", naturalsize(storage.safety_copy_bytes)
    yield "Database", naturalsize(storage.database_bytes)
    yield "Uploaded files", "not known" if storage.files_bytes is None else naturalsize(storage.files_bytes)
    yield "Next backup", f"needs {naturalsize(storage.next_backup_bytes)} at most"
    growth = storage.growth_bytes_per_day
    if growth is None:
        yield "Growth", "not known in the first days"
    else:
        full = f"; the disk is full on {storage.full_on}" if storage.full_on else ""
        yield "Growth", f"{naturalsize(growth)} a day{full}"


def _describe_restore(restore: RestoreStatus) -> Iterator[str]:
    what = describe_what(restore.kind, restore.backup_filename)
    finished = f"{restore.finished:%Y-%m-%d %H:%M:%S} UTC" if restore.finished else ""
    yield {
        RestoreState.NONE: "No restore so far.",
        RestoreState.PENDING: f"The {what} is staged: restart the server, or `fastcms backup cancel`.",
        RestoreState.RESTORED: f"Latest restore: {what.removeprefix('restore of ')}, at {finished}.",
        RestoreState.ROLLED_BACK: f"The {what} failed and was rolled back: {restore.reason}",
    }[restore.state]
    # While one is staged, an undo would be refused.
    if restore.safety_copy is not None and restore.state is not RestoreState.PENDING:
        size = naturalsize(restore.safety_copy.size_bytes)
        yield (
            f"The state before the latest restore is kept ({size}): "
            "`fastcms backup undo` goes back, `discard` deletes it."
        )


def _describe_end(run: Run) -> str:
    if run.error is not None:
        return f"{run.state}: {escape(run.error.detail)}"
    size = "" if run.size_bytes is None else f", {naturalsize(run.size_bytes)}"
    return f"{run.state} in {(run.finished - run.started).total_seconds():.0f} s{size}"


def _ago(time: datetime) -> str:
    return naturaltime(utc_now() - time)
