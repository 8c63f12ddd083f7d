"""Uploads to a real process: its memory, its death, and what curl shows."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from fastcms.accounts.schemas import Scope
from fastcms.locks import FileLock
from tests.e2e.conftest import Server
from tests.e2e.conftest import server as server  # noqa: PLC0414 - a fixture

MEGABYTE = 1024**2
WORKER_STARTED = "Application startup complete."


def _curl(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["curl", "-sS", "-w", "%{stderr}%{http_code}", *arguments, f"{server.url}/api/v1/files"]
    return subprocess.run(command, cwd=server.folder, check=True, capture_output=True, text=True)


def _peak_memory_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


def _connect_and_send_half(server: Server, token: str) -> socket.socket:
    """A connection that has sent a few megabytes of a file, which the server has written, and goes on."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        f"POST /api/v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {100 * MEGABYTE}\r\n\r\n"
        '--XX\r\nContent-Disposition: form-data; name="file"; filename="half.bin"\r\n\r\n'.encode()
    )
    while not any(path.stat().st_size for path in _temporary(server)):
        connection.sendall(bytes(MEGABYTE))
    return connection


def _temporary(server: Server) -> list[Path]:
    return list((server.folder / "data" / "files").glob(".upload-*"))


def test_fifty_megabytes_do_not_grow_the_servers_memory(server: Server) -> None:
    token = server.create_token(Scope.CONTENT_WRITE)
    headers = ("-H", f"Authorization: Bearer {token}")
    (server.folder / "small").write_bytes(bytes(3 * MEGABYTE))
    (server.folder / "large").write_bytes(bytes(50 * MEGABYTE))
    assert _curl(server, *headers, "-F", "file=@small").stderr == "201"
    before_bytes = _peak_memory_bytes(server)
    done = _curl(server, *headers, "-F", "file=@large")
    assert done.stderr == "201"
    assert _peak_memory_bytes(server) - before_bytes < 10 * MEGABYTE
    url = server.url + json.loads(done.stdout)["url"]
    subprocess.run(["curl", "-sSf", "-o", "fetched", url], cwd=server.folder, check=True)
    assert (server.folder / "fetched").stat().st_size == 50 * MEGABYTE
    assert _peak_memory_bytes(server) - before_bytes < 10 * MEGABYTE


@pytest.mark.parametrize(
    "extra", [(), ("-H", "Expect:"), ("-H", "Transfer-Encoding: chunked", "-H", "Expect:")]
)
def test_curl_shows_the_limit_and_no_broken_pipe(tmp_path: Path, extra: tuple[str, ...]) -> None:
    server = Server(tmp_path, FASTCMS_MAX_UPLOAD_SIZE="4MiB")
    server.start()
    try:
        (tmp_path / "large").write_bytes(bytes(12 * MEGABYTE))
        authorization = f"Authorization: Bearer {server.create_token(Scope.CONTENT_WRITE)}"
        done = _curl(server, "-H", authorization, *extra, "-F", "file=@large")
    finally:
        server.stop()
    assert done.stderr == "413"
    assert "4.0MiB" in json.loads(done.stdout)["detail"]
    assert list((tmp_path / "data" / "files").iterdir()) == []


def test_a_server_killed_during_an_upload_leaves_a_temporary_file_that_the_next_start_removes(
    server: Server,
) -> None:
    token = server.create_token(Scope.CONTENT_WRITE)
    with _connect_and_send_half(server, token):
        server.kill()
    files = list((server.folder / "data" / "files").iterdir())
    assert files == _temporary(server)
    assert len(files) == 1
    server.start()
    assert list((server.folder / "data" / "files").iterdir()) == []


def _has_open(pid: int, path: Path) -> bool:
    return any(link.exists() and link.samefile(path) for link in Path(f"/proc/{pid}/fd").iterdir())


def test_a_worker_that_starts_leaves_the_uploads_of_another_alone(tmp_path: Path) -> None:
    server = Server(tmp_path, arguments=["--workers", "2"])
    server.start()
    try:
        server.wait_until_printed(WORKER_STARTED, 2)
        workers = {holder.pid for holder in FileLock(tmp_path / "data" / ".serving").holders()}
        with _connect_and_send_half(server, server.create_token(Scope.CONTENT_WRITE)):
            (other,) = (pid for pid in workers if not _has_open(pid, _temporary(server)[0]))
            os.kill(other, signal.SIGKILL)
            server.wait_until_printed(WORKER_STARTED, 3)
            assert len(_temporary(server)) == 1
        deadline = time.monotonic() + 30
        while _temporary(server):  # the client has gone away: the server notices, and cleans up
            assert time.monotonic() < deadline, server.terminal
            time.sleep(0.01)
    finally:
        server.stop()
