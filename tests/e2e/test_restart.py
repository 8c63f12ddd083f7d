"""A server that restarts from within: it replaces its process, or ends and is started again."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from fastcms.locks import FileLock
from tests.e2e.conftest import OwnServer, Server, clean_environment

BIG_BYTES = 12 * 1024**3  # sparse, and longer at work than the restart waits
RESTART = "/api/v1/server/restart"
# As a container's restart policy, or systemd's Restart=always.
SUPERVISOR = (
    "trap 'kill $!; exit' INT; "
    "for run in 1 2; do python -m uvicorn app.main:app {options} & wait $!; echo ended; done"
)


class Supervised(Server):
    """A loop that starts uvicorn once more when it has ended."""

    def _command(self) -> list[str]:
        options = " ".join(["--port", str(self.port), *self.arguments])
        return ["bash", "-c", SUPERVISOR.format(options=options)]


@pytest.fixture
def start() -> Iterator[Callable[[Server], requests.Session]]:
    """Start a server, and get a session of an admin on it."""
    started: list[Server] = []

    def start_and_log_in(server: Server) -> requests.Session:
        server.start()
        started.append(server)
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {server.create_token()}"
        return session

    yield start_and_log_in
    for server in started:
        server.stop()


def ways(session: requests.Session, server: Server) -> tuple[str, str]:
    told = session.get(f"{server.url}/api/v1/server").json()
    return told["restart"], told["command"]


def test_fastcms_serve_replaces_its_process_though_a_stream_is_open_and_a_backup_runs(
    tmp_path: Path, start: Callable[[Server], requests.Session]
) -> None:
    server = OwnServer(tmp_path)
    session = start(server)
    files_dir, backups_dir = tmp_path / "data/files", tmp_path / "data/backups"
    with (files_dir / "big.bin").open("wb") as big:
        os.truncate(big.fileno(), BIG_BYTES)
    job = session.post(f"{server.url}/api/v1/backups", headers={"Prefer": "respond-async"}).json()
    events: list[str] = []

    def follow() -> None:
        url = f"{server.url}/api/v1/backups/jobs/{job['id']}/events"
        with session.get(url, stream=True, timeout=60) as answer:
            events.extend(line.decode() for line in answer.iter_lines() if line)

    follower = threading.Thread(target=follow)
    follower.start()
    pid, server_id, terminals = server.pid, server.server_id(), server.terminal.count("log in at")
    assert ways(session, server)[0] == "by_itself"
    answer = session.post(f"{server.url}{RESTART}")
    assert answer.status_code == 202
    assert answer.json() == {"status": "restarting", "server_id": server_id}
    assert session.post(f"{server.url}{RESTART}").status_code == 202  # a double click
    server.wait_for_restart(server_id)
    follower.join(timeout=30)

    assert not follower.is_alive()
    assert events
    assert server.pid == pid
    assert server.terminal.count("log in at") == terminals + 1
    assert server.terminal.count("Restarting.") == 1
    assert "restarting" in server.terminal
    assert "Traceback" not in server.terminal
    (ended,) = session.get(f"{server.url}/api/v1/backups/jobs").json()["items"]
    assert (ended["state"], ended["error"]["code"]) == ("cancelled", "job_cancelled")
    assert [path.name for path in backups_dir.glob("*.zip*")] == []
    assert [holder.pid for holder in FileLock(tmp_path / "data/.serving").holders()] == [pid]
    open_files = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    assert not {name for name in open_files if name.startswith("big.bin")}
    (files_dir / "big.bin").unlink()
    assert session.post(f"{server.url}/api/v1/backups").json()["filename"]


def test_after_a_restart_ctrl_c_ends_the_server_as_before(
    tmp_path: Path, start: Callable[[Server], requests.Session]
) -> None:
    server = OwnServer(tmp_path)
    session = start(server)
    server_id = server.server_id()
    session.post(f"{server.url}{RESTART}").raise_for_status()
    server.wait_for_restart(server_id)
    server.stop()
    assert server.terminal.count("Restarting.") == 1
    server.start()
    assert server.server_id() is not None


def test_settings_that_do_not_fit_any_more_are_refused_before_the_server_stops(
    tmp_path: Path, start: Callable[[Server], requests.Session]
) -> None:
    server = OwnServer(tmp_path)
    session = start(server)
    (tmp_path / ".env").write_text("FASTCMS_SESSION_HOURS=never\n")
    refused = session.post(f"{server.url}{RESTART}")
    assert (refused.status_code, refused.json()["code"]) == (500, "config_invalid")
    assert "FASTCMS_SESSION_HOURS" in refused.json()["detail"]
    assert server.server_id() is not None


def test_a_start_that_fails_after_a_restart_ends_with_its_reason_and_exit_code(
    tmp_path: Path, start: Callable[[Server], requests.Session]
) -> None:
    server = OwnServer(tmp_path)
    session = start(server)
    database = tmp_path / "data/app.db"
    database.rename(tmp_path / "elsewhere.db")
    database.symlink_to(tmp_path / "elsewhere.db")
    session.post(f"{server.url}{RESTART}").raise_for_status()
    assert server.wait_for_end() == 2
    assert "is a symbolic link" in server.terminal.rpartition("Restarting.")[2]


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_a_supervised_server_ends_itself_and_is_started_again(
    tmp_path: Path, start: Callable[[Server], requests.Session], options: tuple[str, ...]
) -> None:
    server = Supervised(tmp_path, arguments=options, FASTCMS_SUPERVISED="true")
    session = start(server)
    server_id = server.server_id()
    assert ways(session, server)[0] == "supervised"
    assert session.post(f"{server.url}{RESTART}").status_code == 202
    server.wait_for_restart(server_id)
    assert server.terminal.count("ended") == 1
    assert session.get(f"{server.url}/api/v1/backups/status").status_code == 200
    assert session.post(f"{server.url}{RESTART}").status_code == 202
    assert server.wait_for_end() == 0  # the loop, which starts it only twice
    assert server.terminal.count("ended") == 2


def test_how_people_restart_a_server_is_told_by_how_it_was_started(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from fastcms import restarting\n"
        "from fastcms.config import Settings\n"
        "from fastcms.site import new_site\n"
        "from pathlib import Path\n"
        "restarting._CGROUP, restarting._CONTAINER_MARKS = Path(sys.argv[1]), (Path(sys.argv[2]),)\n"
        "site = new_site(Settings(_env_file=None))\n"
        "with restarting.replaceable(lambda: None):\n"
        "    print(json.dumps([restarting.advise(site).command, restarting.advise(site).log_command]))\n"
    )
    (tmp_path / "cgroup").touch()

    def told(group: str = "", container: str = "missing", **environment: str) -> list[str | None]:
        (tmp_path / "cgroup").write_text(group)
        known = {name: value for name, value in clean_environment().items() if name != "MAKELEVEL"}
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "cgroup", tmp_path / container],
            env=known | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found: list[str | None] = json.loads(done.stdout)
        return found

    assert told() == ["fastcms serve", None]
    assert told(MAKELEVEL="1") == ["make run", None]
    assert told("0::/system.slice/cms.service\n", INVOCATION_ID="1") == [
        "systemctl restart cms",
        "journalctl -u cms",
    ]
    users = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/cms.service\n"
    assert told(users, INVOCATION_ID="1")[0] == "systemctl --user restart cms"
    terminals = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n"
    assert told(terminals, INVOCATION_ID="1")[0] == "fastcms serve"
    assert told(container="cgroup") == ["docker compose restart", "docker compose logs"]
