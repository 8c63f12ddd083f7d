"""What a supervised server still sends when it stops is broken off after a while, and ends then."""

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from fastcms import running_requests
from fastcms.running_requests import RunningRequests, RunningRequestsMiddleware


async def unused_receive() -> dict[str, object]:
    raise AssertionError


async def unused_send(_message: object) -> None:
    raise AssertionError


def test_an_answer_that_nobody_fetches_ends_soon_after_the_server_was_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running_requests, "PATIENCE_SECONDS", 0.05)
    running = RunningRequests()
    ended: list[str] = []

    async def send_for_ever(_scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    async def stop_meanwhile() -> None:
        app = RunningRequestsMiddleware(send_for_ever, running)
        request = asyncio.create_task(app({"type": "http"}, unused_receive, unused_send))
        await asyncio.sleep(0)
        assert len(running.tasks) == 1
        running.break_off_soon()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(request, timeout=10)

    asyncio.run(stop_meanwhile())
    assert ended == ["cleaned up"]
    assert running.tasks == set()
