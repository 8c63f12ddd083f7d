"""The far side of messages: a server on this machine that records what it is sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    path: str
    body: str


class FarSide:
    """Answers with `status`, or not at all while `is_silent`; `received` has what came, oldest first."""

    def __init__(self, port: int) -> None:
        self.received: list[Received] = []
        self.status = 200
        self.is_silent = False
        self.released = threading.Event()
        self.host = f"127.0.0.1:{port}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What came through Apprise's json://."""
        return [json.loads(received.body) for received in self.received]

    @property
    def titles(self) -> list[str]:
        return [message["title"].partition("] ")[2] for message in self.messages]


@contextmanager
def listening() -> Iterator[FarSide]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    far_side = FarSide(server.server_port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            far_side.received.append(Received(self.path, body))
            if far_side.is_silent:
                far_side.released.wait()
                return
            self.send_response(far_side.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: what is tested must be silent."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield far_side
    finally:
        far_side.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def refusing_host() -> str:
    """A host and port at which nothing listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"127.0.0.1:{server.server_port}"
