"""Break off answers that take too long to send when the server is to be started again at once.

uvicorn waits for all of them, and takes no new ones meanwhile: one slow download would keep the site away for
hours. `fastcms serve` limits that by itself; for another server, only whoever starts it could.
"""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from fastcms.logs import get_logger

# So long answers may go on when the server restarts.
PATIENCE_SECONDS = 10


class RunningRequests:
    """The requests that are being answered."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[object]] = set()

    def break_off_soon(self) -> None:
        """Give them some more time, then cancel what is left. Called on the event loop."""
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._break_off)

    def _break_off(self) -> None:
        if self.tasks:
            get_logger().warning(
                "The server stops: what it still sends is broken off.", count=len(self.tasks)
            )
        for task in tuple(self.tasks):
            task.cancel()


class RunningRequestsMiddleware:
    """Note each request for as long as it is being answered."""

    def __init__(self, app: ASGIApp, running: RunningRequests) -> None:
        self.app = app
        self._tasks = running.tasks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self.app(scope, receive, send)
            return
        self._tasks.add(task)
        try:
            await self.app(scope, receive, send)
        finally:
            self._tasks.discard(task)
