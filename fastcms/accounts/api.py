"""Routes of login, logout and me."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fastcms.accounts import service
from fastcms.accounts.dependencies import CurrentCaller, get_token
from fastcms.accounts.schemas import CallerResponse, LoginRequest, LoginResponse
from fastcms.errors import ConflictError
from fastcms.web import CurrentSite

router = APIRouter(prefix="/auth", tags=["auth"])


def client_address(request: Request) -> str:
    return request.client.host if request.client else "local"


@router.post("/login")
def log_in(body: LoginRequest, request: Request, site: CurrentSite) -> LoginResponse:
    """Log in with email and password; the answer holds a token for the Authorization header."""
    token, login = service.log_in(site, body.email, body.password, client_address(request))
    return LoginResponse(access_token=token, expires=login.expires)


@router.post("/logout", status_code=204)
def log_out(caller: CurrentCaller, token: Annotated[str, Depends(get_token)], site: CurrentSite) -> None:
    """End this session; an API token has none."""
    if caller.kind == "token":
        raise ConflictError(
            f"{caller.name} is an API token, which stays valid until it is revoked.",
            hint="`fastcms token revoke NAME` on the server revokes it.",
            code="not_a_login",
        )
    with site.database.write() as session:
        service.log_out(session, token)


@router.get("/me")
def me(caller: CurrentCaller) -> CallerResponse:
    """Who the token belongs to, and what it may do."""
    return CallerResponse(kind=caller.kind, name=caller.name, scopes=sorted(caller.scopes))
