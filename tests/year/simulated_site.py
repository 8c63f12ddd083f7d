"""The real application on a real folder, whose clock, disk and processes the test has in its hands.

uvicorn runs it in a thread of this process, so that the clock can be set. Backups have a small disk to
themselves. What the server does by itself is done when the test says so: `look()`.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
import time_machine
import uvicorn
from pydantic import SecretStr

from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Role, Scope
from fastcms.accounts.service import create_token
from fastcms.backups import alarms, service, upkeep
from fastcms.backups.history import Run
from fastcms.config import LogLevel, Settings
from fastcms.main import create_app
from fastcms.site import make_folders, new_site
from fastcms.startup import serve_site
from tests.conftest import AS_ROOT
from tests.e2e.test_jobs import children_of
from tests.far_side import FarSide, listening

_DISK = "64m"
_CHUNK = bytes(1024**2)


class SimulatedSite:
    def __init__(self, folder: Path, far_side: FarSide, start: datetime) -> None:
        self.settings = Settings(
            _env_file=None,
            data_dir=folder / "data",
            timezone="Europe/Berlin",
            notify_urls=SecretStr(f"json://{far_side.host}/told"),
            heartbeat_url=SecretStr(f"http://{far_side.host}/ping"),
            log_level=LogLevel.ERROR,
        )
        self.site = new_site(self.settings)
        self.far_side = far_side
        self._filler = self.settings.backups_dir / "filler"
        self._travel = time_machine.travel(start)
        self._clock = self._travel.start()
        self._running: ExitStack | None = None
        self._url = ""
        self._headers: dict[str, str] = {}

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def set_clock(self, now: datetime) -> None:
        """Set the clock, which goes on from there."""
        self._clock.move_to(now)

    def start(self) -> None:
        """Start the server, as after a reboot."""
        with ExitStack() as running:
            app = create_app(self.settings, keeps_up=False)
            self.site = app.state.site
            listener = running.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = uvicorn.Server(uvicorn.Config(app, log_config=None))
            thread = threading.Thread(target=server.run, args=[[listener]])
            thread.start()
            running.callback(thread.join)
            running.callback(setattr, server, "should_exit", True)
            while not server.started:
                assert thread.is_alive(), getattr(app.state, "startup_error", None)
                time.sleep(0.01)
            self._url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
            self._running = running.pop_all()
        if not self._headers:
            with self.site.database.write() as session:
                session.add(Account(email="admin@example.com", password_hash="none", role=Role.ADMIN))
                token, _ = create_token(session, "test", [Scope.ADMIN], None)
            self._headers = {"Authorization": f"Bearer {token}"}

    def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
            self.site = new_site(self.settings)  # what a command beside no server works on

    def end(self) -> None:
        self.stop()
        self._travel.stop()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """What the API answers; an error of it is a dictionary with a status, a code and a detail."""
        return requests.request(
            method, self._url + path, headers=self._headers | {"Connection": "close"}, timeout=60, **options
        ).json()

    def look(self) -> list[Run]:
        """What the server does some times a minute."""
        return upkeep.run_due(self.site)

    def raise_alarms(self) -> None:
        """What the server does as often, beside all else."""
        alarms.raise_alarms(self.site)

    def fill_disk(self) -> None:
        """Leave not one byte on the disk of backups."""
        with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while filler.write(_CHUNK):
                pass

    def empty_disk(self) -> None:
        self._filler.unlink()

    def make_read_only(self, *, is_read_only: bool = True) -> None:
        """Mount the disk of backups anew, as the kernel does after an error."""
        option = "remount,ro" if is_read_only else "remount,rw"
        subprocess.run([*AS_ROOT, "mount", "-o", option, self.settings.backups_dir], check=True)

    def damage(self, filename: str) -> None:
        """Flip a bit in the middle of an archive."""
        path = self.settings.backups_dir / filename
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Kill the first process that is started to do the work."""
        is_over = threading.Event()
        others = set(children_of(os.getpid()))  # such as a server of object storage, for other tests

        def kill_first() -> None:
            while not is_over.is_set():
                for pid in set(children_of(os.getpid())) - others:
                    os.kill(pid, signal.SIGKILL)
                    return

        killer = threading.Thread(target=kill_first)
        killer.start()
        try:
            yield
        finally:
            is_over.set()
            killer.join()


@contextmanager
def simulated_site(folder: Path, start: datetime) -> Iterator[SimulatedSite]:
    """A site that has a server, a collection, and a small disk for backups."""
    backups_dir = folder / "data" / "backups"
    make_folders(folder / "data", backups_dir)
    options = f"size={_DISK},uid={os.getuid()},mode=700"
    with ExitStack() as stack:
        subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", backups_dir], check=True)
        stack.callback(lambda: subprocess.run([*AS_ROOT, "umount", backups_dir], check=True))
        site = SimulatedSite(folder, stack.enter_context(listening()), start)
        stack.callback(site.end)
        site.start()
        schema = {"name": "notes", "schema": [{"name": "text", "type": "text"}]}
        assert site.ask("POST", "/collections", json=schema)["name"] == "notes"
        yield site


def make_archive_elsewhere(folder: Path) -> Path:
    """A backup of another machine."""
    site = new_site(Settings(_env_file=None, data_dir=folder / "elsewhere"))
    with serve_site(site):
        return Path(service.create_backup(site).path)
