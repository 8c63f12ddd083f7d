"""Routes of the server itself: can it restart, and restart it."""

from fastapi import APIRouter
from pydantic import BaseModel

import fastcms
from fastcms import restarting
from fastcms.accounts.dependencies import AdminCaller
from fastcms.restarting import RestartWay
from fastcms.web import CurrentSite

router = APIRouter(prefix="/server", tags=["server"])


class Server(BaseModel):
    """This server. How people restart it is `instruction`, and `command` if that is known.

    `log_command` shows why it does not start; null if it says that in the terminal where it runs.
    """

    server_id: str
    version: str
    restart: RestartWay
    instruction: str
    command: str | None
    log_command: str | None


class Restarting(BaseModel):
    """The server stops in a moment. It is there again when `/health` tells of another `server_id`."""

    status: str = "restarting"
    server_id: str


@router.get("")
def show_server(site: CurrentSite, _caller: AdminCaller) -> Server:
    """Say whether this server can restart itself, and how people restart it."""
    advice = restarting.advise(site)
    return Server(
        server_id=restarting.server_id(),
        version=fastcms.__version__,
        restart=restarting.way_to_restart(site),
        instruction=advice.instruction,
        command=advice.command,
        log_command=advice.log_command,
    )


@router.post("/restart", status_code=202)
def restart_server(site: CurrentSite, caller: AdminCaller) -> Restarting:
    """Restart the server, which completes a staged restore."""
    restarting.restart(site, caller.name)
    return Restarting(server_id=restarting.server_id())
