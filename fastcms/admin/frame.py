"""The dashboard's application: starlette-admin with our login, pages, theme and security headers."""

from functools import wraps
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import BaseAdmin, BaseModelView
from starlette_admin.helpers import static_url

import fastcms
from fastcms.accounts.pages import AccountsPage, TokensPage
from fastcms.activity.pages import ActivityPage
from fastcms.activity.recorder import Recorder
from fastcms.admin import filters
from fastcms.admin.forms import FormCheck, with_long_texts
from fastcms.admin.home import HomePage
from fastcms.admin.login import Login
from fastcms.admin.navigation import Menu, find_collection
from fastcms.admin.security import ContentSecurityPolicy, NonceExtension, SigningKeys, policy
from fastcms.admin.theme import Theme
from fastcms.backups.destination_pages import DestinationsPage, NewDestinationPage
from fastcms.backups.detail_pages import DetailPage
from fastcms.backups.key_pages import KeysPage
from fastcms.backups.pages import BackupsPage
from fastcms.backups.restore_pages import RestorePage, RestoreStatusPage
from fastcms.backups.settings_pages import SettingsPage
from fastcms.backups.stored_pages import StoredBackupPage
from fastcms.content.pages import CollectionsPage
from fastcms.content.record_pages import RecordsView
from fastcms.errors import FastCMSError, status_of
from fastcms.logs import get_logger
from fastcms.media.pages import FilesPage
from fastcms.noting import note
from fastcms.pages import in_words
from fastcms.site import Site
from fastcms.web import disk_error

_FOLDER = Path(__file__).parent
# The address of one backup is any word below /backups, that of a destination any below that. Later pages are
# asked first, so these come first.
_BACKUPS_PAGES = (DetailPage, BackupsPage, RestorePage, RestoreStatusPage, SettingsPage)
_DESTINATION_PAGES = (DestinationsPage, StoredBackupPage, NewDestinationPage, KeysPage)
_PAGES = (
    CollectionsPage,
    FilesPage,
    *_BACKUPS_PAGES,
    *_DESTINATION_PAGES,
    ActivityPage,
    AccountsPage,
    TokensPage,
)


class Dashboard(BaseAdmin):
    """starlette-admin, whose model views are the collections of the moment."""

    def _setup_templates(self) -> None:
        super()._setup_templates()
        environment = self.templates.env
        environment.add_extension(NonceExtension)
        environment.globals.update(menu=Menu(self._views), version=fastcms.__version__)
        environment.filters.update(filters.ALL)

    _render_create = with_long_texts(BaseAdmin._render_create)  # noqa: SLF001 - ours may hold longer texts
    _render_edit = with_long_texts(BaseAdmin._render_edit)  # noqa: SLF001 - as above
    _handle_inline_edit = with_long_texts(BaseAdmin._handle_inline_edit)  # noqa: SLF001 - as above

    def _init_csrf(self) -> None:
        assert self.secret_key is not None  # noqa: S101 - mount_admin gives it
        self.middlewares.append(Middleware(FormCheck, secret_key=self.secret_key))

    @wraps(BaseAdmin._render_import)  # noqa: SLF001 - it carries the route
    async def _render_import(self, request: Request) -> Response:
        try:
            answer: Response = await super()._render_import(request)
            return answer
        finally:
            await request.close()  # the uploaded file, which would stay open until it is collected

    def _find_view_by_key(self, key: str | None) -> BaseModelView:
        collection = find_collection(key)
        if collection is None:
            raise HTTPException(404, "There is no such collection. It may have been deleted or renamed.")
        view = RecordsView(collection, self._find_view_by_key)
        self._set_admin(view)
        return view


def mount_admin(app: FastAPI, site: Site, recorder: Recorder) -> None:
    """Put the dashboard at /admin. No file is touched before its first request."""
    dashboard = Dashboard(
        title="FastCMS",
        favicon_url=lambda request: static_url(request, "favicon.svg"),
        templates_dir=str(_FOLDER / "templates"),
        static_dir=str(_FOLDER / "static"),
        index_view=HomePage(),
        theme=Theme(),
        auth_provider=Login(),
        secret_key=SigningKeys(site),  # type: ignore[arg-type] # itsdangerous takes an iterable of keys
        middlewares=[Middleware(ContentSecurityPolicy)],
        timezone_config=None,  # every time is shown in UTC, as backups' names have it
    )
    for page in _PAGES:
        dashboard.add_view(page)
    dashboard.mount_to(app)
    dashboard.app.state.site = site
    dashboard.app.state.recorder = recorder
    errors = ErrorPages(dashboard)
    dashboard.app.state.error_pages = errors
    dashboard.app.add_exception_handler(FastCMSError, errors.answer_fastcms_error)
    dashboard.app.add_exception_handler(OperationalError, errors.answer_database_error)
    dashboard.app.add_exception_handler(OSError, errors.answer_disk_error)
    dashboard.app.add_exception_handler(Exception, errors.answer_unexpected_error)


class ErrorPages:
    """Say what went wrong, in words, in the dashboard's own look."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._templates = dashboard.templates

    async def answer_fastcms_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, FastCMSError)  # noqa: S101 - what it was registered for
        note(refusal=error.message)
        return self._page(request, status_of(error)[0], in_words(error))

    async def answer_database_error(self, request: Request, error: Exception) -> Response:
        get_logger().error("The database did not answer", reason=str(error.__cause__))
        return self._page(request, 503, "The database did not answer. Try again in a moment.")

    async def answer_disk_error(self, request: Request, error: Exception) -> Response:
        return await self.answer_fastcms_error(request, disk_error(error))

    async def answer_unexpected_error(self, request: Request, error: Exception) -> Response:
        get_logger().error("Unexpected error", exc_info=error)
        answer = self._page(request, 500, "Something went wrong. The server's log has the reason.")
        # Starlette sends this answer from outside all middleware.
        answer.headers["Content-Security-Policy"] = policy(request.state.csp_nonce)
        return answer

    def refuse_form(self, request: Request, status: int, message: str) -> Response:
        return self._page(request, status, message, "The form was not accepted")

    def _page(self, request: Request, status: int, message: str, heading: str = "") -> Response:
        context = {"exc": HTTPException(status, message), "title": "Error", "heading": heading}
        return self._templates.TemplateResponse(request, "error.html", context, status)
