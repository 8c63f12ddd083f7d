"""Let copies be made for as long as the server runs, in a thread for each destination."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastcms.backups.copying import copy_to, lock_of
from fastcms.backups.destinations import Destination, list_destinations
from fastcms.backups.far_side import try_again
from fastcms.database import utc_now
from fastcms.logs import get_logger
from fastcms.site import Site

_TICK_SECONDS = 20.0
# A store that does not answer keeps no server from stopping: what is half sent is no object.
_GOODBYE_SECONDS = 10.0


def keep_copying(site: Site) -> None:
    """Copy what is missing, for as long as the server runs: in a thread for each destination."""
    with _going_on():
        for destination in list_destinations(site):
            # Whoever has changed the environment has restarted the server, and waits for no pause to end.
            try_again(site, destination, utc_now())
    workers: dict[str, threading.Thread] = {}
    while not site.stopping.wait(_TICK_SECONDS):
        with _going_on():
            _start_workers(site, workers)
    deadline = time.monotonic() + _GOODBYE_SECONDS
    for worker in workers.values():
        worker.join(max(deadline - time.monotonic(), 0))


@contextmanager
def _going_on() -> Iterator[None]:
    """Log what goes wrong: the next time may succeed."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        get_logger().error("Unexpected error", exc_info=error)


def _start_workers(site: Site, workers: dict[str, threading.Thread]) -> None:
    for destination in list_destinations(site):
        worker = workers.get(destination.id)
        if (worker is None or not worker.is_alive()) and _is_due(site, destination):
            worker = threading.Thread(target=copy_to, args=[site, destination], daemon=True)
            workers[destination.id] = worker
            worker.start()


def _is_due(site: Site, destination: Destination) -> bool:
    """Whether no other process has just looked what is missing, which takes a while with thousands."""
    try:
        seconds = time.time() - lock_of(site, destination).path.stat().st_mtime
    except FileNotFoundError:
        return True
    return not 0 <= seconds < _TICK_SECONDS - 1
