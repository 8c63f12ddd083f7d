"""The main job in under a minute: fill a site, back it up, lose half of it, and get all of it back.

Run it with `make demo`. It ends with exit code 0 only if every record and every file came back as it was.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.pictures import draw_pictures
from benchmarks.sample_site import COLLECTIONS, COUNTS, write_records
from benchmarks.server_process import ServerProcess
from benchmarks.site_state import SiteClient, SiteState, find_differences, read_state

EMAIL, PASSWORD = "demo@example.com", "only for this demo"
PICTURES = 40
_SHOWN_DIFFERENCES = 20

_Item = TypeVar("_Item")

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fastcms-demo-") as folder:
        server = ServerProcess(Path(folder))
        try:
            return _play(server)
        finally:
            server.end(signal.SIGKILL)


def _play(server: ServerProcess) -> int:
    started = time.perf_counter()
    console.print("[bold]FastCMS: fill a site, back it up, lose half of it, restore it, compare it[/]\n")
    console.print(f"A new site in {server.folder}, served by `uvicorn app.main:app` at {server.url}.")
    server.start()
    client = _set_up(server)
    _fill(client)
    before = read_state(client)

    with _timed("Backup by POST /api/v1/backups") as timing:
        backup = client.call("POST", "/backups")
    timing.say(f"{backup['filename']}, {backup['size_bytes'] / 1024**2:.1f} MB")

    _delete_half(client, before)
    damaged = read_state(client)
    lost = len(find_differences(before, damaged))
    console.print(f"Lost: {lost} of {_count(before)} collections, records and files are gone or changed.")

    with _timed("Restore staged by POST /api/v1/backups/{filename}/restore") as timing:
        staged = client.call("POST", f"/backups/{backup['filename']}/restore")
    timing.say(staged["status"])

    server.end(signal.SIGKILL)
    with _timed("Server killed with SIGKILL and started again") as timing:
        server.start()
    timing.say("until /health answers")

    client.log_in(EMAIL, PASSWORD)
    status = client.call("GET", "/backups/restore")
    console.print(f"GET /api/v1/backups/restore says: {status['state']} from {status['backup_filename']}.")
    after = read_state(client)
    return _judge(before, damaged, after, time.perf_counter() - started)


def _set_up(server: ServerProcess) -> SiteClient:
    subprocess.run(
        [Path(sys.executable).with_name("fastcms"), "admin", "create", EMAIL],
        cwd=server.folder,
        env=server.environment | {"FASTCMS_ADMIN_PASSWORD": PASSWORD},
        check=True,
        capture_output=True,
    )
    client = SiteClient(server.url)
    client.log_in(EMAIL, PASSWORD)
    return client


def _fill(client: SiteClient) -> None:
    pictures = [
        client.call("POST", "/files", files={"file": (name, content)})["id"]
        for name, content in _watched(draw_pictures(PICTURES), "Uploading pictures", PICTURES)
    ]
    ids: dict[str, list[str]] = {"files": pictures}
    for collection, fields in COLLECTIONS.items():
        schema = [{"name": field} | kind for field, kind in fields.items()]
        client.call("POST", "/collections", json={"name": collection, "schema": schema})
        ids[collection] = [
            client.call("POST", f"/collections/{collection}/records", json={"data": data})["id"]
            for data in _watched(write_records(collection, ids), f"Writing {collection}", COUNTS[collection])
        ]
    counts = ", ".join(f"{len(made)} {name}" for name, made in ids.items())
    console.print(f"Filled through the API: {counts}.")


def _delete_half(client: SiteClient, state: SiteState) -> None:
    names = list(state.records)[::2]
    files = [file["id"] for file in state.files.values()][::2]
    for name in _watched(names, "Deleting records", len(names)):
        collection, _, record_id = name.partition("/")
        client.call("DELETE", f"/collections/{collection}/records/{record_id}")
    for file_id in files:
        client.call("DELETE", f"/files/{file_id}")
    console.print(f"Deleted through the API: {len(names)} records and {len(files)} pictures.")


def _judge(before: SiteState, damaged: SiteState, after: SiteState, seconds: float) -> int:
    table = Table("", "Before", "After the loss", "After the restore", box=None)
    for kind in ("collections", "records", "files"):
        table.add_row(kind.title(), *(str(len(getattr(state, kind))) for state in (before, damaged, after)))
    console.print(table)
    wrong = [
        f"files: {name} is served with other bytes than were uploaded"
        for name, file in after.files.items()
        if file["served_sha256"] != file["sha256"]
    ]
    wrong += find_differences(before, after)
    for line in wrong[:_SHOWN_DIFFERENCES]:
        console.print(f"[red]{line}")
    if wrong:
        console.print(f"[bold red]FAILED:[/] {len(wrong)} differences after the restore.")
        return 1
    console.print(
        f"[bold green]PASSED:[/] all {len(after.records)} records and {len(after.files)} files are as they "
        f"were, value by value and byte by byte ({seconds:.0f} s in all)."
    )
    return 0


class _Timing:
    def __init__(self, what: str) -> None:
        self._what = what
        self.seconds = 0.0

    def say(self, detail: str) -> None:
        console.print(f"{self._what}: [bold]{self.seconds * 1000:.0f} ms[/] ({detail})")


@contextmanager
def _timed(what: str) -> Iterator[_Timing]:
    timing = _Timing(what)
    started = time.perf_counter()
    yield timing
    timing.seconds = time.perf_counter() - started


def _count(state: SiteState) -> int:
    return len(state.collections) + len(state.records) + len(state.files)


def _watched(items: Iterable[_Item], what: str, total: int) -> Iterable[_Item]:
    return track(items, f"{what:20}", total, console=console, transient=True, disable=not console.is_terminal)


if __name__ == "__main__":
    sys.exit(main())
