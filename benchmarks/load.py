"""Clients that write records and measure how long each write takes, in a process of their own."""

import multiprocessing
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from benchmarks.http_client import Connection

CLIENTS = 4
_RETRY_SECONDS = 0.05


@dataclass(frozen=True)
class Load:
    """What the clients send: `per_second` in all, or without it each as fast as it is answered."""

    port: int
    request: bytes
    seconds: float
    per_second: float | None = None


class Write(NamedTuple):
    """One write: when it began (`time.perf_counter`, the same for all processes), and how long it took."""

    began: float
    seconds: float
    is_error: bool


class LoadProcess:
    """A process that is ready before the load begins."""

    def __init__(self) -> None:
        # Not forked: the benchmark has threads.
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._pool.submit(time.perf_counter).result()

    def start(self, load: Load) -> Future[list[Write]]:
        return self._pool.submit(write_records, load)

    def close(self) -> None:
        self._pool.shutdown()


def write_records(load: Load) -> list[Write]:
    """Let all clients write for as long as the load lasts."""
    writes: list[Write] = []
    start = time.perf_counter()
    clients = [
        threading.Thread(target=_write, args=(load, start, number, writes)) for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sorted(writes)


def _write(load: Load, start: float, number: int, writes: list[Write]) -> None:
    client = _Client(load)
    turn = 0
    while (now := time.perf_counter()) < start + load.seconds:
        due = now
        if load.per_second:
            # Counted from when it was due: a slow answer makes those who come after it wait, too.
            due = start + (turn + number / CLIENTS) * CLIENTS / load.per_second
            if due >= start + load.seconds:
                break
            time.sleep(max(0, due - now))
        turn += 1
        is_error = not client.try_to_write()
        writes.append(Write(due, time.perf_counter() - due, is_error))
    client.close()


class _Client:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._connection: Connection | None = None

    def try_to_write(self) -> bool:
        """Write one record; after an error the next one gets a new connection."""
        try:
            self._connection = self._connection or Connection(self._load.port)
            status, _ = self._connection.send(self._load.request)
        except OSError:
            self.close()
            time.sleep(_RETRY_SECONDS)
            return False
        return status in (HTTPStatus.OK, HTTPStatus.CREATED)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
