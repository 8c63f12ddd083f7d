"""`fastcms backup download`: bring a backup from a destination as a file, also where there is no site."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from humanize import naturalsize
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar

from fastcms.backups.commands import backup_app
from fastcms.backups.engine.progress import Progress
from fastcms.backups.fetching import read_decrypted, read_stored
from fastcms.backups.folder import explained
from fastcms.backups.stored import filename_of, find_stored
from fastcms.backups.stored_terminal import IdentityOption, open_target, require_object_name, warn_of
from fastcms.durability import new_file, require_free_space
from fastcms.errors import ConflictError
from fastcms.noting import note
from fastcms.terminal import JsonOption, errors_as_exit_codes, messages, output, peek_site, print_json


@backup_app.command("download")
def download_backup(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS/NAME",
            help="A destination's id or address, and a backup's name, such as "
            "s3://bucket/folder/backup_20250115_100000.zip.age.",
        ),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to put it; without it, this folder.")
    ] = None,
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup from a destination as a file; with a key, an encrypted one is decrypted."""
    with errors_as_exit_codes(as_json=as_json):
        target = open_target(peek_site(context), address, identity)
        object_name = require_object_name(target, "download")
        note(filename=object_name)
        source = target.source
        stored = find_stored(source.store, object_name)
        warn_of(stored)
        is_decrypted = stored.is_encrypted and bool(source.identities)
        path = to or Path(filename_of(object_name) if is_decrypted else object_name)
        if path.exists():
            raise ConflictError(f"There is already a file {path}.", hint="Choose another name: --to FILE.")
        read = read_decrypted if is_decrypted else read_stored
        with explained("The download"), _bar() as show:
            require_free_space(path.absolute().parent, stored.size_bytes, "The download")
            with closing(read(source, object_name, show)) as chunks:
                size_bytes, sha256 = _write(path, chunks)
        if as_json:
            facts = {"path": str(path), "size_bytes": size_bytes, "sha256": sha256}
            print_json(facts | {"is_encrypted": stored.is_encrypted and not is_decrypted})
            return
        output.print(f"{path} ({naturalsize(size_bytes)}), SHA-256 {sha256}", markup=False)
        if stored.is_encrypted and not is_decrypted:
            output.print(
                f"It is encrypted: age -d -i key.txt -o {filename_of(path.name)} {path}", markup=False
            )


def _write(path: Path, chunks: Iterator[bytes]) -> tuple[int, str]:
    """Returns: how many bytes, and their SHA-256. On disk: the whole file, or nothing."""
    sha256 = hashlib.sha256()
    with new_file(path) as file:
        for chunk in chunks:
            sha256.update(chunk)
            file.write(chunk)
        return file.tell(), sha256.hexdigest()


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
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
