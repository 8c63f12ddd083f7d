"""Sees every request to the API and to the dashboard, and has those told that change something."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastcms.activity.actions import FROM_FORMS, find_action
from fastcms.activity.describing import describe
from fastcms.activity.recorder import Recorder
from fastcms.noting import taking_notes

_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SENT = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
_UNEXPECTED = "Something went wrong on the server. Its log has the reason."


class ActivityMiddleware:
    """Record what was done before its answer is sent: whoever then looks into the log finds it."""

    def __init__(self, app: ASGIApp, recorder: Recorder) -> None:
        self.app = app
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _UNSAFE | {"GET"}:
            await self.app(scope, receive, send)
            return
        with taking_notes() as notes:

            async def send_and_record(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._record(scope, notes, message["status"])
                await send(message)

            await self.app(scope, receive, send_and_record)

    def _record(self, scope: Scope, notes: dict[str, Any], status: int) -> None:
        action = find_action(way_of(scope))
        is_asking = scope["method"] == "GET"
        if action is None or action.is_reading != is_asking or (is_asking and status not in _SENT):
            return
        refusal = notes.get("refusal")
        if refusal is None and status >= HTTPStatus.BAD_REQUEST:
            refusal = _UNEXPECTED
        typed = {name: value for name, value in notes.get("form", {}).items() if name in FROM_FORMS}
        # What was typed counts least.
        known = {**typed, **scope.get("path_params", {}), **notes}
        deed = describe(action, known, refusal)
        if deed is not None:
            self._recorder.record(deed)


def way_of(scope: Scope) -> str:
    """The route that a request has reached, as the table of actions names it."""
    surface = "api" if isinstance(scope["app"], FastAPI) else "admin"
    return f"{surface}:{getattr(scope.get('route'), 'name', None)}"
