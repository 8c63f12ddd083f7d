"""`fastcms backup keygen` and `sheet`: keys for backups, and the paper that says how to use them."""

import os
from pathlib import Path
from typing import Annotated

import typer
from pyrage.x25519 import Identity

from fastcms.age_keys import describe_key_file
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.commands import backup_app
from fastcms.backups.recovery_sheet import RecoverySheet, describe_sheet, render_sheet
from fastcms.database import utc_now
from fastcms.errors import ConflictError, InvalidInputError
from fastcms.terminal import JsonOption, errors_as_exit_codes, messages, output, peek_site, print_json

_KEY_NAME, _SHEET_NAME = Path("backup-key.txt"), Path("recovery-sheet.html")
_STANDARD_OUTPUT = Path("-")


@backup_app.command("keygen")
def make_key(
    context: typer.Context,
    to: Annotated[
        Path, typer.Option("--output", help="A new file for the secret key; `-` prints it.")
    ] = _KEY_NAME,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Write a recovery sheet, too: a new HTML file to print.")
    ] = None,
    with_secret: Annotated[
        bool, typer.Option("--with-secret", help="Put the secret key on the recovery sheet.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys: the public one encrypts backups, the secret one reads them."""
    with errors_as_exit_codes(as_json=as_json):
        if with_secret and sheet is None:
            raise InvalidInputError(
                "--with-secret is about the recovery sheet, and none is written.",
                hint="Add --sheet recovery-sheet.html.",
            )
        identity = Identity.generate()
        public_key = str(identity.to_public())
        key_file = describe_key_file(identity, utc_now())
        if sheet is not None:
            described = describe_sheet(peek_site(context), [public_key], str(identity) if with_secret else "")
            _write_new(sheet, render_sheet(described))
        if to != _STANDARD_OUTPUT:
            try:
                _write_new(to, key_file)
            except BaseException:
                if sheet is not None:  # of a key that nobody has
                    sheet.unlink()
                raise
        if as_json:
            print_json(
                {
                    "public_key": public_key,
                    "key_file": None if to == _STANDARD_OUTPUT else str(to),
                    "secret_key": str(identity) if to == _STANDARD_OUTPUT else None,
                    "sheet": None if sheet is None else str(sheet),
                }
            )
            return
        if to == _STANDARD_OUTPUT:
            typer.echo(key_file, nl=False)
        else:
            output.print(f"Public key: {public_key}", markup=False)
        _say_what_to_do(public_key, to, sheet)


@backup_app.command("sheet")
def write_sheet(
    context: typer.Context,
    to: Annotated[Path, typer.Argument(help="A new HTML file.")] = _SHEET_NAME,
    as_json: JsonOption = False,
) -> None:
    """Write the recovery sheet, to be printed: where the backups are, and how to restore without FastCMS."""
    with errors_as_exit_codes(as_json=as_json):
        site = peek_site(context)
        sheet = describe_sheet(site, read_settings(site).encrypt_to)
        _write_new(to, render_sheet(sheet))
        if as_json:
            print_json(_describe(sheet, to))
            return
        output.print(f"{to} is written. Print it, and keep it away from this machine.", markup=False)
        for warning in _find_gaps(sheet):
            messages.print(f"Warning: {warning}", markup=False)


def _say_what_to_do(public_key: str, to: Path, sheet: Path | None) -> None:
    where = "the secret key" if to == _STANDARD_OUTPUT else f"{to}, which has the secret key,"
    messages.print(
        f"\n1. Keep {where} in two safe places that are not this machine. Without it, nobody can read the "
        "encrypted backups, and nobody can make it again.\n"
        f"2. Set the public key for the server, in its environment or in .env:\n"
        f"   FASTCMS_BACKUP_ENCRYPT_TO={public_key}\n"
        "3. "
        + (f"Print {sheet}." if sheet else "Print the recovery sheet: fastcms backup sheet")
        + (
            ""
            if to == _STANDARD_OUTPUT
            else f"\n4. When you have the copies, delete {to} here: this machine needs it for nothing."
        ),
        markup=False,
    )


def _find_gaps(sheet: RecoverySheet) -> list[str]:
    gaps = []
    if not sheet.places:
        gaps.append("there is no destination, so the sheet cannot say where backups are: write it on it.")
    if not sheet.public_keys:
        gaps.append("copies are not encrypted: see fastcms backup keygen.")
    return gaps


def _describe(sheet: RecoverySheet, to: Path) -> dict[str, object]:
    return {
        "sheet": str(to),
        "public_keys": list(sheet.public_keys),
        "places": [place.address for place in sheet.places],
    }


def _write_new(path: Path, content: str) -> None:
    """Write a file of mode 0600 that was not there before."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConflictError(
            f"{path} is there already.",
            hint="Choose another name. A key that is overwritten can be made again by nobody.",
            code="target_exists",
        ) from error
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Choose another place.",
            code="target_unwritable",
        ) from error
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
