"""Assemble the application.

Start-up order, in `startup.serve_site`: lock the data folder, finish a pending restore, migrate, serve.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import cache

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from sqlalchemy import text
from starlette.routing import BaseRoute

import fastcms
from fastcms.accounts.api import router as accounts_router
from fastcms.activity.api import router as activity_router
from fastcms.activity.middleware import ActivityMiddleware
from fastcms.activity.recorder import Recorder
from fastcms.admin.frame import mount_admin
from fastcms.backups.api import router as backups_router
from fastcms.backups.upkeep import keeping_up
from fastcms.config import Settings, load_settings
from fastcms.content.api import router as content_router
from fastcms.logs import configure_logs
from fastcms.media.api import router as files_router
from fastcms.media.api import serving_router
from fastcms.metrics import router as metrics_router
from fastcms.request_metrics import RequestCounts
from fastcms.restarting import server_id
from fastcms.running_requests import RunningRequests, RunningRequestsMiddleware
from fastcms.server_api import router as server_router
from fastcms.site import new_site
from fastcms.startup import serve_site
from fastcms.stopping import noticing_stop
from fastcms.web import (
    PROBLEM_RESPONSES,
    BodyLimitMiddleware,
    CurrentSite,
    EveryAnswerMiddleware,
    StartupErrorMiddleware,
    install_error_handlers,
)

_API_ROUTERS = (
    accounts_router,
    content_router,
    files_router,
    backups_router,
    server_router,
    activity_router,
)


class Health(BaseModel):
    """`server_id` is another after each restart."""

    status: str
    version: str
    database: str
    server_id: str


def create_app(settings: Settings | None = None, *, keeps_up: bool = True) -> FastAPI:
    """Build the application. No file is touched before the server starts it.

    keeps_up: whether it does by itself what is due, such as backups.
    """
    site = new_site(settings or load_settings())
    requests = RequestCounts()
    running = RunningRequests()
    recorder = Recorder(site)

    def stop() -> None:
        site.stopping.set()
        if site.settings.supervised:
            running.break_off_soon()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_logs(site.settings)
        shared = requests.shared(site.settings.data_dir / ".metrics", server_id())
        upkeep = keeping_up(site) if keeps_up else nullcontext()
        with serve_site(site), recorder.writing(), upkeep, shared, noticing_stop(stop):
            yield

    app = FastAPIOffline(
        title="FastCMS",
        version=fastcms.__version__,
        summary=fastcms.__doc__,
        lifespan=lifespan,
        routes=_shared_routes(),
        telemetry=requests.telemetry,
    )
    app.state.site = site
    app.state.requests = requests
    app.state.recorder = recorder
    install_error_handlers(app)
    _add_middleware(app, recorder, running)
    mount_admin(app, site, recorder)
    return app


def _add_middleware(app: FastAPI, recorder: Recorder, running: RunningRequests) -> None:
    """Put around each request what every one needs; the last one is the outermost."""
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(ActivityMiddleware, recorder=recorder)
    app.add_middleware(EveryAnswerMiddleware)
    app.add_middleware(CorrelationIdMiddleware)
    app.add_middleware(StartupErrorMiddleware)
    app.add_middleware(RunningRequestsMiddleware, running=running)


@cache
def _shared_routes() -> list[BaseRoute]:
    """The routes know no application: FastAPI takes longer to prepare them than for everything else."""
    router = APIRouter(responses=PROBLEM_RESPONSES)
    for part in _API_ROUTERS:
        router.include_router(part, prefix="/api/v1")
    router.include_router(serving_router)
    router.include_router(metrics_router)
    router.add_api_route("/health", health, tags=["health"])
    router.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    router.add_api_route("/", show_dashboard, methods=["GET", "HEAD"], include_in_schema=False)
    return router.routes


def show_dashboard(request: Request) -> RedirectResponse:
    """Lead somebody who types only the server's address to where people work."""
    return RedirectResponse(f"{request.scope['root_path']}/admin")


def health(site: CurrentSite) -> Health:
    """Say that the server runs and reaches its database."""
    with site.database.read() as session:
        session.execute(text("SELECT 1 FROM accounts LIMIT 1"))
    return Health(status="ok", version=fastcms.__version__, database="ok", server_id=server_id())
