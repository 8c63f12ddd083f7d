"""The dashboard's pages of accounts and API tokens."""

from datetime import timedelta
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.accounts import service
from fastcms.accounts.schemas import Role, Scope
from fastcms.errors import FastCMSError, InvalidInputError
from fastcms.pages import Page, errors_as_messages, form_text, in_read, in_words, in_write

# What each scope allows, for people who do not read API documentation.
SCOPE_MEANINGS = {
    Scope.BACKUPS_CREATE: "Create backups",
    Scope.BACKUPS_READ: "List backups",
    Scope.METRICS_READ: "Read metrics",
    Scope.CONTENT_READ: "Read collections, records and files",
    Scope.CONTENT_WRITE: "Read and change records and files",
    Scope.ADMIN: "Everything",
}
ROLE_MEANINGS = {
    Role.EDITOR: "Works on content and files",
    Role.ADMIN: "May do everything",
}
EXPIRIES = {"": "Never", "30": "In 30 days", "90": "In 90 days", "365": "In a year"}


class AccountsPage(Page):
    menu_label = "Accounts"
    menu_section = "Site"
    icon = "fa-solid fa-users"
    path = "/accounts"
    route_name = "accounts"

    @route("")
    async def index(self, request: Request) -> Response:
        accounts = await in_read(request, service.list_accounts)
        return self.render(request, "accounts.html", accounts=accounts, roles=ROLE_MEANINGS)

    @route("/create", methods=["POST"], name="accounts-create")
    @errors_as_messages
    async def create(self, request: Request) -> Response:
        email = await form_text(request, "email")
        password = str((await request.form()).get("password") or "")
        role = _parse_role(await form_text(request, "role"))
        await in_write(request, service.create_account, email, password, role)
        return self.done(request, f"{email} can log in now.")

    @route("/delete", methods=["POST"], name="accounts-delete")
    @errors_as_messages
    async def delete(self, request: Request) -> Response:
        email = await form_text(request, "email")
        await in_write(request, service.delete_account, email)
        return self.done(request, f"Removed {email}; their sessions have ended.")


class TokensPage(Page):
    menu_label = "API tokens"
    menu_section = "Site"
    icon = "fa-solid fa-key"
    path = "/tokens"
    route_name = "tokens"

    @route("")
    async def index(self, request: Request) -> Response:
        return await self._list(request)

    @route("/create", methods=["POST"], name="tokens-create")
    async def create(self, request: Request) -> Response:
        """Show the new token on the answer itself: it is in no cookie, no address and no later page."""
        try:
            name = await form_text(request, "name")
            scopes = _parse_scopes(cast("list[str]", (await request.form()).getlist("scope")))
            expires_after = _parse_expiry(await form_text(request, "expires"))
            token, _row = await in_write(request, service.create_token, name, scopes, expires_after)
        except FastCMSError as error:
            return await self._list(request, status=422, error=in_words(error))
        return await self._list(request, new_token=token, new_name=name)

    @route("/revoke", methods=["POST"], name="tokens-revoke")
    @errors_as_messages
    async def revoke(self, request: Request) -> Response:
        name = await form_text(request, "name")
        await in_write(request, service.revoke_token, name)
        return self.done(request, f"Revoked {name}: programs that use it are refused from now on.")

    async def _list(self, request: Request, *, status: int = 200, **context: str) -> Response:
        tokens = await in_read(request, service.list_tokens)
        return self.render(
            request,
            "tokens.html",
            status=status,
            tokens=tokens,
            scopes=SCOPE_MEANINGS,
            expiries=EXPIRIES,
            **context,
        )


def _parse_role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError as error:
        raise InvalidInputError("Choose a role: editor or admin.") from error


def _parse_scopes(texts: list[str]) -> list[Scope]:
    if not texts:
        raise InvalidInputError("Choose what the token may do.")
    try:
        return [Scope(text) for text in texts]
    except ValueError as error:
        raise InvalidInputError("Choose what the token may do from the list.") from error


def _parse_expiry(text: str) -> timedelta | None:
    if text not in EXPIRIES:
        raise InvalidInputError("Choose from the list when the token expires.")
    return timedelta(days=int(text)) if text else None
