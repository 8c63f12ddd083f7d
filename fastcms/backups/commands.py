"""`fastcms backup`: the same as the API, beside a running server or without one.

What concerns restores is in `restore_commands.py`.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from humanize import naturalsize
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from fastcms.backups import receiving, restoring, service
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.schemas import (
    RestoreState,
    RestoreStatus,
    describe_created,
    describe_list,
    describe_what,
)
from fastcms.terminal import (
    JsonOption,
    YesOption,
    errors_as_exit_codes,
    messages,
    open_site,
    output,
    peek_site,
    print_json,
)

backup_app = typer.Typer(no_args_is_help=True, help="Create, list, restore and delete backups.")

Filename = Annotated[str, typer.Argument(help="A backup's name, such as backup_20250115_100000.zip.")]


@backup_app.command("create")
def create_backup(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make a backup of the database and all uploaded files."""
    with errors_as_exit_codes(as_json=as_json):
        service.require_database(peek_site(context))
        with progress_bar() as on_progress:
            backup = service.create_backup(open_site(context), on_progress)
        if as_json:
            print_json(describe_created(backup).model_dump())
            return
        output.print(f"Created {backup.path} ({backup.size_mb} MB).")
        for problem in backup.problems:
            messages.print(f"[yellow]Warning:[/] {problem.replace('[', chr(92) + '[')}")


@backup_app.command("import")
def import_backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An archive from another machine, under any name.")],
    as_json: JsonOption = False,
) -> None:
    """Check an archive from another machine, and copy it to the backups of this site."""
    with errors_as_exit_codes(as_json=as_json):
        with progress_bar() as on_progress:
            backup = receiving.import_archive(open_site(context), file, who(), on_progress)
        if as_json:
            print_json(backup.model_dump(mode="json"))
            return
        typer.echo(
            f"{file} is sound, and is {backup.filename} now. "
            f"To put it in place: fastcms backup restore {backup.filename}"
        )


@backup_app.command("list")
def list_backups(context: typer.Context, as_json: JsonOption = False) -> None:
    """List all backups, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        backups = service.list_backups(open_site(context))
        if as_json:
            print_json(describe_list(backups).model_dump())
            return
        if not backups:
            output.print("There are no backups yet: make one with `fastcms backup create`.")
            return
        table = Table("Filename", "Created (UTC)", "Size", "Kind", box=None)
        for backup in backups:
            table.add_row(
                backup.filename, f"{backup.created:%Y-%m-%d %H:%M:%S}", f"{backup.size_mb} MB", backup.kind
            )
        output.print(table)


@backup_app.command("status")
def show_status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show the newest backup, and the pending or latest restore."""
    with errors_as_exit_codes(as_json=as_json):
        site = open_site(context)
        backups, restore = service.list_backups(site), restoring.restore_status(site)
        newest = service.find_newest(backups)
        if as_json:
            print_json(
                {
                    "total": len(backups),
                    "newest": newest.filename if newest else None,
                    "restore": restore.model_dump(mode="json"),
                }
            )
            return
        output.print(f"Newest backup: {newest.filename if newest else 'none yet'} ({len(backups)} in all)")
        for sentence in _describe_restore(restore):
            output.print(sentence, markup=False)


def _describe_restore(restore: RestoreStatus) -> Iterator[str]:
    what = describe_what(restore.kind, restore.backup_filename)
    finished = f"{restore.finished:%Y-%m-%d %H:%M:%S} UTC" if restore.finished else ""
    yield {
        RestoreState.NONE: "No restore so far.",
        RestoreState.PENDING: f"The {what} is staged: restart the server.",
        RestoreState.RESTORED: f"Latest restore: {what.removeprefix('restore of ')}, at {finished}.",
        RestoreState.ROLLED_BACK: f"The {what} failed and was rolled back: {restore.reason}",
    }[restore.state]
    if restore.safety_copy is not None:
        size = naturalsize(restore.safety_copy.size_bytes)
        yield f"The state before it is kept ({size}): `fastcms backup undo` goes back, `discard` deletes it."


@backup_app.command("delete")
def delete_backup(
    context: typer.Context, filename: Filename, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Delete a backup for good."""
    with errors_as_exit_codes(as_json=as_json):
        service.find_backup(peek_site(context), filename)
        if not yes:
            is_only_one = len(service.list_backups(peek_site(context))) == 1
            warning = "This is the only backup of the site. " if is_only_one else ""
            typer.confirm(f"{warning}Delete {filename} for good?", abort=True, err=True)
        service.delete_backup(open_site(context), filename)
        if as_json:
            print_json({"status": "deleted", "filename": filename})
        else:
            output.print(f"Deleted {filename}.")


def who() -> str:
    """Who types: the name in receipts and logs."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as containers have it
        user = f"user {os.getuid()}"
    return f"{user} (command line)"


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A bar on standard error, so that standard output stays clean for --json."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=messages, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.phase,
                completed=progress.done_bytes,
                total=progress.total_bytes or None,
            )

        yield show
