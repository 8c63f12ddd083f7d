"""Who is calling, and may they: FastAPI dependencies for the other domains' routes."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fastcms.accounts.schemas import Caller, Scope
from fastcms.accounts.service import authenticate
from fastcms.accounts.setup_visit import SETUP_COOKIE, find_setup_visitor
from fastcms.errors import NotAuthenticatedError, PermissionDeniedError
from fastcms.noting import note
from fastcms.site import Site
from fastcms.web import CurrentSite

SESSION_COOKIE = "fastcms_session"
_SETUP_VISITORS_PATH = "/api/v1/backups"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

_bearer = HTTPBearer(auto_error=False, description="A login's access_token, or an API token.")


def get_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str | None:
    """The token of a request: its Authorization header, or the dashboard's cookie."""
    if credentials is not None:
        return credentials.credentials
    token = request.cookies.get(SESSION_COOKIE)
    if token is not None:
        _require_same_origin(request)
    return token


def _require_same_origin(request: Request) -> None:
    """Before a cookie counts for something: browsers send it with forms of other sites, too."""
    if request.method not in _SAFE_METHODS and not _is_same_origin(request):
        raise PermissionDeniedError(
            "This request comes from another site.",
            hint="Send the token in the Authorization header.",
            code="cross_origin",
        )


def _is_same_origin(request: Request) -> bool:
    """Browsers send a cookie along with other sites' requests, but say so in a header that scripts can't set.

    Source: https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Sec-Fetch-Site
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and origin.split("://")[-1] == request.headers.get("host")


def find_caller(
    request: Request, site: CurrentSite, token: Annotated[str | None, Depends(get_token)]
) -> Caller | None:
    """Who is calling; None for someone without a token."""
    # First: the browser may still have the session of a machine that is lost, at the same address.
    caller = _find_setup_visitor(request, site)
    if caller is None and token is not None:
        caller = authenticate(site.database, token)
    if caller is not None:
        note(caller=caller)
    return caller


def _find_setup_visitor(request: Request, site: Site) -> Caller | None:
    """Whoever restores a backup into a new site: its page uses the API, as the dashboard does."""
    path = request.url.path.removeprefix(request.scope["root_path"])
    if not path.startswith(_SETUP_VISITORS_PATH):
        return None
    visitor = find_setup_visitor(site, request.cookies.get(SETUP_COOKIE))
    if visitor is not None:
        _require_same_origin(request)
    return visitor


OptionalCaller = Annotated[Caller | None, Depends(find_caller)]


def get_caller(caller: OptionalCaller) -> Caller:
    if caller is None:
        raise NotAuthenticatedError(
            "This needs a login or an API token.", hint="Send `Authorization: Bearer TOKEN`."
        )
    return caller


CurrentCaller = Annotated[Caller, Depends(get_caller)]


def require(scope: Scope) -> Callable[[Caller], Caller]:
    """A dependency that lets only callers with this scope through."""

    def check(caller: CurrentCaller) -> Caller:
        check_scope(caller, scope)
        return caller

    return check


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raise PermissionDeniedError unless the caller has the scope."""
    if not caller.may(scope):
        raise PermissionDeniedError(
            f"{caller.name} may not do this: it needs the scope {scope}.",
            hint="Ask an admin, or use a token that has this scope.",
        )


AdminCaller = Annotated[Caller, Depends(require(Scope.ADMIN))]
