"""The dashboard's page of keys: whether copies leave the machine encrypted, and who can read them then.

A secret key stands in one answer, which no cache keeps (all pages are `no-store`), and nowhere else.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette_admin import route

from fastcms.backups import copy_keys
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.recovery_sheet import describe_sheet, render_sheet
from fastcms.errors import ConflictError, FastCMSError, InvalidInputError
from fastcms.noting import note
from fastcms.pages import (
    Page,
    can_be_overheard,
    errors_as_messages,
    form_text,
    get_site,
    get_visitor,
    in_thread,
    in_words,
)
from fastcms.site import Site


class KeysPage(Page):
    path = "/backups/keys"
    route_name = "backup-keys"

    def title(self, request: Request) -> str:  # noqa: ARG002 - starlette-admin asks with it
        return "Encryption of copies"

    @route("")
    async def index(self, request: Request) -> Response:
        return await self._show(request)

    @route("/make", methods=["POST"], name="backup-keys-make")
    async def make(self, request: Request) -> Response:
        """Make a pair of keys, and show it: this once."""
        pair = await in_thread(copy_keys.make_pair, get_site(request))
        sheet = _with_nonce(request, pair.sheet)
        return self._show_pair(request, pair=pair, sheet=sheet, public_key=pair.public_key, proof=pair.proof)

    @route("/confirm", methods=["POST"], name="backup-keys-confirm")
    @errors_as_messages
    async def confirm(self, request: Request) -> Response:
        """Turn encryption to a new key on, for somebody who has its secret key."""
        names = ("public_key", "proof", "ending")
        public_key, proof, typed = [await form_text(request, name) for name in names]
        site, visitor = get_site(request), get_visitor(request)
        try:
            await in_thread(copy_keys.confirm_pair, site, public_key, proof, typed, visitor.name)
        except InvalidInputError as error:
            if error.code != "key_not_confirmed":
                raise
            note(refusal=error.message)
            return self._show_pair(request, public_key=public_key, proof=proof, problem=in_words(error))
        return self.done(request, "From now on, copies leave this machine encrypted to the new key.")

    @route("/add", methods=["POST"], name="backup-keys-add")
    async def add(self, request: Request) -> Response:
        """Encrypt to a key of one's own. What cannot be one is not shown again: it may be secret."""
        text, visitor = await form_text(request, "public_key"), get_visitor(request)
        try:
            added = await in_thread(copy_keys.add_keys, get_site(request), text, visitor.name)
        except (InvalidInputError, ConflictError) as error:
            note(refusal=error.message)
            return await self._show(request, error)
        keys = "the key" if len(added) == 1 else f"{len(added)} keys"
        return self.done(request, f"Added {keys}: copies are encrypted to it from now on, too.")

    @route("/remove", methods=["POST"], name="backup-keys-remove")
    @errors_as_messages
    async def remove(self, request: Request) -> Response:
        public_key, visitor = await form_text(request, "public_key"), get_visitor(request)
        await in_thread(copy_keys.remove_key, get_site(request), public_key, visitor.name)
        return self.done(request, "Removed. Keep its secret key: older copies may need it.")

    @route("/off", methods=["POST"], name="backup-keys-off")
    @errors_as_messages
    async def turn_off(self, request: Request) -> Response:
        await in_thread(copy_keys.turn_off, get_site(request), get_visitor(request).name)
        return self.done(request, "Encryption is off: from now on, copies leave this machine as they are.")

    @route("/sheet", name="backup-keys-sheet")
    async def sheet(self, request: Request) -> Response:
        """The recovery sheet, without any secret."""
        return HTMLResponse(_with_nonce(request, await in_thread(_render_sheet, get_site(request))))

    async def _show(self, request: Request, error: FastCMSError | None = None) -> Response:
        found = await in_thread(copy_keys.describe_encryption, get_site(request))
        problem, status = (in_words(error), 422) if error else ("", 200)
        facts = {"encryption": found, "problem": problem, "can_be_overheard": can_be_overheard(request)}
        return self.render(request, "backup_keys.html", status=status, **facts)

    def _show_pair(self, request: Request, *, problem: str = "", **facts: Any) -> Response:
        facts = {"pair": None, "problem": problem} | facts
        status = 422 if problem else 200
        return self.render(request, "backup_key_made.html", status=status, title="A new key", **facts)


def _render_sheet(site: Site) -> str:
    return render_sheet(describe_sheet(site, read_settings(site).encrypt_to))


def _with_nonce(request: Request, sheet: str) -> str:
    """Let the sheet's own style through the dashboard's Content-Security-Policy."""
    return sheet.replace("<style>", f'<style nonce="{request.state.csp_nonce}">', 1)
