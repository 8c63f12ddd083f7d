"""Restart the server from within where that can be done, and say how people restart it where it cannot.

`fastcms serve` replaces its own process and keeps its pid, so whatever watches it does not notice. Another
server ends itself, if FASTCMS_SUPERVISED promises that something starts it again.
"""

import hashlib
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from fastcms.config import load_settings
from fastcms.errors import ConfigError, ConflictError
from fastcms.logs import get_logger
from fastcms.site import Site

# The answer to whoever asked, and what its page loads, come first.
_SECONDS_UNTIL_STOP = 1
_CGROUP = Path("/proc/self/cgroup")
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


class RestartWay(StrEnum):
    """by_itself: it replaces its process. supervised: it ends, and is started again. by_hand: neither."""

    BY_ITSELF = "by_itself"
    SUPERVISED = "supervised"
    BY_HAND = "by_hand"


@dataclass(frozen=True)
class RestartAdvice:
    """How people restart this server, and look why it does not start.

    `command` does it; None when only whoever has started the server knows. `log_command` shows what it has
    said; None when it says that in the terminal where it runs.
    """

    instruction: str
    command: str | None
    log_command: str | None


class _OwnProcess:
    """This process, once `fastcms serve` has said that it can be replaced."""

    stop_server: Callable[[], None] | None = None
    is_restarting = False


def server_id() -> str:
    """What all workers of a server share and no other process has, nor the same server after a restart.

    uvicorn starts its workers (--workers, --reload) through multiprocessing, which hands each the random key
    of the process that started them. Pids are not unique between containers, and start times not when the
    clock is set.
    """
    return hashlib.sha256(multiprocessing.current_process().authkey).hexdigest()[:16]


@contextmanager
def replaceable(stop_server: Callable[[], None]) -> Iterator[None]:
    """Let `restart` replace this process; stop_server makes its server end, as soon as its answers are sent.

    Whoever has started the server calls `replace_process` after its end, if `is_restarting`.
    """
    _OwnProcess.stop_server = stop_server
    try:
        yield
    finally:
        _OwnProcess.stop_server = None


def way_to_restart(site: Site) -> RestartWay:
    if _OwnProcess.stop_server is not None:
        return RestartWay.BY_ITSELF
    return RestartWay.SUPERVISED if site.settings.supervised else RestartWay.BY_HAND


def can_restart(site: Site) -> bool:
    return way_to_restart(site) is not RestartWay.BY_HAND


def restart(site: Site, requested_by: str) -> RestartWay:
    """Restart the server a moment after this returns; asking twice restarts it once.

    Raises: ConflictError where it cannot be done; ConfigError when the new start would fail for its settings.
    """
    way = way_to_restart(site)
    if way is RestartWay.BY_HAND:
        raise ConflictError(
            "This server cannot restart itself: nothing would start it again.",
            hint=f"{advise(site).instruction} Or run it with `fastcms serve`; under a supervisor that always "
            "starts it again, FASTCMS_SUPERVISED=true allows it.",
            code="restart_by_hand",
        )
    load_settings()  # .env may have been edited since: better refused now than down in a moment
    get_logger().info("restarting", by=requested_by, way=way)
    stopping = threading.Timer(_SECONDS_UNTIL_STOP, _stop, [site, way])
    stopping.daemon = True
    stopping.start()
    return way


def _stop(site: Site, way: RestartWay) -> None:
    if way is RestartWay.SUPERVISED:
        supervisor = multiprocessing.parent_process()  # of `uvicorn --workers`: it would replace a worker
        os.kill(
            os.getpid() if supervisor is None or supervisor.pid is None else supervisor.pid, signal.SIGTERM
        )
    elif _OwnProcess.stop_server is not None:  # or else it is ending already
        _OwnProcess.is_restarting = True
        site.stopping.set()
        _OwnProcess.stop_server()


def is_restarting() -> bool:
    return _OwnProcess.is_restarting


def replace_process() -> NoReturn:
    """Start the same command anew in this process: same pid, folder, environment and terminal.

    Python closes its files on the way, and with them the locks. Raises: ConfigError.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(sys.executable, command)  # noqa: S606 - ourselves
    except OSError as error:
        raise ConfigError(
            f"The server has stopped, and cannot start itself again: {sys.executable}: {error.strerror}.",
            hint="Was FastCMS or Python moved or removed meanwhile? Start the server the way you always do.",
            code="restart_failed",
        ) from error


def advise(site: Site) -> RestartAdvice:
    """How whoever looks after this machine restarts this server, as far as it can be told from inside."""
    if unit := _systemd_unit():
        scope = "--user " if unit.is_of_user else ""
        return RestartAdvice(
            "Restart the service on the server:",
            f"systemctl {scope}restart {unit.name}",
            f"journalctl {scope}-u {unit.name}",
        )
    if any(mark.exists() for mark in _CONTAINER_MARKS):
        return RestartAdvice(
            "Restart the container, for example with:", "docker compose restart", "docker compose logs"
        )
    if way_to_restart(site) is not RestartWay.BY_ITSELF:
        return RestartAdvice(
            "Stop the server, then start it the way you always do.", command=None, log_command=None
        )
    # make says so to the programs that it runs.
    command = "make run" if "MAKELEVEL" in os.environ else "fastcms serve"
    return RestartAdvice(
        "In the terminal where the server runs, press Ctrl+C, then type:",
        command,
        log_command=None,
    )


@dataclass(frozen=True)
class _Unit:
    name: str
    is_of_user: bool


def _systemd_unit() -> _Unit | None:
    """The service that systemd runs this process as; a terminal on a desktop is one of its scopes.

    Source: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24INVOCATION_ID
    """
    if "INVOCATION_ID" not in os.environ:
        return None
    try:
        group = _CGROUP.read_text().splitlines()[-1].rpartition(":")[2]
    except (OSError, IndexError):
        return None
    match = re.search(r"/([\w@.\\:-]+)\.service$", group)
    return _Unit(match[1], "/user.slice/" in group) if match else None
