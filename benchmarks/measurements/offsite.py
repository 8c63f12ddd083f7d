"""Copying a backup to object storage and bringing it back: beside rclone, and beside age with rclone.

The object storage is a SeaweedFS on this machine, a new one for each copy: no network is the limit, and
nobody finds what others have left.
"""

import filecmp
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from pyrage.x25519 import Identity

from benchmarks.contestants import cms
from benchmarks.contestants.archivers import run as run_program
from benchmarks.contestants.archivers import time_of
from benchmarks.context import Bench, Contestant
from benchmarks.measurements import memory
from benchmarks.results import Metrics
from tests.object_servers import BUCKET, ObjectServer, seaweedfs

COPY, FETCH = "copy to S3", "fetch from S3"
ENCRYPTED = f"{cms.NAME}, encrypted"
CHECKED = f"{cms.NAME}, into its own backups, checked whole"
RCLONE, RCLONE_BACK = "rclone copy", "rclone copy, then fsync"
AGE, AGE_BACK = "age and rclone rcat, piped", "rclone cat and age, piped, then fsync"
_FOLDER = "site"
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 1800


@dataclass(frozen=True)
class _Backup:
    """What is copied, and the key that it is encrypted to where it is."""

    bench: Bench
    archive: Path
    size_bytes: int
    key_path: Path
    secret_key: str
    public_key: str

    @property
    def target(self) -> Path:
        """Where it is fetched to."""
        return self.bench.folder / "fetched.zip"

    @property
    def far_path(self) -> str:
        """As rclone calls it."""
        return f"far:{BUCKET}/{_FOLDER}/{self.archive.name}"

    def rate(self, seconds: float) -> Metrics:
        return {"seconds": seconds, "bytes_per_second": self.size_bytes / seconds}


def run(bench: Bench) -> None:
    """What needs age is left out where it is not installed."""
    backup = _make_backup(bench)
    bench.results.facts["copied_bytes"] = backup.size_bytes
    has_age = shutil.which("age") is not None
    copies: list[Contestant] = [partial(_copy_by_cms, backup), partial(_copy_by_rclone, backup)]
    copies.append(partial(_copy_by_cms, backup, encrypt=True))
    if has_age:
        copies.append(partial(_copy_by_age, backup))
    bench.in_turn(COPY, bench.plan.copied_rounds, copies)
    with _far_side(backup) as far, _copied(backup, far) as (destination, _seconds):
        fetches: list[Contestant] = [
            partial(_fetch_by_command, backup, destination),
            partial(_fetch_by_rclone, backup, far),
            partial(_fetch_by_server, backup, destination),
        ]
        if has_age:
            _copy_with_age(backup, far)
            fetches.append(partial(_fetch_by_command, backup, destination, encrypted=True))
            fetches.append(partial(_fetch_by_age, backup, far))
        bench.in_turn(FETCH, bench.plan.copied_rounds, fetches)
    for encrypt in (False, True):
        _measure_memory(backup, encrypt=encrypt)
    bench.cms.delete_backup(backup.archive.name)


def copying(*, encrypt: bool) -> str:
    return f"{ENCRYPTED if encrypt else cms.NAME}, copying 2 GB to S3"


def fetching(*, encrypt: bool) -> str:
    return f"{ENCRYPTED if encrypt else cms.NAME}, fetching 2 GB from S3"


def _copy_by_cms(backup: _Backup, *, encrypt: bool = False) -> dict[str, Metrics]:
    """By the server itself, which begins within 20 seconds: as long as its job took."""
    with _far_side(backup) as far, _copied(backup, far, encrypt=encrypt) as (_destination, seconds):
        return {ENCRYPTED if encrypt else cms.NAME: backup.rate(seconds)}


def _copy_by_rclone(backup: _Backup) -> dict[str, Metrics]:
    with _far_side(backup) as far:
        seconds = time_of(lambda: far.rclone("copyto", backup.archive, backup.far_path))
    return {RCLONE: backup.rate(seconds)}


def _copy_by_age(backup: _Backup) -> dict[str, Metrics]:
    with _far_side(backup) as far:
        return {AGE: backup.rate(time_of(lambda: _copy_with_age(backup, far)))}


def _copy_with_age(backup: _Backup, far: ObjectServer) -> None:
    pipe = f"age -r {backup.public_key} {backup.archive} | rclone rcat {backup.far_path}.age"
    _run_pipe(backup, far, pipe)


def _fetch_by_command(backup: _Backup, destination: str, *, encrypted: bool = False) -> dict[str, Metrics]:
    """`fastcms backup download`, which has to start Python first; the file is durable when it ends."""
    name, options = f"{destination}/{backup.archive.name}", ["--to", str(backup.target)]
    if encrypted:
        name, options = f"{name}.age", [*options, "--identity", str(backup.key_path)]
    seconds = time_of(lambda: backup.bench.cms.run_command("backup", "download", name, *options))
    _remove_whole(backup)
    return {ENCRYPTED if encrypted else cms.NAME: backup.rate(seconds)}


def _fetch_by_rclone(backup: _Backup, far: ObjectServer) -> dict[str, Metrics]:
    started = time.perf_counter()
    far.rclone("copyto", backup.far_path, backup.target)
    run_program(["sync", str(backup.target)], backup.bench.folder)
    seconds = time.perf_counter() - started
    _remove_whole(backup)
    return {RCLONE_BACK: backup.rate(seconds)}


def _fetch_by_age(backup: _Backup, far: ObjectServer) -> dict[str, Metrics]:
    pipe = f"rclone cat {backup.far_path}.age | age -d -i {backup.key_path} -o {backup.target}"
    seconds = time_of(lambda: _run_pipe(backup, far, f"{pipe} && sync {backup.target}"))
    _remove_whole(backup)
    return {AGE_BACK: backup.rate(seconds)}


def _fetch_by_server(backup: _Backup, destination: str) -> dict[str, Metrics]:
    """Through the API, as before a restore: the database is looked at, and every file's checksum."""
    return {CHECKED: backup.rate(time_of(lambda: _fetch(backup, destination)))}


def _fetch(backup: _Backup, destination: str, *, encrypted: bool = False) -> None:
    """Let the server fetch what it no longer has."""
    site = backup.bench.cms
    site.delete_backup(backup.archive.name)
    name = f"{backup.archive.name}.age" if encrypted else backup.archive.name
    path = f"/backups/destinations/{destination}/backups/{name}/fetch"
    fetched = site.client.call("POST", path, json={"identity": backup.secret_key} if encrypted else {})
    if fetched["filename"] != backup.archive.name:
        raise RuntimeError(f"{name} was fetched as {fetched['filename']}.")


def _measure_memory(backup: _Backup, *, encrypt: bool) -> None:
    """With a fresh server for each direction."""
    bench, site = backup.bench, backup.bench.cms
    with ExitStack() as stack:
        far = stack.enter_context(_far_side(backup))
        _start_afresh(site)
        with memory.watched(bench, copying(encrypt=encrypt), site.server.pid):
            destination, _seconds = stack.enter_context(_copied(backup, far, encrypt=encrypt))
        _start_afresh(site)
        with memory.watched(bench, fetching(encrypt=encrypt), site.server.pid):
            _fetch(backup, destination, encrypted=encrypt)


def _start_afresh(site: cms.CmsSite) -> None:
    site.restart()
    site.client.call("GET", "/backups")


@contextmanager
def _far_side(backup: _Backup) -> Iterator[ObjectServer]:
    folder = backup.bench.folder / "far-side"
    folder.mkdir()
    try:
        with seaweedfs(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def _copied(backup: _Backup, far: ObjectServer, *, encrypt: bool = False) -> Iterator[tuple[str, float]]:
    """Name the server a destination, and wait for its copy there; the destination's id, and the seconds."""
    call = backup.bench.cms.client.call
    call("PUT", "/backups/settings", json={"encrypt_to": [backup.public_key] if encrypt else []})
    new = {"address": far.address(_FOLDER), "credentials": dict(far.credentials)}
    path = f"/backups/destinations/{call('POST', '/backups/destinations', json=new)['id']}"
    try:
        yield path.rpartition("/")[2], _wait_for_copy(backup, path)
    finally:
        call("DELETE", path)
        call("PUT", "/backups/settings", json={"encrypt_to": []})


def _wait_for_copy(backup: _Backup, path: str) -> float:
    call, deadline = backup.bench.cms.client.call, time.monotonic() + _PATIENCE_SECONDS
    while not (state := call("GET", path))["copied"]:
        if state["failed"] or state["failing_since"] or time.monotonic() > deadline:
            raise RuntimeError(f"It was not copied: {state}")
        time.sleep(_POLL_SECONDS)
    job = next(job for job in call("GET", "/backups/jobs")["items"] if job["kind"] == "copy")
    started, finished = (datetime.fromisoformat(job[name]) for name in ("started", "finished"))
    return (finished - started).total_seconds()


def _run_pipe(backup: _Backup, far: ObjectServer, pipe: str) -> None:
    run_program(["bash", "-o", "pipefail", "-c", pipe], backup.bench.folder, far.rclone_environment)


def _remove_whole(backup: _Backup) -> None:
    """Remove what was fetched. Raises: RuntimeError when it is not the archive."""
    if not filecmp.cmp(backup.target, backup.archive, shallow=False):
        raise RuntimeError("What was fetched is not what was copied.")
    backup.target.unlink()


def _make_backup(bench: Bench) -> _Backup:
    made = bench.cms.create_backup()
    identity = Identity.generate()
    key_path = bench.folder / "key.txt"
    key_path.touch(mode=0o600)
    key_path.write_text(f"{identity}\n")
    return _Backup(
        bench,
        bench.cms.backups_dir / made["filename"],
        made["size_bytes"],
        key_path,
        str(identity),
        str(identity.to_public()),
    )
