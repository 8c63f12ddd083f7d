"""`fastcms backup`: the same as the API, beside a running server or without one.

Those of restores, jobs, status, settings, retention and notifications are in modules of these names.
"""

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
from rich.table import Column, Table

from fastcms.backups import deletion, jobs, service, tasks
from fastcms.backups.backup_notes import VerificationLevel, VerificationOutcome
from fastcms.backups.job_files import Job
from fastcms.backups.schemas import (
    Backup,
    describe_created,
    describe_list,
)
from fastcms.backups.sources import open_source
from fastcms.backups.stored import list_stored, split_address
from fastcms.backups.stored_terminal import (
    MOST_SHOWN,
    IdentityOption,
    find_import_keys,
    is_elsewhere,
    open_target,
    require_object_name,
    show_stored,
)
from fastcms.backups.verification_report import Trial, VerifiedBackup
from fastcms.backups.whereabouts import copies_of
from fastcms.noting import note
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
    who,
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
        output.print(f"Created {backup.path} ({naturalsize(backup.size_bytes)}).")
        for problem in backup.problems:
            messages.print(f"[yellow]Warning:[/] {escape(problem)}")


@backup_app.command("import")
def import_backup(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="An archive from another machine, under any name; .zip.age is decrypted.")
    ],
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check an archive from another machine, and copy it to the backups of this site."""
    with errors_as_exit_codes(as_json=as_json):
        site = peek_site(context)
        keys = find_import_keys(site, file, identity)
        make_folders(site.settings.data_dir, site.settings.backups_dir)
        with progress_bar() as show:
            backup = jobs.run(site, tasks.importing(site, file, who(), keys), show)
        if as_json:
            print_json(backup.model_dump(mode="json"))
            return
        typer.echo(
            f"{file} is sound, and is {backup.filename} now. "
            f"To put it in place: fastcms backup restore {backup.filename}"
        )


@backup_app.command("verify")
def verify_backup(
    context: typer.Context,
    filename: Annotated[
        str,
        typer.Argument(help="A backup's name; with a destination's id or address before it, the one there."),
    ],
    light: Annotated[
        bool,
        typer.Option("--light", help="Only compare every byte with its checksum, and check the database."),
    ] = False,
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a scratch folder, as a test, and read the site; nothing is changed."""
    with errors_as_exit_codes(as_json=as_json):
        level = VerificationLevel.LIGHT if light else VerificationLevel.FULL
        if is_elsewhere(filename):
            site, task = _verifying_elsewhere(context, filename, identity, level)
        else:
            site = site_of(context)
            task = tasks.verifying(site, filename, who(), level=level)
        with progress_bar() as show:
            verified = jobs.run(site, task, show)
        if as_json:
            print_json(verified.model_dump(mode="json"))
            return
        size = naturalsize(verified.size_bytes)
        output.print(f"{filename} is sound: every byte ({size}) is as it was written.", markup=False)
        if verified.trial is not None:
            _show_trial(verified.trial)
        show_problems(verified.problems)


def _verifying_elsewhere(
    context: typer.Context, address: str, identity: Path | None, level: VerificationLevel
) -> tuple[Site, jobs.Task[VerifiedBackup]]:
    site = peek_site(context)
    note(filename=split_address(address)[1])  # not what was typed: there may be a password in it
    target = open_target(site, address, identity)
    object_name = require_object_name(target, "verify")
    make_folders(site.settings.data_dir, site.settings.backups_dir)
    return site, tasks.verifying_stored(site, target.source, object_name, who(), level=level)


def _show_trial(trial: Trial) -> None:
    read = f"{trial.files_read} file(s) ({naturalsize(trial.files_read_bytes)})"
    output.print(f"A site was restored from it, started, and read through its API, with {read}.")
    if trial.was_migrated:
        output.print(f"It was migrated from {trial.schema_revision_before} to {trial.schema_revision_after}.")
    columns = (Column(name, justify="right") for name in ("In the backup", "On the live site now"))
    table = Table("", *columns, box=None)
    for count in trial.contents:
        table.add_row(
            escape(count.name), f"{count.backup:,}", "" if count.live is None else f"{count.live:,}"
        )
    output.print(table)


@backup_app.command("list")
def list_backups(
    context: typer.Context,
    destination: Annotated[
        str | None,
        typer.Argument(help="List those that are kept there: a destination's id, or any address."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List all backups, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        if destination is not None:
            _list_elsewhere(context, destination, as_json=as_json)
            return
        site = site_of(context)
        backups = service.list_backups(site)
        if as_json:
            print_json(describe_list(backups, copies_of(site, backups)).model_dump())
            return
        if not backups:
            output.print("There are no backups yet: make one with `fastcms backup create`.")
            return
        table = Table("Filename", "Created (UTC)", "Size", "Kind", "Notes", box=None)
        for backup in backups:
            table.add_row(
                backup.filename,
                f"{backup.created:%Y-%m-%d %H:%M:%S}",
                naturalsize(backup.size_bytes),
                backup.kind,
                ", ".join(_describe_notes(backup)),
            )
        output.print(table)


def _list_elsewhere(context: typer.Context, destination: str, *, as_json: bool) -> None:
    place, _name = split_address(destination)
    stored = list_stored(open_source(peek_site(context), place, ()).store, per_page=MOST_SHOWN)
    if as_json:
        print_json(stored.model_dump(mode="json"))
    else:
        show_stored(stored)


def _describe_notes(backup: Backup) -> Iterator[str]:
    if backup.notes.pinned is not None:
        yield "pinned"
    if backup.notes.verified_outcome == VerificationOutcome.OK:
        yield "verified"
    elif backup.notes.verified_outcome == VerificationOutcome.FAILED:
        yield "[red]damaged[/]"


def show_problems(problems: list[str]) -> None:
    """Say on standard error what a backup does not hold, or holds damaged."""
    if not problems:
        return
    messages.print(f"[yellow]Warning:[/] this backup has {len(problems)} problem(s):")
    for problem in problems[:_SHOWN_PROBLEMS]:
        messages.print(f"  {problem}", markup=False)
    if len(problems) > _SHOWN_PROBLEMS:
        messages.print(f"  and {len(problems) - _SHOWN_PROBLEMS} more")


@backup_app.command("delete")
def delete_backup(
    context: typer.Context, filename: Filename, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Delete a backup for good; one that is pinned or in use stays."""
    with errors_as_exit_codes(as_json=as_json):
        site = site_of(context)
        deletion.require_free_to_go(site, filename)
        is_only_one = len(service.list_backups(site)) == 1
        warning = "This is the only backup of the site. " if is_only_one else ""
        confirm(f"{warning}Delete {filename} for good?", yes=yes, as_json=as_json)
        deletion.delete_backup(site, filename, who())
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
