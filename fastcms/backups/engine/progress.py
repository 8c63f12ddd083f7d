"""How long work tells how far it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Self

_SECONDS_BETWEEN = 0.1


@dataclass(frozen=True)
class Progress:
    """`total_bytes` counts what is to be done: a database that is copied and then compressed counts twice."""

    phase: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """For callers who do not watch."""


class WorkStoppedError(Exception):
    """Ends the threads of work in which another thread has failed; nobody gets to see it."""


class Work:
    """Counts what several threads do, tells about it some times a second, and ends them when one fails."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.total_bytes = 0
        self._phase = ""
        self._on_progress = on_progress
        self._done_bytes = 0
        self._is_stopped = False
        self._told = 0.0
        self._lock = Lock()

    def add(self, done_bytes: int) -> None:
        """Note that so much more is done; what on_progress raises comes from here."""
        with self._lock:
            if self._is_stopped:
                raise WorkStoppedError
            self._done_bytes += done_bytes
            if time.monotonic() - self._told >= _SECONDS_BETWEEN:
                self._tell()

    def begin(self, phase: str) -> None:
        """Name what is done from here on."""
        with self._lock:
            self._phase = phase
            self._tell()

    def begin_last(self, phase: str) -> None:
        """Name what is left to do when every byte is counted."""
        self._done_bytes = self.total_bytes
        self.begin(phase)

    def _tell(self) -> None:
        self._told = time.monotonic()
        done_bytes = min(self._done_bytes, self.total_bytes)
        self._on_progress(Progress(self._phase, done_bytes, self.total_bytes))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._is_stopped = kind is not None
