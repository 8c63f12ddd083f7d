"""The clients that write records: they count what goes wrong, and keep their pace."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.http_client import Api
from benchmarks.load import CLIENTS, Load, write_records
from benchmarks.measurements.writers import over_time, summarise


@contextmanager
def server_that_fails_every(nth: int) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers every nth request with 500; its port and the bodies that it gets."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(500 if len(bodies) % nth == 0 else 201)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def api(port: int) -> Api:
    return Api(port, "Bearer token", "/records", {"title": "Grüße"}, "/files")


def test_every_write_is_counted_and_each_that_fails_is_an_error() -> None:
    with server_that_fails_every(5) as (port, bodies):
        writes = write_records(Load(port, api(port).new_record, seconds=0.5))
    assert len(writes) == len(bodies) >= CLIENTS
    assert sum(write.is_error for write in writes) == len(bodies) // 5
    assert set(bodies) == {b'{"title": "Gr\\u00fc\\u00dfe"}'}


def test_a_fixed_rate_sends_as_many_as_it_says_however_fast_the_answers_are() -> None:
    with server_that_fails_every(1000) as (port, bodies):
        writes = write_records(Load(port, api(port).new_record, seconds=0.5, per_second=40))
    assert len(writes) == len(bodies) == 20
    distances = [after.began - before.began for before, after in itertools.pairwise(writes)]
    assert all(abs(distance - 1 / 40) < 1e-6 for distance in distances)


def test_a_server_that_is_not_there_is_all_errors() -> None:
    with server_that_fails_every(1000) as (port, _):
        pass
    writes = write_records(Load(port, api(port).new_record, seconds=0.2))
    assert len(writes) >= CLIENTS
    assert all(write.is_error for write in writes)


def test_the_summary_has_percentiles_in_milliseconds_and_the_chart_tenths_of_a_second() -> None:
    with server_that_fails_every(1000) as (port, _):
        writes = write_records(Load(port, api(port).new_record, seconds=0.5, per_second=40))
    summary = summarise(writes, 0.5)
    assert summary["p50_ms"] <= summary["p99_ms"]
    assert summary["slowest_ms"] == max(write.seconds for write in writes) * 1000
    assert (summary["errors"], summary["per_second"]) == (0, 40)
    start = writes[0].began
    series = over_time(writes, [(start + 0.1, start + 0.2)])
    assert series["seconds"] == [0, 0.1, 0.2, 0.3, 0.4]
    assert series["backups"] == [[0.1, 0.2]]
