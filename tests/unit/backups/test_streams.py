"""Pipes change no byte; they count, limit and hash."""

import hashlib
import itertools
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcms.backups.engine.progress import Progress
from fastcms.backups.streams import Hashed, ahead, limited, read_file, with_progress

CHUNKS = st.lists(st.binary(max_size=50), max_size=10)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def take_slowly(chunks: Iterable[bytes], clock: Clock) -> None:
    for _chunk in chunks:
        clock.sleep(1)


def test_a_file_is_read_in_chunks_of_a_megabyte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = bytes(range(256)) * 8193  # two megabytes and 256 bytes
    path.write_bytes(content)
    chunks = list(read_file(path))
    assert (list(map(len, chunks)), b"".join(chunks) == content) == ([1_048_576, 1_048_576, 256], True)
    path.write_bytes(b"")
    assert list(read_file(path)) == []
    with pytest.raises(FileNotFoundError):
        next(read_file(tmp_path / "missing"))


@given(CHUNKS)
def test_what_has_gone_by_is_hashed_and_counted(chunks: list[bytes]) -> None:
    pipe = Hashed(chunks)
    assert list(pipe) == chunks
    content = b"".join(chunks)
    assert (pipe.sha256, pipe.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))


@given(CHUNKS, st.integers(1, 1000))
def test_a_limited_stream_has_all_bytes_and_takes_as_long_as_the_limit_says(
    chunks: list[bytes], bytes_per_second: int
) -> None:
    clock, content, arrived, pieces = Clock(), b"".join(chunks), 0, []
    for piece in limited(chunks, bytes_per_second, clock, clock.sleep):
        pieces.append(piece)
        arrived += len(piece)
        assert arrived <= bytes_per_second * (clock.now - 1000) + 1e-6
        assert len(piece) <= max(1, bytes_per_second / 4)
    assert b"".join(pieces) == content
    assert clock.now - 1000 == pytest.approx(len(content) / bytes_per_second)


def test_a_pause_is_made_up_for_a_second_at_most() -> None:
    clock = Clock()
    pieces = limited(itertools.repeat(bytes(25)), 100, clock, clock.sleep)
    assert [len(next(pieces)), clock.now] == [25, 1000.25]
    clock.now += 60  # the network was away
    at_once = sum(1 for _ in itertools.takewhile(lambda _: clock.now <= 1060.25, pieces))
    assert at_once == 4
    ten_seconds_on = clock.now + 10
    later = sum(25 for _ in itertools.takewhile(lambda _: clock.now <= ten_seconds_on, pieces))
    assert later in range(950, 1026)


def test_without_a_limit_nothing_waits_and_no_chunk_is_cut() -> None:
    slept: list[float] = []
    chunks = [bytes(5_000_000), b"b"]
    assert (list(limited(chunks, None, sleep=slept.append)), slept) == (chunks, [])


def test_progress_is_told_at_the_beginning_some_times_a_second_and_at_the_end() -> None:
    clock = Clock()
    told: list[Progress] = []
    for _chunk in with_progress(iter([bytes(10)] * 100), told.append, "copying", 1000, clock):
        clock.now += 0.03
    assert (told[0], told[-1]) == (Progress("copying", 0, 1000), Progress("copying", 1000, 1000))
    assert len(told) == pytest.approx(3.0 / 0.12, abs=2)
    assert [one.done_bytes for one in told] == sorted(one.done_bytes for one in told)


@pytest.mark.parametrize("after", [0, 50])
def test_who_is_told_can_end_it_and_the_source_is_closed(after: int) -> None:
    class Cancelled(Exception):  # noqa: N818 - no error
        pass

    closed = []

    def source() -> Iterator[bytes]:
        try:
            for _ in range(100):
                yield bytes(1)
        finally:
            closed.append(True)

    def cancel(progress: Progress) -> None:
        if progress.done_bytes >= after:
            raise Cancelled

    clock = Clock()
    pipe = with_progress(source(), cancel, "copying", 100, clock)
    with pytest.raises(Cancelled):
        take_slowly(pipe, clock)
    assert closed == ([True] if after else [])


class Counted:
    """Ten chunks, the last of which may be an error; how many were taken, and whether they were closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.taken = 0
        self.is_closed = False
        self._error = error

    def chunks(self) -> Generator[bytes]:
        try:
            for number in range(10):
                self.taken += 1
                yield bytes([number])
            if self._error:
                raise self._error
        finally:
            self.is_closed = True


def test_chunks_that_are_taken_ahead_are_the_same() -> None:
    counted = Counted()
    assert list(ahead(counted.chunks())) == [bytes([number]) for number in range(10)]
    assert counted.is_closed


def test_an_error_comes_after_the_chunks_before_it() -> None:
    pieces = ahead(Counted(OSError("gone")).chunks())
    assert [next(pieces) for _ in range(10)] == [bytes([number]) for number in range(10)]
    with pytest.raises(OSError, match="gone"):
        next(pieces)


def test_who_takes_no_more_leaves_no_thread_and_nothing_open() -> None:
    counted = Counted()
    pieces = ahead(counted.chunks())
    next(pieces)
    pieces.close()
    assert counted.is_closed
    assert counted.taken < 10
    assert not any(thread.name == "ahead" for thread in threading.enumerate())


def test_who_takes_no_more_does_not_wait_for_a_source_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastcms.backups.streams._GOODBYE_SECONDS", 0.1)
    answering, is_closed = threading.Event(), threading.Event()

    def read() -> Generator[bytes]:
        try:
            yield b"first"
            assert answering.wait(30)
            yield b"second"
        finally:
            is_closed.set()

    chunks = ahead(read())
    assert next(chunks) == b"first"
    chunks.close()
    assert not is_closed.is_set()
    answering.set()
    assert is_closed.wait(30)
