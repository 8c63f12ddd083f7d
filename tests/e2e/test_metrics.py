"""The numbers of a server with several workers, whichever of them is asked."""

import os
import signal
import time
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from fastcms.locks import FileLock
from tests.e2e.conftest import Server


def count_unmatched(server: Server) -> float:
    text = requests.get(f"{server.url}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith("_seconds_count") and sample.labels["route"] == "unmatched"
    )


def wait_for(server: Server, expected: float) -> None:
    """Workers tell each other every two seconds."""
    deadline = time.monotonic() + 30
    while (counted := count_unmatched(server)) != expected:
        assert counted < expected
        assert time.monotonic() < deadline, (counted, expected)
        time.sleep(0.1)


def test_all_workers_show_the_requests_of_all_also_of_a_killed_one(tmp_path: Path) -> None:
    server = Server(tmp_path, arguments=["--workers", "2"], FASTCMS_METRICS_PUBLIC="true")
    folder = tmp_path / "data/.metrics"
    folder.mkdir(parents=True)
    (folder / "earlier_server.json").write_text('[["GET", "unmatched", "4xx", [1000]]]')
    server.start()
    try:
        server.wait_until_printed("Application startup complete.", 2)
        sent = 0
        deadline = time.monotonic() + 30
        while len(list(folder.glob("*.json"))) < 2:
            assert time.monotonic() < deadline
            requests.get(f"{server.url}/nowhere")  # in a connection of its own, to either of the two
            sent += 1
            time.sleep(0.02)
        wait_for(server, sent)
        os.kill(FileLock(tmp_path / "data/.serving").holders()[0].pid, signal.SIGKILL)
        assert [count_unmatched(server) for _ in range(5)] == [sent] * 5
    finally:
        server.stop()
    assert not (folder / "earlier_server.json").exists()
