"""Pipes that a backup's bytes run through on their way to a destination, or back: chunks in, chunks out."""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from fastcms.backups.engine.progress import OnProgress, Progress

_CHUNK_BYTES = 1_048_576
_SECONDS_BETWEEN = 0.1
_WAITING_CHUNKS = 4
# So long a thread that is not needed any more is waited for: it may wait for a store that is silent.
_GOODBYE_SECONDS = 5
# A limited stream comes in pieces so small that whoever counts or cancels them waits no longer.
_PIECES_A_SECOND = 4
# What was not used of a limit can be made up for later, as much as this: uploads come in bursts.
_SAVED_SECONDS = 1.0


def read_file(path: Path) -> Generator[bytes]:
    """A file's bytes. Raises: OSError, at the first of them."""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


class Hashed:
    """The same chunks; once they have all gone by, their SHA-256 and how many bytes they were."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            self.size_bytes += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def limited(
    chunks: Iterable[bytes],
    bytes_per_second: int | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[bytes]:
    """The same bytes, so many a second at most, in small pieces; None is no limit."""
    if bytes_per_second is None:
        yield from chunks
        return
    piece_bytes = max(1, bytes_per_second // _PIECES_A_SECOND)
    free_at = clock()  # when all that has gone by would have gone by at this rate
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), piece_bytes):
            piece = bytes(view[start : start + piece_bytes])
            free_at = max(free_at, clock() - _SAVED_SECONDS) + len(piece) / bytes_per_second
            wait_seconds = free_at - clock()
            if wait_seconds > 0:
                sleep(wait_seconds)
            yield piece


def with_progress(
    chunks: Iterable[bytes],
    on_progress: OnProgress,
    phase: str,
    total_bytes: int,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bytes]:
    """The same chunks, telling some times a second how many bytes were taken; on_progress may end it all."""
    done_bytes = 0
    on_progress(Progress(phase, done_bytes, total_bytes))
    told = clock()
    for chunk in chunks:
        yield chunk
        done_bytes += len(chunk)
        if clock() - told >= _SECONDS_BETWEEN:
            on_progress(Progress(phase, done_bytes, total_bytes))
            told = clock()
    on_progress(Progress(phase, done_bytes, total_bytes))


def ahead(chunks: Generator[bytes]) -> Generator[bytes]:
    """The same chunks, some taken in advance: nobody who works on one keeps the network waiting.

    They are taken, and closed, in another thread; what they raise is raised here.
    """

    def take(put: Callable[[bytes], None]) -> None:
        with closing(chunks):
            for chunk in chunks:
                put(chunk)

    return in_thread(take, "ahead")


def in_thread(make: Callable[[Callable[[bytes], None]], None], name: str) -> Generator[bytes]:
    """The chunks that `make` puts, in a thread of its own, which ends with this generator.

    If it cannot end at once, it ends when it would put the next chunk. What it raises is raised here.
    """
    channel = _Channel()

    def run() -> None:
        try:
            make(channel.put)
        except BaseException as error:  # noqa: BLE001 - raised in the other thread
            channel.end(error)
        else:
            channel.end(None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        while isinstance(taken := channel.take(), bytes):
            yield taken
        if taken is not None:
            raise taken
    finally:
        channel.abandon()
        if thread is not threading.current_thread():  # the garbage collector may run in it
            thread.join(_GOODBYE_SECONDS)


class _AbandonedError(Exception):
    """Nobody takes any more chunks."""


class _Channel:
    """Hands a few chunks from one thread to another; its end is None, or an error."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: deque[bytes | BaseException | None] = deque()
        self._is_abandoned = False

    def put(self, chunk: bytes) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_abandoned or len(self._waiting) < _WAITING_CHUNKS)
            if self._is_abandoned:
                raise _AbandonedError
            self._waiting.append(chunk)
            self._condition.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self._condition:
            self._waiting.append(error)
            self._condition.notify_all()

    def take(self) -> bytes | BaseException | None:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting)
            taken = self._waiting.popleft()
            self._condition.notify_all()
            return taken

    def abandon(self) -> None:
        with self._condition:
            self._is_abandoned = True
            self._condition.notify_all()
