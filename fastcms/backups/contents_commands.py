"""`fastcms backup show`, `files` and `extract`: what is in a backup, and one file out of it."""

from pathlib import Path
from typing import Annotated

import typer
from humanize import naturalsize
from rich.markup import escape
from rich.table import Column, Table

from fastcms.backups import archive_contents
from fastcms.backups.archive_contents import BackupContents, SchemaFit
from fastcms.backups.commands import Filename, backup_app, show_problems, site_of
from fastcms.durability import new_file
from fastcms.errors import ConflictError, InvalidInputError
from fastcms.media.names import clean_filename
from fastcms.terminal import JsonOption, errors_as_exit_codes, messages, output, print_json

_FITS = {
    SchemaFit.SAME: "this FastCMS restores it as it is",
    SchemaFit.MIGRATED: "this FastCMS restores and migrates it",
    SchemaFit.TOO_NEW: "made by a newer FastCMS: update before you restore it",
}


@backup_app.command("show")
def show_contents(context: typer.Context, filename: Filename, as_json: JsonOption = False) -> None:
    """Show what is in a backup, beside what the site has now."""
    with errors_as_exit_codes(as_json=as_json):
        found = archive_contents.describe_contents(site_of(context), filename)
        if as_json:
            print_json(found.model_dump(mode="json"))
            return
        _show(found)


@backup_app.command("files")
def list_files(
    context: typer.Context,
    filename: Filename,
    search: Annotated[str, typer.Option("--search", help="A part of the filename, or its id.")] = "",
    page: Annotated[int, typer.Option("--page", min=1, help="Which hundred of them.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """List the uploaded files in a backup, newest first."""
    with errors_as_exit_codes(as_json=as_json):
        found = archive_contents.list_files(
            site_of(context), filename, search=search, page=page, per_page=100
        )
        if as_json:
            print_json(found.model_dump(mode="json"))
            return
        table = Table("Path in the backup", "Name", Column("Size", justify="right"), "Uploaded", box=None)
        for file in found.items:
            uploaded = f"{file.uploaded:%Y-%m-%d %H:%M}" if file.uploaded else ""
            table.add_row(escape(file.path), escape(file.filename), naturalsize(file.size_bytes), uploaded)
        if found.items:
            output.print(table)
        output.print(f"{len(found.items)} of {found.total} file(s).")
        if found.names_problem:
            messages.print(f"Some names are not known: {found.names_problem}", markup=False)


@backup_app.command("extract")
def extract_file(
    context: typer.Context,
    filename: Filename,
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="Its path, as `fastcms backup files` lists it.")
    ],
    to: Annotated[
        Path, typer.Option("--to", help="A new file, or a folder. By default the working directory.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take one file out of a backup, under the name that it was uploaded with; nothing is overwritten."""
    with errors_as_exit_codes(as_json=as_json):
        file, pieces = archive_contents.open_file(site_of(context), filename, path)
        target = to / clean_filename(file.filename) if to.is_dir() else to
        try:
            if target.exists():
                raise ConflictError(
                    f"{target} is there already.", hint="Choose another name with --to.", code="target_exists"
                )
            with new_file(target) as written:
                written.writelines(pieces)
        except OSError as error:
            raise InvalidInputError(
                f"{target} cannot be written: {error.strerror}.",
                hint="Choose another place with --to.",
                code="target_unwritable",
            ) from error
        finally:
            pieces.close()
        if as_json:
            print_json(file.model_dump(mode="json") | {"written_to": str(target)})
            return
        output.print(f"Wrote {target} ({naturalsize(file.size_bytes)}).", markup=False)
        if file.is_damaged:
            messages.print(
                "[yellow]Warning:[/] when the backup was made, it was not what had been uploaded any more."
            )


def _show(found: BackupContents) -> None:
    output.print(
        f"{found.filename}: {naturalsize(found.size_bytes)}, by FastCMS {found.app_version}.", markup=False
    )
    output.print(f"Schema {found.schema_revision}: {_FITS[found.schema_fit]}.", markup=False)
    output.print(
        f"database.db: {naturalsize(found.database_size_bytes)}, SHA-256 {found.database_sha256}\n"
        f"files/: {found.files:,} file(s), {naturalsize(found.files_size_bytes)}"
    )
    columns = (Column(name, justify="right") for name in ("In the backup", "On the live site now"))
    table = Table("", *columns, box=None)
    for count in found.counts:
        table.add_row(escape(count.name), *("" if n is None else f"{n:,}" for n in (count.then, count.now)))
    output.print(table)
    show_problems(found.problems)
    if found.names_problem:
        messages.print(f"Some files' names are not known: {found.names_problem}", markup=False)
