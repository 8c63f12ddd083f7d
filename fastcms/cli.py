"""The `fastcms` command. Each domain brings its own subcommands."""

from pathlib import Path
from typing import Annotated

import typer

import fastcms
from fastcms.accounts.commands import admin_app, token_app
from fastcms.activity.commands import activity
from fastcms.activity.terminal import record_commands
from fastcms.backups import (  # noqa: F401 - they add to backup_app
    contents_commands,
    destination_commands,
    download_commands,
    job_commands,
    key_commands,
    notification_commands,
    restore_commands,
    retention_commands,
    settings_commands,
    status_commands,
)
from fastcms.backups.commands import backup_app
from fastcms.config import LogLevel, load_settings
from fastcms.content.commands import content_app
from fastcms.doctor.commands import doctor
from fastcms.logs import configure_logs
from fastcms.noting import note
from fastcms.site import Site, new_site, refuse_wrong_user
from fastcms.startup import hold_folder, restore_without_server, use_site
from fastcms.terminal import CommandContext, errors_as_exit_codes

app = typer.Typer(
    name="fastcms",
    no_args_is_help=True,
    help=fastcms.__doc__,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(admin_app, name="admin")
app.add_typer(token_app, name="token")
app.add_typer(content_app, name="content")
app.add_typer(backup_app, name="backup")
app.command()(doctor)
app.command("activity")(activity)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(fastcms.__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - Typer needs the parameter
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    def peek_site(data_dir: Path | None = None) -> Site:
        site = _site(data_dir)
        note(site=site)
        return site

    def open_site() -> Site:
        site = peek_site()
        context.with_resource(use_site(site, f"fastcms {context.invoked_subcommand}"))
        return site

    def hold(site: Site) -> None:
        context.with_resource(hold_folder(site, f"fastcms {context.invoked_subcommand}"))

    context.obj = CommandContext(peek_site, open_site, hold, restore_without_server)


def _site(data_dir: Path | None) -> Site:
    settings = load_settings()
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": data_dir})
    # A command says in words what it has done; what a server would note of it is for --json no help.
    configure_logs(settings.model_copy(update={"log_level": LogLevel.WARNING}))
    refuse_wrong_user(settings)
    return new_site(settings)


@app.command()
def serve() -> None:
    """Run the server at FASTCMS_HOST and FASTCMS_PORT."""
    from fastcms.serving import run_server  # noqa: PLC0415 - uvicorn takes long to import

    with errors_as_exit_codes():
        run_server(load_settings())


record_commands(app)
