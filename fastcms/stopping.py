"""Notice at once that a server was asked to stop.

uvicorn waits until every answer has been sent, and only then ends the application's lifespan: a stream that
waits for the lifespan's end would never end. Source: `uvicorn.Server.shutdown`
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noticing_stop(on_stop: Callable[[], None]) -> Iterator[None]:
    """Call on_stop on the event loop when a signal asks the server to stop, beside the server's own handler.

    A server that handles no signals, or runs outside of the main thread, is only noticed to stop at its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers_own = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(on_stop)
        handler = servers_own[signal.Signals(number)]
        assert callable(handler)  # noqa: S101 - as chosen below
        handler(number, frame)

    handled = [number for number, handler in servers_own.items() if callable(handler)]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, servers_own[number])


@contextmanager
def default_signals() -> Iterator[None]:
    """Let signals end the process: a server's own handlers only take note, and would leave it waiting."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    try:
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
