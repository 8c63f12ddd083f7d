"""Log in, log out, and set up a new site, in the browser."""

from sqlalchemy.orm import Session
from starlette.middleware import Middleware
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from starlette_admin.auth import AdminUser, AuthProvider
from starlette_admin.auth.base import AuthMiddleware
from starlette_admin.helpers import safe_redirect_url, wrap_endpoint_with_kwargs

from fastcms.accounts import service
from fastcms.accounts.api import client_address
from fastcms.accounts.dependencies import SESSION_COOKIE
from fastcms.accounts.models import LoginSession
from fastcms.accounts.schemas import Caller, Scope
from fastcms.admin.navigation import remember_collections
from fastcms.admin.setup_restore import SETUP_RESTORE_ROUTES, SetupRestore
from fastcms.content.models import Collection
from fastcms.content.service import list_collections
from fastcms.errors import FastCMSError, NotAuthenticatedError, TooManyAttemptsError, status_of
from fastcms.noting import note
from fastcms.pages import form_text, get_site, in_read, in_thread, in_words, in_write, read_form, see_other
from fastcms.site import Site


class LoginFirst(AuthMiddleware):
    """Lead whoever is not logged in to the login, and back: of a form that was sent, to the page it is on."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        answer: Response = await super().dispatch(request, call_next)
        # What a page answers is no RedirectResponse any more when it comes through a middleware.
        if request.method == "POST" and isinstance(answer, RedirectResponse):
            login = request.url_for("admin:login")
            page = request.headers.get("referer", "")
            return see_other(str(login.include_query_params(next=page) if page else login))
        return answer


class Login(AuthProvider):
    """Our accounts and sessions, behind starlette-admin's login page."""

    def __init__(self) -> None:
        super().__init__(allow_routes=["setup", *SETUP_RESTORE_ROUTES])

    def get_middleware(self) -> Middleware:
        return Middleware(LoginFirst, provider=self)

    async def authenticate(self, request: Request) -> AdminUser | None:
        """Find out who is asking, and what the navigation shows them; runs before every page."""
        token = request.cookies.get(SESSION_COOKIE)
        if token is None or _is_static(request):
            return None
        try:
            caller, collections = await in_thread(_load_visitor, get_site(request), token)
        except NotAuthenticatedError:
            return None
        request.state.visitor = caller
        note(caller=caller)
        remember_collections(collections)
        return AdminUser(username=caller.name)

    async def render_login(self, request: Request, templates: Jinja2Templates) -> Response:
        home = str(request.url_for("admin:index"))
        if not await in_read(request, service.has_admin):
            return see_other(str(request.url_for("admin:setup")))
        next_url = safe_redirect_url(request.query_params.get("next") or home, request, home)
        if not request.state.is_anonymous:
            return see_other(next_url)
        if request.method == "GET":
            return templates.TemplateResponse(request, "login.html", {"title": "Log in"})
        email = await form_text(request, "email")
        try:
            return await _open_session(request, email, next_url)
        except FastCMSError as error:
            return _form_again(request, templates, "login.html", error, title="Log in", email=email)

    async def logout(self, request: Request) -> Response:
        token = request.cookies.get(SESSION_COOKIE)
        if token is not None:
            await in_write(request, service.log_out, token)
        answer = see_other(str(request.url_for("admin:login")))
        answer.delete_cookie(SESSION_COOKIE)
        return answer

    async def render_setup(self, request: Request, templates: Jinja2Templates) -> Response:
        """The first admin of a new site, for whoever can read the server's terminal."""
        if await in_read(request, service.has_admin):
            return see_other(str(request.url_for("admin:login")))
        if request.method == "GET":
            return templates.TemplateResponse(request, "setup.html", {"title": "Set up"})
        email = await form_text(request, "email")
        try:
            await in_thread(
                service.set_up_first_admin,
                get_site(request),
                await form_text(request, "code"),
                email,
                str((await read_form(request)).get("password") or ""),
                client_address(request),
            )
            return await _open_session(request, email, str(request.url_for("admin:index")))
        except FastCMSError as error:
            return _form_again(request, templates, "setup.html", error, title="Set up", email=email)

    def get_routes(self, templates: Jinja2Templates) -> list[Route]:
        setup = wrap_endpoint_with_kwargs(self.render_setup, templates=templates)
        return [
            *super().get_routes(templates),
            Route("/setup", setup, methods=["GET", "POST"], name="setup"),
            *SetupRestore(templates).get_routes(),
        ]


def _is_static(request: Request) -> bool:
    return request.url.path.startswith(f"{request.scope['root_path']}/static/")


def _load_visitor(site: Site, token: str) -> tuple[Caller, list[Collection]]:
    caller = service.authenticate(site.database, token)
    if caller.kind != "account":
        raise NotAuthenticatedError("An API token opens no dashboard.")
    with site.database.read() as session:
        return caller, _visible_collections(session, caller)


def _visible_collections(session: Session, caller: Caller) -> list[Collection]:
    return list_collections(session) if caller.may(Scope.CONTENT_READ) else []


async def _open_session(request: Request, email: str, next_url: str) -> Response:
    password = str((await read_form(request)).get("password") or "")
    token, login = await in_thread(
        service.log_in, get_site(request), email, password, client_address(request)
    )
    answer = see_other(next_url)
    _set_session_cookie(answer, token, login, is_https=request.url.scheme == "https")
    return answer


def _set_session_cookie(answer: Response, token: str, login: LoginSession, *, is_https: bool) -> None:
    answer.set_cookie(
        SESSION_COOKIE, token, expires=login.expires, httponly=True, samesite="lax", secure=is_https, path="/"
    )


def _form_again(
    request: Request, templates: Jinja2Templates, template: str, error: FastCMSError, **context: str
) -> Response:
    note(refusal=error.message)
    headers = (
        {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, TooManyAttemptsError) else None
    )
    return templates.TemplateResponse(
        request, template, {"error": in_words(error), **context}, status_of(error)[0], headers
    )
