"""No request's body is kept in memory beyond a limit, whoever sends it."""

from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import Server

MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("limit"), FASTCMS_MAX_UPLOAD_SIZE="100MiB")
    running.start()
    yield running
    running.stop()
    assert "Traceback" not in running.terminal


def in_chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // MEBIBYTE):
        yield bytes(MEBIBYTE)


def peak_memory(server: Server) -> int:
    """The most memory that the server has had, in bytes."""
    with open(f"/proc/{server.pid}/status") as status:  # noqa: PTH123 - no file of ours
        [line] = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/files/", "/admin/login", "/nowhere"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_gets_its_answer_and_is_not_kept(
    server: Server, path: str, is_chunked: bool
) -> None:
    before = peak_memory(server)
    size = 200 * MEBIBYTE
    answer = requests.post(server.url + path, data=in_chunks(size) if is_chunked else bytes(size))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-frame-options"] == "DENY"
    assert peak_memory(server) - before < 100 * MEBIBYTE


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_within_the_limit_is_read(server: Server, is_chunked: bool) -> None:
    size = 31 * MEBIBYTE
    answer = requests.post(
        f"{server.url}/api/v1/auth/login", data=in_chunks(size) if is_chunked else bytes(size)
    )
    assert answer.status_code == 422


def test_an_upload_has_its_own_limit(server: Server) -> None:
    files = {"file": ("large.bin", bytes(40 * MEBIBYTE))}
    assert requests.post(f"{server.url}/api/v1/files", files=files).status_code == 401
