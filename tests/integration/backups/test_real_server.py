"""Backups and uploads of them in a real process: its memory, its death, and what a client sees."""

import json
import os
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, clean_environment
from tests.e2e.conftest import server as server  # noqa: PLC0414 - a fixture

MEGABYTE = 1024**2
NOT_CONTENT = {
    *(".lock", ".receiving", ".trash_lock", ".upkeep", ".verifying_lock", ".jobs"),
    *("history.db", "history.db-journal"),
}


@pytest.fixture
def token(server: Server) -> str:
    return server.create_token()


def curl(server: Server, token: str, path: str, *arguments: str) -> tuple[str, dict[str, object]]:
    """The status and the answer of a request to the API of backups."""
    command = ["curl", "-sS", "-w", "%{stderr}%{http_code}", "-H", f"Authorization: Bearer {token}"]
    url = f"{server.url}/api/v1/backups{path}"
    done = subprocess.run(
        [*command, *arguments, url], cwd=server.folder, check=True, capture_output=True, text=True
    )
    return done.stderr, json.loads(done.stdout)


def peak_memory_bytes(server: Server) -> int:
    return peaks_of_family(server.pid)[server.pid]


def peaks_of_family(pid: int) -> dict[int, int]:
    """The most bytes that a process and each of its children have had in memory so far."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    peaks = {pid: int(match[1]) * 1024} if match else {}  # a process that has just ended has none
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            peaks |= peaks_of_family(int(child))
    return peaks


def peak_of_a_backup(server: Server, token: str) -> int:
    """The most memory that the server and those who make a backup for it have had."""
    peaks: dict[int, int] = {}
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(curl, server, token, "", "-X", "POST")
        while not made.done():
            with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                # The latest: a child that is just being made looks as large as its parent for a moment.
                peaks |= peaks_of_family(server.pid)
            time.sleep(0.01)
    status, backup = made.result()
    assert (status, backup["problems"]) == ("200", [])
    return sum(peaks.values())


def test_the_memory_of_a_backup_does_not_grow_with_the_site(server: Server, token: str) -> None:
    files_dir = server.folder / "data" / "files"

    def add_files(size_bytes: int) -> None:
        content = os.urandom(MEGABYTE)
        (files_dir / "many").mkdir(exist_ok=True)
        for number in range(size_bytes // MEGABYTE // 2):  # half of it in files of a megabyte
            (files_dir / f"many/{size_bytes}-{number}.bin").write_bytes(content)
        with (files_dir / f"{size_bytes}.txt").open("wb") as large:  # and half in one that shrinks
            large.truncate(size_bytes // 2)

    add_files(50 * MEGABYTE)
    small_bytes = peak_of_a_backup(server, token)
    add_files(550 * MEGABYTE)
    assert peak_of_a_backup(server, token) - small_bytes < 32 * MEGABYTE


def left_in(server: Server) -> list[str]:
    names = (path.name for path in (server.folder / "data" / "backups").iterdir())
    return sorted(name for name in names if name not in NOT_CONTENT)


def make_archive(server: Server, token: str, size_bytes: int) -> Path:
    """A backup of this size, moved out of the folder of backups, of a site that goes on without its bytes."""
    big = server.folder / "data" / "files" / "big.bin"
    with Path("/dev/urandom").open("rb") as random, big.open("wb") as file:
        for _ in range(size_bytes // MEGABYTE):
            file.write(random.read(MEGABYTE))
    status, made = curl(server, token, "", "-X", "POST")
    assert status == "200"
    big.unlink()
    return Path(server.folder / str(made["path"])).rename(server.folder / f"{size_bytes}.zip")


def test_two_hundred_megabytes_do_not_grow_the_servers_memory(server: Server, token: str) -> None:
    small = make_archive(server, token, 3 * MEGABYTE)
    large = make_archive(server, token, 200 * MEGABYTE)
    assert curl(server, token, "/upload", "-F", f"file=@{small}")[0] == "200"
    before_bytes = peak_memory_bytes(server)
    status, backup = curl(server, token, "/upload", "-F", f"file=@{large}")
    assert (status, backup["kind"], backup["size_bytes"]) == ("200", "uploaded", large.stat().st_size)
    assert peak_memory_bytes(server) - before_bytes < 15 * MEGABYTE
    assert len(left_in(server)) == 4


def test_a_file_that_turns_out_to_be_damaged_is_never_complete(server: Server, token: str) -> None:
    big = server.folder / "data" / "files" / "big.bin"
    big.write_bytes(os.urandom(60 * MEGABYTE))
    _, made = curl(server, token, "", "-X", "POST")
    _, small = curl(server, token, f"/{made['filename']}/files")
    assert small["total"] == 1
    before_bytes = peak_memory_bytes(server)
    url = f"{server.url}/api/v1/backups/{made['filename']}/files/big.bin"
    get = ["curl", "-sS", "-H", f"Authorization: Bearer {token}", "-o", "got.bin", url]
    subprocess.run(get, cwd=server.folder, check=True)
    assert (server.folder / "got.bin").read_bytes() == big.read_bytes()
    assert peak_memory_bytes(server) - before_bytes < 15 * MEGABYTE
    with (server.folder / str(made["path"])).open("r+b") as archive:
        archive.seek(59 * MEGABYTE)
        archive.write(b"damage")
    broken_off = subprocess.run(get, cwd=server.folder, check=False, capture_output=True, text=True)
    assert broken_off.returncode == 18  # "partial file"
    assert (server.folder / "got.bin").stat().st_size < 60 * MEGABYTE
    assert "A download was broken off" in server.terminal
    assert "Traceback" not in server.terminal


def connect(server: Server, token: str, *, size_bytes: int) -> socket.socket:
    """A connection that has announced an upload of a size, and sent nothing of it."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(
        f"POST /api/v1/backups/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {size_bytes}\r\n\r\n".encode()
    )
    return connection


def send_half(server: Server, token: str) -> socket.socket:
    """A connection that has sent a few megabytes of an archive, which the server has written, and goes on."""
    connection = connect(server, token, size_bytes=100 * MEGABYTE)
    connection.sendall(b'--XX\r\nContent-Disposition: form-data; name="file"; filename="half.zip"\r\n\r\n')
    while not any(path.stat().st_size for path in (server.folder / "data" / "backups").glob(".upload-*")):
        connection.sendall(bytes(MEGABYTE))
    return connection


def test_who_may_not_upload_is_told_so_before_a_byte_is_sent(server: Server) -> None:
    with connect(server, "wrong", size_bytes=100 * MEGABYTE) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert left_in(server) == []


def test_an_upload_that_breaks_off_leaves_nothing(server: Server, token: str) -> None:
    with send_half(server, token):
        assert len(left_in(server)) == 1
    deadline = time.monotonic() + 30
    while left_in(server):  # the server notices, and cleans up
        assert time.monotonic() < deadline, server.terminal
        time.sleep(0.01)


def test_a_backup_made_and_a_command_run_meanwhile_leave_the_upload_alone(server: Server, token: str) -> None:
    with send_half(server, token):
        assert curl(server, token, "", "-X", "POST")[0] == "200"
        command = ["fastcms", "backup", "create", "--json"]
        subprocess.run(command, cwd=server.folder, env=clean_environment(), check=True)
        assert [name[:8] for name in left_in(server)] == [".upload-", "backup_2", "backup_2"]


def test_a_server_killed_during_an_upload_leaves_a_hidden_file_that_the_next_start_removes(
    server: Server, token: str
) -> None:
    with send_half(server, token):
        server.kill()
    assert [name[:8] for name in left_in(server)] == [".upload-"]
    server.start()
    assert left_in(server) == []
    assert curl(server, token, "")[1]["total"] == 0


def test_a_file_is_imported_beside_a_running_server(server: Server, token: str) -> None:
    archive = make_archive(server, token, 3 * MEGABYTE)
    command = ["fastcms", "backup", "import", str(archive), "--json"]
    done = subprocess.run(
        command, cwd=server.folder, env=clean_environment(), check=True, capture_output=True, text=True
    )
    backup = json.loads(done.stdout)
    assert curl(server, token, f"/{backup['filename']}")[1] == backup
