"""Backups while clients upload and delete files: is each of them one point in time?"""

import hashlib
import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import requests

from benchmarks.contestants import cms, pocketbase
from benchmarks.contestants.cms import run_command
from benchmarks.contestants.pocketbase import PocketBaseSite
from benchmarks.context import Bench
from benchmarks.http_client import Api, Connection
from benchmarks.load import CLIENTS
from fastcms.sqlite import sqlite3

NAME = "uploads"
_FILE_BYTES = 20_000
# How many of its own files each client leaves in place before it deletes the oldest one.
_KEPT = 20


def run(bench: Bench) -> None:
    with uploads_and_deletes(bench.cms.api) as done:
        for _ in range(bench.plan.backups_under_uploads):
            _try_cms(bench)
    _note(bench, cms.NAME, done)
    if bench.pocketbase:
        with uploads_and_deletes(bench.pocketbase.api) as done:
            for _ in range(bench.plan.pocketbase_backups_under_uploads):
                _try_pocketbase(bench, bench.pocketbase)
        _note(bench, pocketbase.NAME, done)


def _note(bench: Bench, contestant: str, done: Counter[str]) -> None:
    bench.results.add(NAME, contestant, done)
    bench.say(f"{NAME}, {contestant}: {bench.results.values[NAME][contestant]}")


def _try_cms(bench: Bench) -> None:
    """Make a backup and restore it elsewhere, while the clients go on."""
    try:
        filename = bench.cms.create_backup()["filename"]
    except RuntimeError as error:
        bench.say(f"{NAME}: {error}")
        bench.results.add(NAME, cms.NAME, {"succeeded": 0})
        return
    files, missing, different = restore_and_compare(
        bench.cms.backups_dir / filename, bench.folder / "restored"
    )
    metrics = {"succeeded": 1, "files": files, "missing": missing, "different": different}
    bench.results.add(NAME, cms.NAME, metrics)
    bench.cms.delete_backup(filename)


def _try_pocketbase(bench: Bench, server: PocketBaseSite) -> None:
    try:
        name = server.create_backup()
    except requests.HTTPError as error:
        bench.say(f"{NAME}, {pocketbase.NAME}: {error.response.status_code} {error.response.text.strip()}")
        bench.results.add(NAME, pocketbase.NAME, {"succeeded": 0})
        return
    bench.results.add(NAME, pocketbase.NAME, {"succeeded": 1})
    server.delete_backup(name)


def restore_and_compare(archive: Path, folder: Path) -> tuple[int, int, int]:
    """Restore a backup into a new site with the command that people use, and look at every file ourselves.

    Returns: how many files the restored database knows, and how many of them are missing or different.
    """
    data_dir = folder / "data"
    (data_dir / "backups").mkdir(parents=True)
    shutil.copyfile(archive, data_dir / "backups" / archive.name)
    run_command(data_dir, "backup", "restore", archive.name, "--now", "--yes")
    counts = count_wrong_files(data_dir)
    shutil.rmtree(folder)
    return counts


def count_wrong_files(data_dir: Path) -> tuple[int, int, int]:
    """Compare the rows of files in a database with the files on disk: how many there are, lack, differ."""
    database = sqlite3.connect(data_dir / "app.db")
    rows = database.execute("SELECT path, size_bytes, sha256 FROM files").fetchall()
    database.close()
    missing = different = 0
    for name, size_bytes, sha256 in rows:
        path = data_dir / "files" / name
        if not path.is_file():
            missing += 1
            continue
        content = path.read_bytes()
        if len(content) != size_bytes or hashlib.sha256(content).hexdigest() != sha256:
            different += 1
    return len(rows), missing, different


@contextmanager
def uploads_and_deletes(api: Api) -> Iterator[Counter[str]]:
    """Let four clients upload and delete files until the end of the block; then the counts are filled in."""
    done: Counter[str] = Counter(uploads=0, deletes=0, failed_requests=0)
    ended = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_upload_and_delete, api, number, ended) for number in range(CLIENTS)]
        try:
            yield done
        finally:
            ended.set()
        for client in clients:
            done.update(client.result())


def _upload_and_delete(api: Api, number: int, ended: threading.Event) -> Counter[str]:
    done: Counter[str] = Counter()
    chance = random.Random(number)
    connection = Connection(api.port)
    uploaded: list[str] = []
    while not ended.is_set():
        status, body = connection.send(api.new_file("upload.bin", chance.randbytes(_FILE_BYTES)))
        if status in (HTTPStatus.OK, HTTPStatus.CREATED):
            uploaded.append(json.loads(body)["id"])
            done["uploads"] += 1
        else:
            done["failed_requests"] += 1
        if len(uploaded) > _KEPT:
            status, _ = connection.send(api.deletion_of_file(uploaded.pop(0)))
            is_deleted = status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT)
            done["deletes" if is_deleted else "failed_requests"] += 1
    connection.close()
    return done
