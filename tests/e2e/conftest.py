"""A real server process in a folder of its own, as a user starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.config import Settings
from fastcms.site import new_site
from fastcms.startup import use_site

REPOSITORY = Path(__file__).parents[2]
_START_SECONDS = 60
_STOP_SECONDS = 30
_POLL_SECONDS = 0.05


class Server:
    """`uvicorn app.main:app` in `folder`; `data/` is below it, as the documentation has it.

    The terminal's text is kept over restarts. `start()` returns when /health answers.
    """

    def __init__(
        self, folder: Path, port: int | None = None, *, arguments: Sequence[str] = (), **environment: str
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.arguments = arguments
        self.environment = environment
        self._terminal_path = folder / "terminal.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def terminal(self) -> str:
        """Everything that the server has printed so far."""
        return self._terminal_path.read_text() if self._terminal_path.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        with self._terminal_path.open("ab") as terminal:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=clean_environment() | self.environment | {"FASTCMS_PORT": str(self.port)},
                stdout=terminal,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self._wait_until_healthy()

    def stop(self) -> None:
        """Stop as Ctrl-C does, and wait; does nothing when it is not running."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop as `kill -9` does: nothing is flushed, checkpointed or removed."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def run(self, *arguments: str) -> str:
        """Run a command beside it, which has to succeed, and return what it printed."""
        done = subprocess.run(
            ["fastcms", *arguments],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def create_token(self, scope: Scope = Scope.ADMIN) -> str:
        """Make an API token, without the half second that starting a command takes."""
        site = new_site(Settings(_env_file=None, data_dir=self.folder / "data"))
        with use_site(site), site.database.write() as session:
            token, _row = create_token(session, "test", [scope], None)
        return token

    def wait_until_printed(self, text: str, times: int = 1) -> None:
        """Wait until the terminal shows a text so many times."""
        deadline = time.monotonic() + _START_SECONDS
        while self.terminal.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} was not printed {times} times:\n{self.terminal}"
            time.sleep(_POLL_SECONDS)

    def server_id(self) -> str | None:
        """What /health says; None while nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return str(json.load(answer)["server_id"])
        except OSError:
            return None

    def wait_for_restart(self, earlier_id: str | None) -> None:
        """Wait until another server than the one of this id answers."""
        deadline = time.monotonic() + _START_SECONDS
        while self.server_id() in (None, earlier_id):
            assert time.monotonic() < deadline, self.terminal
            time.sleep(_POLL_SECONDS)

    def wait_for_end(self) -> int:
        """Wait until the process ends by itself, and return its exit code."""
        assert self._process is not None
        code, self._process = self._process.wait(_STOP_SECONDS), None
        return code

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(self.port), *self.arguments]

    def _end(self, signal_number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal_number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            pytest.fail(f"The server did not stop within {_STOP_SECONDS} s:\n{self.terminal}")
        finally:
            self._process = None

    def _wait_until_healthy(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                pytest.fail(f"The server ended with {self._process.returncode}:\n{self.terminal}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(_POLL_SECONDS)
        self.kill()
        pytest.fail(f"The server was not up after {_START_SECONDS} s:\n{self.terminal}")


class OwnServer(Server):
    """`fastcms serve`, which can restart itself."""

    def _command(self) -> list[str]:
        return ["fastcms", "serve"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """This environment without FASTCMS_*, with the repository importable and the venv's commands."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTCMS_")}
    return environment | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that has just started on an empty folder."""
    running = Server(tmp_path)
    running.start()
    yield running
    running.stop()
