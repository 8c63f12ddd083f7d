"""`fastcms content`."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fastcms.content import service
from fastcms.content.exporting import export_records
from fastcms.content.importing import ImportReport, import_records
from fastcms.content.reading import FileFormat, format_of
from fastcms.database import new_id
from fastcms.errors import InvalidInputError
from fastcms.noting import note
from fastcms.terminal import (
    JsonOption,
    YesOption,
    errors_as_exit_codes,
    messages,
    open_site,
    output,
    print_json,
)

content_app = typer.Typer(no_args_is_help=True, help="Collections, and their records in bulk.")

_ROWS_REFUSED = 2  # the exit code of input that does not fit

CollectionOption = Annotated[str, typer.Option("--collection", "-c", help="Name of the collection.")]
FormatOption = Annotated[
    FileFormat | None, typer.Option("--format", help="Default: what the file's name ends with.")
]


@content_app.command("list")
def list_collections(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the collections, their fields and how many records each has."""
    with errors_as_exit_codes(as_json=as_json):
        with open_site(context).database.read() as session:
            found = service.list_collections(session)
            counts = {row.id: service.count_records(session, row) for row in found}
        if as_json:
            rows = []
            for row in found:
                listed = {"name": row.name, "records": counts[row.id], "public": row.is_public}
                rows.append(listed | {"schema": row.fields})
            print_json(rows)
            return
        table = Table("Name", "Records", "Readable by", "Fields", box=None)
        for row in found:
            fields = ", ".join(f"{field['name']} ({field['type']})" for field in row.fields)
            table.add_row(row.name, str(counts[row.id]), "anyone" if row.is_public else "accounts", fields)
        output.print(table)


@content_app.command("import")
def import_file(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(help="A .json (array of objects), .jsonl or .csv file.")],
    collection: CollectionOption,
    create: Annotated[
        bool, typer.Option("--create", help="Make the collection, with fields inferred from the file.")
    ] = False,
    file_format: FormatOption = None,
    show: Annotated[int, typer.Option(min=0, help="How many refusals to print; --json has all.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Import records from a file. Rows that fit go in; the others are reported, and the exit code is 2."""
    with errors_as_exit_codes(as_json=as_json):
        site = open_site(context)
        with _progress() as progress:
            task = progress.add_task(f"Importing {escape(file.name)}", total=None)
            report = import_records(
                site.database,
                collection,
                file,
                format_of(file, file_format),
                can_create=create,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        note(name=report.collection, records=report.imported, record=file.name)
        if as_json:
            print_json(asdict(report) | {"refused": report.refused})
        else:
            _print_report(report, show)
    if report.refused:
        raise typer.Exit(_ROWS_REFUSED)


@content_app.command("export")
def export_file(
    context: typer.Context,
    *,
    collection: CollectionOption,
    file: Annotated[Path | None, typer.Argument(help="Where to; default the terminal.")] = None,
    file_format: FormatOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export all records, with their ids and times, as JSON, JSON lines or CSV."""
    with errors_as_exit_codes(as_json=as_json):
        chosen = format_of(file, file_format) if file else file_format or FileFormat.JSON
        if file and file.is_file() and not yes:  # asked before anything is held
            typer.confirm(f"Replace {file}?", abort=True, err=True)
        site = open_site(context)
        with site.database.read() as session, _progress() as progress:
            found = service.find_collection(session, collection)
            total = service.count_records(session, found)
            task = progress.add_task(f"Exporting {escape(found.name)}", total=total)
            with _target(file) as target:
                for piece in export_records(session, found, chosen):
                    target.write(piece)
                    progress.advance(task)
            progress.update(task, completed=total)
        if as_json and file:
            print_json({"collection": found.name, "exported": total, "file": str(file)})
        elif file:
            output.print(f"Exported {total} records of {found.name} to {escape(str(file))}.")


@contextmanager
def _target(file: Path | None) -> Iterator[TextIO]:
    """The terminal, a pipe or device, or a file that gets its name when it is complete."""
    if file is None:
        yield sys.stdout
        return
    try:
        if file.exists() and not file.is_file():
            with file.open("w", encoding="utf-8", newline="") as target:
                yield target
        else:
            with _replaced(file.resolve()) as target:  # what a link leads to
                yield target
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be written: {error.strerror}.") from error


@contextmanager
def _replaced(file: Path) -> Iterator[TextIO]:
    beside = file.with_name(f".fastcms-export-{new_id()}.partial")
    try:
        with beside.open("x", encoding="utf-8", newline="") as target:
            yield target
        if file.exists():
            shutil.copymode(file, beside)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
    )


def _print_report(report: ImportReport, show: int) -> None:
    if report.is_new_collection:
        messages.print(f"Made the collection {report.collection}.")
    output.print(f"Imported {report.imported} records into {report.collection}; refused {report.refused}.")
    for refusal in report.refusals[:show]:
        field = f", {refusal.field}" if refusal.field else ""
        messages.print(escape(f"  Row {refusal.row}{field}: {refusal.reason}"))
    if len(report.refusals) > show:
        messages.print(f"  ... and {len(report.refusals) - show} more: --json prints all.")
