"""`fastcms serve`: uvicorn with our application, in this process."""

import socket
from contextlib import suppress

import typer
import uvicorn
from uvicorn.importer import import_from_string

import fastcms
from fastcms import restarting
from fastcms.config import Settings
from fastcms.errors import ConfigError, status_of
from fastcms.running_requests import PATIENCE_SECONDS
from fastcms.terminal import messages

_UVICORN_FAILED = 3  # its own exit code, for what is no error of ours


def run_server(settings: Settings) -> None:
    """Serve until the process is told to end, or to restart.

    Raises: ConfigError when the port is taken; typer.Exit when the application did not start.
    """
    _require_free_port(settings)
    # By its name: this layer does not know the application.
    application = import_from_string("app.main:app")
    config = uvicorn.Config(application, host=settings.host, port=settings.port, log_config=None)
    server = _Server(config)
    with (
        restarting.replaceable(server.end_soon),
        suppress(KeyboardInterrupt, SystemExit),  # uvicorn has logged why
    ):
        server.run()
        if restarting.is_restarting():  # and nobody has pressed Ctrl+C meanwhile
            messages.print("Restarting.")
            restarting.replace_process()
    if not server.started:
        error = getattr(application.state, "startup_error", None)
        raise typer.Exit(status_of(error)[1] if error else _UVICORN_FAILED)


class _Server(uvicorn.Server):
    """Says where to log in, once that is possible."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            address = f"http://localhost:{self.config.port}/admin"
            messages.print(f"FastCMS {fastcms.__version__}: log in at {address}")

    def end_soon(self) -> None:
        """End for a restart: nobody is at the terminal to say that a slow download has taken long enough."""
        self.config.timeout_graceful_shutdown = PATIENCE_SECONDS
        self.should_exit = True


def _require_free_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"The server cannot listen on {settings.host}, port {settings.port}: {error.strerror}.",
                hint="Stop the other server, or choose another port: FASTCMS_PORT=8001.",
                code="port_unavailable",
            ) from error
