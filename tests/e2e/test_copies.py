"""A copy survives the end of the server that makes it: begun anew, and never half there."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import requests

from tests.e2e.conftest import Server

_PATIENCE_SECONDS = 90
_PHOTO_BYTES = 3_000_000


def test_a_copy_whose_server_is_killed_is_made_by_the_next_one(server: Server, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    # Slow enough to be killed in between.
    server.environment["FASTCMS_BACKUP_DESTINATIONS"] = f"file://{far}?limit=100kB"
    photo = server.folder / "photo.bin"
    photo.write_bytes(os.urandom(_PHOTO_BYTES))
    put_file_in_place(server, photo)
    server.restart()
    created = json.loads(server.run("backup", "create", "--json"))
    wait_until(lambda: partial_bytes(far) > 500_000, server)
    server.kill()
    assert visible(far) == []
    assert json.loads(server.run("backup", "list", "--json"))["items"][0]["copies"][0]["state"] == "copying"
    server.environment["FASTCMS_BACKUP_DESTINATIONS"] = f"file://{far}"
    server.start()
    wait_until(lambda: visible(far) == [created["filename"]], server)
    wait_until(lambda: state_of_copy(server) == "copied", server)
    copied = (far / created["filename"]).read_bytes()
    assert copied == (server.folder / created["path"]).read_bytes()


def put_file_in_place(server: Server, photo: Path) -> None:
    """Upload it as somebody would, with a token from the terminal."""
    token = server.run("token", "create", "photos", "--scope", "content:write").strip()
    with photo.open("rb") as content:
        answer = requests.post(
            f"{server.url}/api/v1/files",
            files={"file": content},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert answer.status_code == 201, answer.text


def state_of_copy(server: Server) -> str:
    listed = json.loads(server.run("backup", "list", "--json"))
    return str(listed["items"][0]["copies"][0]["state"])


def visible(far: Path) -> list[str]:
    return sorted(path.name for path in far.iterdir() if not path.name.startswith("."))


def partial_bytes(far: Path) -> int:
    return sum(path.stat().st_size for path in far.glob(".*.partial"))


def wait_until(is_so: Callable[[], bool], server: Server) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, server.terminal
        time.sleep(0.2)
