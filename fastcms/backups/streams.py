"""Pipes that a backup's bytes run through on their way to a destination, or back: chunks in, chunks out."""

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

from fastcms.backups.engine.progress import OnProgress, Progress

_CHUNK_BYTES = 1_048_576
_SECONDS_BETWEEN = 0.1
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
