"""A real server process, started as the documentation says."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_START_SECONDS = 60
_POLL_SECONDS = 0.002


class ServerProcess:
    """`uvicorn app.main:app` in a folder, with data/ and server.log below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """This environment, without settings that belong to another site."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTCMS_")}
        return kept | {"PYTHONPATH": str(_REPOSITORY)}

    @property
    def pid(self) -> int:
        """Raises: RuntimeError if it is not running."""
        if self._process is None:
            raise RuntimeError("The server is not running.")
        return self._process.pid

    def start(self) -> float:
        """Start, and wait until /health answers.

        Returns: the seconds that it took.
        """
        started = time.perf_counter()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        while not self._is_healthy():
            if self._process.poll() is not None or time.perf_counter() - started > _START_SECONDS:
                raise RuntimeError(f"The server did not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - started

    def end(self, signal_number: signal.Signals) -> None:
        """Send a signal and wait for the end; does nothing when it is not running."""
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait()
            self._process = None

    def _is_healthy(self) -> bool:
        return is_healthy(self.port, "/health")


def is_healthy(port: int, path: str) -> bool:
    """Whether a server on this machine answers a request with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
