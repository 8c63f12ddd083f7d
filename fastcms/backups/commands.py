"""`fastcms backup`: the same as the API, beside a running server or without one.

What concerns restores is in `restore_commands.py`, what concerns jobs in `job_commands.py`.
"""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from humanize import naturalsize
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from fastcms.backups import jobs, restoring, service, tasks
from fastcms.backups.job_files import Job
from fastcms.backups.schemas import (
    Backup,
    RestoreState,
    RestoreStatus,
    describe_created,
    describe_list,
    describe_what,
)
from fastcms.errors import FastCMSError
from fastcms.site import Site, make_folders
from fastcms.terminal import (
    JsonOption,
    YesOption,
    confirm,
    errors_as_exit_codes,
    messages,
    open_site,
    output,
    peek_site,
    print_json,
)

backup_app = typer.Typer(no_args_is_help=True, help="Create, list, restore and delete backups.")

_SHOWN_PROBLEMS = 5

Filename = Annotated[str, typer.Argument(help="A backup's name, such as backup_20250115_100000.zip.")]


@backup_app.command("create")
def create_backup(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make a backup of the database and all uploaded files."""
    with errors_as_exit_codes(as_json=as_json):
        service.require_database(peek_site(context))
        with progress_bar() as show:
            site = open_site(context)
            backup = jobs.run(site, tasks.creation(site, who()), show)
        if as_json:
            print_json(describe_created(backup).model_dump())
            return
        output.print(f"Created {backup.path} ({backup.size_mb} MB).")
        for problem in backup.problems:
            messages.print(f"[yellow]Warning:[/] {escape(problem)}")


@backup_app.command("import")
def import_backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An archive from another machine, under any name.")],
    as_json: JsonOption = False,
) -> None:
    """Check an archive from another machine, and copy it to the backups of this site."""
    with errors_as_exit_codes(as_json=as_json):
        site = peek_site(context)
        make_folders(site.settings.data_dir, site.settings.backups_dir)
        with progress_bar() as show:
            backup = jobs.run(site, tasks.importing(site, file, who()), show)
        if as_json:
            print_json(backup.model_dump(mode="json"))
            return
        typer.echo(
            f"{file} is sound, and is {backup.filename} now. "
            f"To put it in place: fastcms backup restore {backup.filename}"
        )


@backup_app.command("verify")
def verify_backup(context: typer.Context, filename: Filename, as_json: JsonOption = False) -> None:
    """Read a backup whole, and check that it could be restored; nothing is changed."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        with progress_bar() as show:
            verified = jobs.run(site, tasks.verifying(site, filename, who()), show)
        if as_json:
            print_json(verified.model_dump())
            return
        size = naturalsize(verified.size_bytes)
        output.print(f"{filename} is sound: every byte ({size}) is as it was written. It can be restored.")
        show_problems(verified.problems)


@backup_app.command("list")
def list_backups(context: typer.Context, as_json: JsonOption = False) -> None:
    """List all backups, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        backups = service.list_backups(site_of(context))
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
        site = site_of(context)
        backups, restore = service.list_backups(site), restoring.restore_status(site)
        newest = service.find_newest(backups)
        problems = _problems_of(site, newest)
        if as_json:
            print_json(
                {
                    "total": len(backups),
                    "newest": newest.filename if newest else None,
                    "newest_problems": problems,
                    "restore": restore.model_dump(mode="json"),
                }
            )
            return
        output.print(f"Newest backup: {newest.filename if newest else 'none yet'} ({len(backups)} in all)")
        show_problems(problems)
        for sentence in _describe_restore(restore):
            output.print(sentence, markup=False)


def _problems_of(site: Site, backup: Backup | None) -> list[str]:
    """What was wrong when a backup was made, or is wrong with it now."""
    if backup is None:
        return []
    try:
        return service.describe_backup(site, backup.filename).problems
    except FastCMSError as error:
        return [error.message]


def show_problems(problems: list[str]) -> None:
    """Say on standard error what a backup does not hold, or holds damaged."""
    if not problems:
        return
    messages.print(f"[yellow]Warning:[/] this backup has {len(problems)} problem(s):")
    for problem in problems[:_SHOWN_PROBLEMS]:
        messages.print(f"  {problem}", markup=False)
    if len(problems) > _SHOWN_PROBLEMS:
        messages.print(f"  and {len(problems) - _SHOWN_PROBLEMS} more")


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


@backup_app.command("delete")
def delete_backup(
    context: typer.Context, filename: Filename, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Delete a backup for good."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        service.find_backup(site, filename)
        is_only_one = len(service.list_backups(site)) == 1
        warning = "This is the only backup of the site. " if is_only_one else ""
        confirm(f"{warning}Delete {filename} for good?", yes=yes, as_json=as_json)
        service.delete_backup(site, filename)
        if as_json:
            print_json({"status": "deleted", "filename": filename})
        else:
            output.print(f"Deleted {filename}.")


def site_of(context: typer.Context) -> Site:
    """The site, for what needs no database: it may be damaged, and its disk full.

    Raises: ConfigError in a folder that has none.
    """
    site = peek_site(context)
    service.require_site(site)
    return site


def who() -> str:
    """Who types: the name in receipts and logs."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as containers have it
        user = f"user {os.getuid()}"
    return f"{user} (command line)"


@contextmanager
def progress_bar() -> Iterator[Callable[[Job], None]]:
    """A bar that shows a job, on standard error, so that standard output stays clean for --json."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[left]}"),
    )
    with ProgressBar(*columns, console=messages, transient=True) as bar:
        task = bar.add_task("starting", total=None, speed="", left="")

        def show(job: Job) -> None:
            bar.update(
                task,
                description=job.phase,
                completed=job.done_bytes,
                total=job.total_bytes or None,
                speed=f"{naturalsize(job.bytes_per_second)}/s" if job.bytes_per_second else "",
                left="" if job.seconds_left is None else f"{timedelta(seconds=job.seconds_left)} left",
            )

        yield show
