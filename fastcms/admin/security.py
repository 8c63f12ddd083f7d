"""A strict Content-Security-Policy: scripts run only from this server or with the answer's own nonce."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2.ext import Extension
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastcms.site import Site

# style-src-attr: starlette-admin's templates and select2 carry style="..." attributes, which take no nonce.
# Scripts cannot be hidden in them, and no address outside 'self' can be fetched through them.
_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
    "style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_NONCE = 'nonce="{{ request.state.csp_nonce }}"'
# Event handlers in attributes cannot carry a nonce; static/js/dashboard.js does what these two did.
_HANDLERS = {
    'onclick="applyColumnVisibility()"': "data-apply-columns",
    'onchange="window.location = this.value"': "data-go-to-value",
}


def policy(nonce: str) -> str:
    """The header of the answer that has this nonce in its scripts and styles."""
    return _POLICY.format(nonce=nonce)


class ContentSecurityPolicy:
    """Give each answer of the dashboard a nonce of its own, and keep pages out of caches."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["csp_nonce"] = nonce

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = policy(nonce)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Cache-Control"] = "no-store"  # "back" after logging out shows nothing
            await send(message)

        await self.app(scope, receive, send_with_policy)


class NonceExtension(Extension):
    """Write the nonce into every <script> and <style> of the templates, before they are compiled.

    What a template inserts comes later, so a value from a visitor never gets one.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        for tag in ("<script", "<style"):
            source = source.replace(tag, f"{tag} {_NONCE}")
        for handler, attribute in _HANDLERS.items():
            source = source.replace(handler, attribute)
        return source


@dataclass(frozen=True)
class SigningKeys:
    """The site's secret as itsdangerous takes it, read when the first request comes and not before."""

    site: Site

    def __iter__(self) -> Iterator[str]:
        yield self.site.secret_key
