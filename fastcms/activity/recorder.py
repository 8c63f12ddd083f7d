"""Writes into the activity log beside the work: nobody waits for it.

A thread of its own writes, and a batch at a time, because each write waits for the disk. To create a record
through the API took 4.9 ms without a log (the median), and takes 5.0 ms so; with a write for each, 15 ms.
What a killed server has not written yet, of its last half second, is lost.

A run of the same action is told one by one at first, and then by how many more there were: whoever creates
30,000 records with a script pushes nothing out of the log.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from fastcms.activity import service
from fastcms.activity.schemas import COUNT, Deed
from fastcms.errors import FastCMSError
from fastcms.logs import get_logger
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_SECONDS_BETWEEN_WRITES = 0.5
_MOST_WAITING = 20_000
_FLUSH_SECONDS = 5
_TOLD_ONE_BY_ONE = 10
_RUN_ENDS_AFTER = timedelta(minutes=10)
_LONGEST_RUN = timedelta(hours=1)
_MOST_RUNS = 1000


@dataclass
class _Run:
    began: datetime
    latest: datetime
    seen: int = 0
    line: tuple[int, datetime] | None = None
    counted: int = 0

    def goes_on(self, now: datetime) -> bool:
        return now - self.latest < _RUN_ENDS_AFTER and now - self.began < _LONGEST_RUN


class Runs:
    """Who does the same at the moment, again and again."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, ...], _Run] = {}

    def put(self, log: sqlite3.Connection, deed: Deed) -> None:
        """Put something into the log: as a line of its own, or counted in its run's."""
        run = self._find(deed) if deed.run_sentence else None
        if run is None or run.seen <= _TOLD_ONE_BY_ONE:
            service.insert(log, deed)
            return
        run.counted += deed.count
        sentence = _with_count(deed, run.counted)
        if run.line is None or not service.update(
            log, *run.line, count=run.counted, until=run.latest, sentence=sentence
        ):
            run.counted = deed.count
            run.line = service.insert(log, deed, sentence=_with_count(deed, run.counted)), deed.time

    def _find(self, deed: Deed) -> _Run:
        # By anybody, if there is a key: whoever guesses passwords has many names.
        key = (
            (deed.action, deed.outcome, deed.run_key)
            if deed.run_key
            else (*deed.who[:2], deed.action, deed.outcome, deed.run_sentence)
        )
        run = self._runs.get(key)
        if run is None or not run.goes_on(deed.time):
            if len(self._runs) >= _MOST_RUNS:
                self._runs = {k: other for k, other in self._runs.items() if other.goes_on(deed.time)}
            run = self._runs[key] = _Run(deed.time, deed.time)
        run.seen += 1
        run.latest = max(run.latest, deed.time)
        return run


def _with_count(deed: Deed, count: int) -> str:
    if count == 1:
        return deed.sentence
    # Not `format`: what comes after the count may have braces of its own.
    return deed.run_sentence.replace(COUNT, f"{count:,}", 1)


class Recorder:
    """Takes what was done, and writes it as soon as it can."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._runs = Runs()
        self._waiting: list[Deed] = []
        self._changed = threading.Condition()
        self._is_writing = self._is_urgent = self._is_ending = False
        self._thread: threading.Thread | None = None

    def record(self, deed: Deed) -> None:
        """Have something written. Never waits, never fails."""
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:  # a disk that does not answer: there is no end to it
                return
            self._waiting.append(deed)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_writing, name="activity", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait, for some seconds at most, until all that was recorded here is written."""
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle, _FLUSH_SECONDS)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write all that is recorded until the end of the server."""
        try:
            service.mend(self._site)
        except FastCMSError as error:
            get_logger().warning(error.message, hint=error.hint)
        try:
            yield
        finally:
            self.flush()
            with self._changed:
                self._is_ending = True
                self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._waiting and not self._is_writing

    def _keep_writing(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_ending)
                if not self._waiting:
                    self._thread = None
                    return
                deeds, self._waiting = self._waiting, []
                self._is_writing = True
            try:
                service.write(self._site, partial(self._put, deeds))
            except Exception as error:  # noqa: BLE001 - the next ones may be written
                get_logger().error("Unexpected error", exc_info=error)
            with self._changed:
                self._is_writing = False
                self._is_urgent = self._is_urgent and bool(self._waiting)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._is_urgent or self._is_ending, _SECONDS_BETWEEN_WRITES)

    def _put(self, deeds: list[Deed], log: sqlite3.Connection) -> None:
        for deed in deeds:
            self._runs.put(log, deed)
