"""How many requests there were, and how long they took: counted here, shown at /metrics.

FastAPI measures requests for OpenTelemetry, by the templates of their routes; that is taken down here.
Source: https://fastapi.tiangolo.com/advanced/opentelemetry/

Each worker of a server counts its own requests, and shares the numbers in data/.metrics/SERVER_WORKER.json.
prometheus_client has memory-mapped files for that, but a full disk would kill whoever writes to one.
"""

import json
import multiprocessing
import secrets
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter, MeterProvider, NoOpHistogram, NoOpMeter
from opentelemetry.util.types import Attributes

from fastcms.durability import partial_path_of

# Upper bounds; the last bucket is for what takes longer. A backup may take minutes.
BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
UNMATCHED_ROUTE = "unmatched"
UNANSWERED = "unanswered"
_DURATION = "http.server.request.duration"
_SECONDS_BETWEEN_SHARES = 2


class RequestKind(NamedTuple):
    """What is counted together. status is a class of statuses, such as 2xx."""

    method: str
    route: str
    status: str


# How many requests were within each bucket; at the end, the seconds that all of them took.
Numbers = list[float]


class RequestCounts:
    """The numbers of each kind of request, of this worker and of the others."""

    def __init__(self) -> None:
        self._counted: dict[RequestKind, Numbers] = {}
        self._shared: dict[RequestKind, Numbers] = {}
        self._shared_path: Path | None = None
        self._sharing = threading.Lock()

    @property
    def telemetry(self) -> TelemetryConfig:
        """What FastAPI needs in order to report each request."""
        return {"meter_provider": _Provider(self), "tracing": False, "logs": False, "auto_configure": False}

    def add(self, kind: RequestKind, seconds: float) -> None:
        """Count a request. Only the thread of the event loop does."""
        numbers = self._counted.setdefault(kind, [0] * (len(BUCKETS_SECONDS) + 2))
        numbers[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        numbers[-1] += seconds

    @contextmanager
    def shared(self, folder: Path, server_id: str) -> Iterator[None]:
        """Share the numbers with the server's other workers, if it may have some.

        On disk: also what ended workers have counted, but for the last seconds of killed ones, until another
        server starts.
        """
        if multiprocessing.parent_process() is None:
            yield
            return
        for path in folder.glob("*"):
            if server_id not in path.name:
                with suppress(OSError):  # nobody reads it
                    path.unlink()
        self._shared_path = folder / f"{server_id}_{secrets.token_hex(8)}.json"
        ending = threading.Event()
        thread = threading.Thread(target=self._keep_sharing, args=[self._shared_path, ending], daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def total(self) -> dict[RequestKind, Numbers]:
        """The numbers of all workers. Raises: OSError when they cannot be shared."""
        if self._shared_path is None:
            return self._copy()
        # What this answer shows must be there for the next one, which another worker may give.
        self._share(self._shared_path)
        server_id = self._shared_path.name.partition("_")[0]
        total: dict[RequestKind, Numbers] = {}
        for path in self._shared_path.parent.glob(f"{server_id}_*.json"):
            for method, route, status, numbers in json.loads(path.read_bytes()):
                kind = RequestKind(method, route, status)
                known = total.get(kind)
                total[kind] = (
                    [a + b for a, b in zip(known, numbers, strict=True)] if known is not None else numbers
                )
        return total

    def _copy(self) -> dict[RequestKind, Numbers]:
        return {kind: list(numbers) for kind, numbers in list(self._counted.items())}

    def _keep_sharing(self, path: Path, ending: threading.Event) -> None:
        is_over = False
        while not is_over:
            is_over = ending.wait(_SECONDS_BETWEEN_SHARES)
            with suppress(OSError):  # `total` tells whoever asks
                self._share(path)

    def _share(self, path: Path) -> None:
        with self._sharing:
            counted = self._copy()
            if counted == self._shared:
                return
            path.parent.mkdir(mode=0o700, exist_ok=True)
            partial_path = partial_path_of(path)
            partial_path.touch(mode=0o600)
            partial_path.write_text(json.dumps([[*kind, numbers] for kind, numbers in counted.items()]))
            partial_path.replace(path)
            self._shared = counted


class _Provider(MeterProvider):
    """Gives FastAPI a meter that counts requests."""

    def __init__(self, counts: RequestCounts) -> None:
        self._counts = counts

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,  # noqa: ARG002 - of no use here
    ) -> Meter:
        return _RequestMeter(name, self._counts, version, schema_url)


class _RequestMeter(NoOpMeter):
    def __init__(self, name: str, counts: RequestCounts, version: str | None, schema_url: str | None) -> None:
        super().__init__(name, version, schema_url)
        self._counts = counts

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,  # noqa: ARG002 - ours differ
    ) -> Histogram:
        if name == _DURATION:
            return _Durations(self._counts)
        return NoOpHistogram(name, unit, description)


class _Durations(NoOpHistogram):
    def __init__(self, counts: RequestCounts) -> None:
        super().__init__(_DURATION)
        self._counts = counts

    def record(
        self,
        amount: float,
        attributes: Attributes = None,
        context: Context | None = None,  # noqa: ARG002 - of no use here
    ) -> None:
        """Count a request, once its answer has been sent."""
        # Names: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration
        known = attributes or {}
        status = known.get("http.response.status_code")
        kind = RequestKind(
            method=str(known.get("http.request.method")),
            route=str(known.get("http.route", UNMATCHED_ROUTE)),
            status=f"{status // 100}xx" if isinstance(status, int) else UNANSWERED,
        )
        self._counts.add(kind, amount)
