"""`fastcms activity`."""

from typing import Annotated

import typer

from fastcms.activity import service
from fastcms.activity.schemas import Entry, Outcome
from fastcms.terminal import JsonOption, errors_as_exit_codes, output, peek_site, print_json


def activity(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=service.MOST_ENTRIES, help="How many lines.")] = 50,
    search: Annotated[str, typer.Option(help="Only lines with this text in them.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List who did what, newest first: through the API, the dashboard and the terminal."""
    with errors_as_exit_codes(as_json=as_json):
        found = service.list_entries(peek_site(context), per_page=limit, search=search)
        if as_json:
            print_json(found.model_dump(mode="json"))
            return
        if not found.items:
            output.print("Nothing so far.")
        for entry in found.items:
            output.print(_line(entry), markup=False)


def _line(entry: Entry) -> str:
    line = f"{entry.until:%Y-%m-%d %H:%M:%S} UTC  {entry.who}: {entry.sentence}."
    if entry.address:
        line += f" From {entry.address}."
    if entry.outcome is Outcome.REFUSED:
        line += f" Refused: {entry.reason}"
    return line
