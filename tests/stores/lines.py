"""A line to a server that can be slow, go dead, or break."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PIECE_BYTES = 16 * 1024


@dataclass
class Line:
    """Passes on what comes, to a server and back; all bytes are those of one connection, in one direction."""

    server: tuple[str, int]
    listener: socket.socket
    bytes_per_second: float = float("inf")
    goes_dead_after_bytes: float = float("inf")
    breaks_after_bytes: float = float("inf")
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.server)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=[source, target], daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        passed_bytes = 0
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                passed_bytes += len(piece)
                if passed_bytes > self.goes_dead_after_bytes:
                    self.is_over.wait()
                if passed_bytes > self.breaks_after_bytes:
                    break
                time.sleep(len(piece) / self.bytes_per_second)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def line_to(endpoint: str) -> Iterator[Line]:
    url = urlsplit(endpoint)
    assert url.hostname
    assert url.port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line((url.hostname, url.port), listener)
        thread = threading.Thread(target=line.serve)
        thread.start()
        try:
            yield line
        finally:
            line.is_over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
