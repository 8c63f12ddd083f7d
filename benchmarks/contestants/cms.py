"""FastCMS: a real server on a site of any size, driven through its API and its command."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.dataset import COLLECTION, Dataset, build_site
from benchmarks.http_client import Api
from benchmarks.results import Metrics
from benchmarks.server_process import ServerProcess
from benchmarks.site_state import SiteClient

NAME = "FastCMS"
COMMAND_NAME = "FastCMS, its command"
_TIMEOUT_SECONDS = 1800
_POLL_SECONDS = 0.1


class CmsSite:
    """A site in its own folder, with a server and a token that may do everything."""

    name = NAME

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        """Build the site; it takes a few seconds for each gigabyte."""
        folder.mkdir(parents=True)
        self.data_dir = folder / "data"
        build_site(self.data_dir, dataset)
        self.server = ServerProcess(folder)
        self.token = self.run_command("token", "create", "benchmark").strip()
        self.client = SiteClient(self.server.url, _TIMEOUT_SECONDS)
        self.client.use_token(self.token)
        self.server.start()

    @property
    def api(self) -> Api:
        return Api(
            port=self.server.port,
            authorization=f"Bearer {self.token}",
            records_path=f"/api/v1/collections/{COLLECTION}/records",
            record={"data": {"title": "Written by a benchmark", "body": "<p>A short text.</p>" * 10}},
            files_path="/api/v1/files",
        )

    @property
    def backups_dir(self) -> Path:
        return self.data_dir / "backups"

    def create(self) -> dict[str, Metrics]:
        """Make a backup through the API; it is durable when the answer comes."""
        started = time.perf_counter()
        backup = self.create_backup()
        seconds = time.perf_counter() - started
        self.delete_backup(backup["filename"])
        return {NAME: {"seconds": seconds, "archive_bytes": backup["size_bytes"]}}

    def create_by_command(self) -> dict[str, Metrics]:
        """The same by `fastcms backup create`, which has to start Python first."""
        started = time.perf_counter()
        backup = json.loads(self.run_command("backup", "create", "--json"))
        seconds = time.perf_counter() - started
        self.delete_backup(backup["filename"])
        return {COMMAND_NAME: {"seconds": seconds, "archive_bytes": backup["size_bytes"]}}

    def create_backup(self) -> dict[str, Any]:
        backup: dict[str, Any] = self.client.call("POST", "/backups")
        return backup

    def delete_backup(self, filename: str) -> None:
        self.client.call("DELETE", f"/backups/{filename}")

    def stage(self, filename: str) -> float:
        """Check and stage a backup through the API.

        Returns: the seconds until it was ready for a restart.
        """
        started = time.perf_counter()
        self.client.call("POST", f"/backups/{filename}/restore")
        return time.perf_counter() - started

    def cancel(self) -> None:
        """Give up what is staged, and wait until it is off the disk."""
        self.client.call("DELETE", "/backups/restore")
        self.wait_for_removals()

    def restart(self) -> float:
        """Stop the server and start it again.

        Returns: the seconds from the start until /health answered.
        """
        self.server.end(signal.SIGTERM)
        return self.server.start()

    def wait_for_removals(self) -> None:
        """Wait for what the server removes in the background: it would slow the next measurement."""
        while any(self.data_dir.glob(".discarded-*")) or any(self.backups_dir.glob(".discarded-*")):
            time.sleep(_POLL_SECONDS)

    def run_command(self, *arguments: str) -> str:
        """Run `fastcms` on this site and return what it prints."""
        return run_command(self.data_dir, *arguments)

    def stop(self) -> None:
        self.server.end(signal.SIGTERM)


def run_command(data_dir: Path, *arguments: str) -> str:
    """Run `fastcms` on a data folder and return what it prints.

    Raises: RuntimeError with the command's own words.
    """
    server_environment = ServerProcess(data_dir.parent).environment
    run = subprocess.run(
        [Path(sys.executable).with_name("fastcms"), *arguments],
        cwd=data_dir.parent,
        env=server_environment | {"FASTCMS_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"fastcms {' '.join(arguments)}: {run.stderr}")
    return run.stdout
