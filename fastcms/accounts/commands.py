"""`fastcms admin` and `fastcms token`."""

import re
from datetime import timedelta
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from fastcms.accounts import service
from fastcms.accounts.schemas import Role, Scope
from fastcms.database import format_utc
from fastcms.errors import InvalidInputError
from fastcms.site import Site
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

admin_app = typer.Typer(no_args_is_help=True, help="Accounts of admins and editors.")
token_app = typer.Typer(no_args_is_help=True, help="API tokens for programs.")

_DURATION = re.compile(r"(\d{1,5})([hdwy])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}


@admin_app.command("create")
def create_admin(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="The account's email address.")],
    role: Annotated[Role, typer.Option(help="What the account may do.")] = Role.ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Create an account; the password is asked for, or read from FASTCMS_ADMIN_PASSWORD."""
    with errors_as_exit_codes(as_json=as_json):
        password = _ask_password(peek_site(context))
        with open_site(context).database.write() as session:
            account = service.create_account(session, email, password, role)
        if as_json:
            print_json({"id": account.id, "email": account.email, "role": account.role})
        else:
            output.print(f"Created the {account.role} {account.email}.")


@admin_app.command("password")
def set_password(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="The account's email address.")],
    as_json: JsonOption = False,
) -> None:
    """Set a new password and end the account's sessions."""
    with errors_as_exit_codes(as_json=as_json):
        password = _ask_password(peek_site(context))
        with open_site(context).database.write() as session:
            service.set_password(session, email, password)
        if as_json:
            print_json({"email": email})
        else:
            output.print(f"Set a new password for {email}.")


@admin_app.command("list")
def list_accounts(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the accounts of admins and editors."""
    with errors_as_exit_codes(as_json=as_json):
        with open_site(context).database.read() as session:
            accounts = service.list_accounts(session)
        if as_json:
            print_json(
                [
                    {"email": account.email, "role": account.role, "created": account.created}
                    for account in accounts
                ]
            )
            return
        table = Table("Email", "Role", "Created", box=None)
        for account in accounts:
            table.add_row(account.email, account.role, format_utc(account.created)[:16])
        output.print(table)


@admin_app.command("remove")
def remove_account(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="The account's email address.")],
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove an account and end its sessions; the last admin stays."""
    with errors_as_exit_codes(as_json=as_json):
        if not yes:
            typer.confirm(f"Remove the account {email}?", abort=True, err=True)
        with open_site(context).database.write() as session:
            service.delete_account(session, email)
        if as_json:
            print_json({"email": email})
        else:
            output.print(f"Removed {email}.")


@token_app.command("create")
def create_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the token is for, such as `nightly-backup`.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeatable.")] = None,
    expires: Annotated[str, typer.Option(help="When it ends: 12h, 90d, 4w, 1y; default never.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Create an API token and print it, this once. Without --scope it may do everything."""
    with errors_as_exit_codes(as_json=as_json):
        expires_after = _parse_duration(expires) if expires else None
        with open_site(context).database.write() as session:
            token, row = service.create_token(session, name, scope or [Scope.ADMIN], expires_after)
        if as_json:
            print_json(
                {"token": token, "name": row.name, "scopes": row.scopes.split(), "expires": row.expires}
            )
        else:
            typer.echo(token)
            messages.print(f"This is the only time it is shown. It may do: {row.scopes}.")


@token_app.command("list")
def list_tokens(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the API tokens, without their secrets."""
    with errors_as_exit_codes(as_json=as_json):
        with open_site(context).database.read() as session:
            rows = service.list_tokens(session)
        if as_json:
            columns = ("name", "created", "expires", "last_used")
            print_json(
                [{c: getattr(row, c) for c in columns} | {"scopes": row.scopes.split()} for row in rows]
            )
            return
        table = Table("Name", "May do", "Created", "Expires", "Last used", box=None)
        for row in rows:
            table.add_row(
                row.name,
                row.scopes,
                *(format_utc(t)[:16] if t else "never" for t in (row.created, row.expires, row.last_used)),
            )
        output.print(table)


@token_app.command("revoke")
def revoke_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The token's name.")],
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make an API token invalid, at once and for good."""
    with errors_as_exit_codes(as_json=as_json):
        if not yes:
            typer.confirm(f"Revoke the token {name}?", abort=True, err=True)
        with open_site(context).database.write() as session:
            service.revoke_token(session, name)
        if as_json:
            print_json({"name": name})
        else:
            output.print(f"Revoked {name}.")


def _ask_password(site: Site) -> str:
    password: SecretStr | None = site.settings.admin_password
    if password is not None:
        return password.get_secret_value()
    answer: str = typer.prompt(
        "Password (10 characters or more)", hide_input=True, confirmation_prompt=True, err=True
    )
    return answer


def _parse_duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise InvalidInputError(
            f"{text!r} is not a duration.", hint="Write a number and a unit: 12h, 90d, 4w or 1y."
        )
    return int(match[1]) * _UNITS[match[2]]
