"""What the documentation of Backup & Restore says, typed as it is printed, against a real server.

Only what a reader replaces too is replaced: the port, the token, and the name of the backup.
"""

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pexpect
import pytest
import requests

from fastcms.sqlite import sqlite3
from tests.e2e.conftest import Server, clean_environment

PASSWORD = "correct horse battery"


class Reader:
    """Somebody with a shell in the server's folder, who types what is documented."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = server.create_token()

    def type(self, command: str, *, expects: int = 0) -> str:
        """Run a documented command and return what it prints."""
        typed = command.replace("localhost:8000", f"localhost:{self.server.port}")
        typed = typed.replace("$ADMIN_TOKEN", "ADMIN_TOKEN").replace("ADMIN_TOKEN", self.token)
        done = subprocess.run(
            ["bash", "-c", typed],
            check=False,
            cwd=self.server.folder,
            env=clean_environment() | {"FASTCMS_ADMIN_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == expects, done.stdout + done.stderr
        return done.stdout

    def type_json(self, command: str) -> Any:
        return json.loads(self.type(command))

    def post(self, path: str, **arguments: Any) -> Any:
        answer = requests.post(f"{self.server.url}/api/v1{path}", headers=self.headers, **arguments)
        assert answer.ok, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = requests.get(f"{self.server.url}{path}", headers=self.headers)
        assert answer.ok, answer.text
        return answer

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def titles(self) -> list[str]:
        page = self.get("/api/v1/collections/posts/records?per_page=500&sort=title").json()
        return [item["data"]["title"] for item in page["items"]]


CREATE = """
curl -s -X POST "http://localhost:8000/api/v1/backups" \\
  -H "Authorization: Bearer ADMIN_TOKEN"
"""
LIST = """
curl -s "http://localhost:8000/api/v1/backups" \\
  -H "Authorization: Bearer ADMIN_TOKEN"
"""
RESTORE = """
curl -s -X POST "http://localhost:8000/api/v1/backups/{filename}/restore" \\
  -H "Authorization: Bearer ADMIN_TOKEN"
"""
DELETE = """
curl -s -X DELETE "http://localhost:8000/api/v1/backups/{filename}" \\
  -H "Authorization: Bearer ADMIN_TOKEN"
"""


@pytest.fixture
def reader(server: Server) -> Reader:
    """A site with two posts and one uploaded file."""
    person = Reader(server)
    person.post("/collections", json={"name": "posts", "schema": [{"name": "title", "type": "text"}]})
    for title in ("first", "second"):
        person.post("/collections/posts/records", json={"data": {"title": title}})
    person.post("/files", files={"file": ("picture.txt", b"a picture")})
    return person


def file_url(reader: Reader) -> str:
    return str(reader.get("/api/v1/files").json()["items"][0]["url"])


def test_create_list_restore_with_a_killed_server_and_delete(reader: Reader) -> None:
    created = reader.type_json(CREATE)
    assert set(created) >= {"filename", "size_bytes", "created", "path"}
    assert (reader.server.folder / created["path"]).stat().st_size == created["size_bytes"]
    assert created["path"] == f"data/backups/{created['filename']}"
    listed = reader.type_json(LIST)
    assert (listed["total"], listed["items"][0]["filename"]) == (1, created["filename"])
    assert set(listed["items"][0]) >= {"filename", "name", "size_mb", "created"}

    url = file_url(reader)
    reader.post("/collections/posts/records", json={"data": {"title": "after the backup"}})
    file_id = reader.get("/api/v1/files").json()["items"][0]["id"]
    assert requests.delete(f"{reader.server.url}/api/v1/files/{file_id}", headers=reader.headers).ok
    staged = reader.type_json(RESTORE.format(filename=created["filename"]))
    assert staged == {
        "status": "pending_restart",
        "message": "Backup staged for restore. Please restart the server to complete restoration.",
        "backup_filename": created["filename"],
    }
    assert (reader.server.folder / "data/backups/.restore_pending").exists()
    assert (reader.server.folder / "data/backups/restore_staging/database.db").exists()
    assert reader.titles() == ["after the backup", "first", "second"]

    reader.server.kill()
    reader.server.start()
    assert reader.titles() == ["first", "second"]
    assert reader.get(url).content == b"a picture"
    assert reader.get("/api/v1/backups/restore").json()["state"] == "restored"
    assert (
        f"The restore of {created['filename']} is complete. Everybody logs in again."
        in reader.server.terminal
    )
    assert (reader.server.folder / "data/app.db.before_restore").exists()
    assert not (reader.server.folder / "data/backups/.restore_pending").exists()
    assert not (reader.server.folder / "data/backups/restore_staging").exists()

    reader.type_json(DELETE.format(filename=created["filename"]))
    assert reader.type_json(LIST)["total"] == 0


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_recovery_by_hand_as_typed_also_after_a_kill_that_left_a_wal(reader: Reader, ending: str) -> None:
    filename = reader.type_json(CREATE)["filename"]
    url = file_url(reader)
    for number in range(20):
        reader.post("/collections/posts/records", json={"data": {"title": f"after {number}"}})
    wal_path = reader.server.folder / "data/app.db-wal"
    getattr(reader.server, ending)()
    assert wal_path.exists() == (ending == "kill")
    for path in (reader.server.folder / "data/files").iterdir():
        if path.is_file():
            path.unlink()
    commands = f"""
        unzip data/backups/{filename} -d data/backups/restore_staging
        cp data/backups/restore_staging/database.db data/app.db
        cp -r data/backups/restore_staging/files/* data/files/
    """
    for command in textwrap.dedent(commands).strip().splitlines():
        reader.type(command)
    reader.server.start()
    assert reader.titles() == ["first", "second"]
    assert reader.get(url).content == b"a picture"
    with closing(sqlite3.connect(reader.server.folder / "data/app.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    if ending == "kill":
        assert list((reader.server.folder / "data").glob("app.db-wal.foreign-*"))


def test_the_accidental_deletion_scenario(reader: Reader) -> None:
    wanted = reader.type_json(CREATE)["filename"]
    records = reader.get("/api/v1/collections/posts/records").json()["items"]
    for record in records:
        url = f"{reader.server.url}/api/v1/collections/posts/records/{record['id']}"
        assert requests.delete(url, headers=reader.headers).ok
    just_in_case = reader.type_json(CREATE)["filename"]
    assert wanted < just_in_case
    reader.type(RESTORE.format(filename=wanted))
    reader.server.restart()
    restored = reader.get("/api/v1/collections/posts/records").json()["items"]
    assert restored == records


def test_the_archive_is_what_the_documentation_lists(reader: Reader) -> None:
    path = reader.server.folder / reader.type_json(CREATE)["path"]
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        metadata = json.loads(archive.read("metadata.json"))
    assert {"database.db", "files/", "metadata.json"} <= set(names)
    assert {"timestamp", "app_version", "backup_name"} <= set(metadata)
    reader.type(f"unzip -q {path} -d x && cd x && sha256sum -c --quiet checksums.sha256")
    assert reader.type("sqlite3 x/database.db 'PRAGMA integrity_check'") == "ok\n"


def test_an_interrupted_download_is_resumed_by_curl(reader: Reader) -> None:
    created = reader.type_json(CREATE)
    url = f"http://localhost:8000/api/v1/backups/{created['filename']}/download"
    curl = f'curl -sf -H "Authorization: Bearer ADMIN_TOKEN" -o copy.zip {url}'
    reader.type(f"{curl} --range 0-999 && {curl} -C -")
    copy, original = (reader.server.folder / name for name in ("copy.zip", created["path"]))
    assert copy.read_bytes() == original.read_bytes()


def test_the_cron_line_makes_a_backup_with_a_token_that_can_do_nothing_else(reader: Reader) -> None:
    cron_line = """0 2 * * * curl -X POST http://localhost:8000/api/v1/backups \\
  -H "Authorization: Bearer $ADMIN_TOKEN"
"""
    reader.token = reader.type("fastcms token create cron --scope backups:create").strip()
    command = cron_line.split(" ", 5)[5]
    assert reader.type_json(command)["filename"].startswith("backup_")
    assert requests.get(f"{reader.server.url}/api/v1/backups", headers=reader.headers).status_code == 403


PYTHON_SCRIPT = """
import requests
import schedule
import time

def create_backup():
    response = requests.post(
        'http://localhost:8000/api/v1/backups',
        headers={'Authorization': 'Bearer YOUR_ADMIN_TOKEN'}
    )
    if response.status_code == 200:
        print(f"Backup created: {response.json()['filename']}")
    else:
        print(f"Backup failed: {response.text}")

# Run daily at 2 AM
schedule.every().day.at("02:00").do(create_backup)

while True:
    schedule.run_pending()
    time.sleep(60)
"""


def test_the_python_script_makes_a_backup_at_two_in_the_morning(reader: Reader) -> None:
    """The script runs unchanged; only its clock is set: to five seconds before two, with sleep() short."""
    script = PYTHON_SCRIPT.replace("YOUR_ADMIN_TOKEN", reader.token)
    script = script.replace("localhost:8000", f"localhost:{reader.server.port}")
    today = dt.datetime.now(dt.UTC)
    clock = f"""
import datetime, time
real, began, sleep = datetime.datetime, time.monotonic(), time.sleep
class Clock(real):
    @classmethod
    def now(cls, tz=None):
        return real({today.year}, {today.month}, {today.day}, 1, 59, 55) + datetime.timedelta(
            seconds=time.monotonic() - began)
datetime.datetime = Clock
time.sleep = lambda seconds: sleep(0.2)
"""
    (reader.server.folder / "clock.py").write_text(clock)
    (reader.server.folder / "script.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", "import clock, runpy; runpy.run_path('script.py')"],
        cwd=reader.server.folder,
        env=clean_environment() | {"PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    process.kill()
    process.wait()
    match = re.fullmatch(r"Backup created: (backup_\d{8}_\d{6}\.zip)\n", line)
    assert match is not None, line
    assert reader.type_json(LIST)["items"][0]["filename"] == match[1]


def test_a_backup_under_a_writer_holds_every_row_committed_before_it_began(reader: Reader) -> None:
    stop = threading.Event()
    committed: list[str] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            title = f"written {number:05}"
            reader.post("/collections/posts/records", json={"data": {"title": title}})
            committed.append(title)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            time.sleep(0.3)
            before = list(committed)
            path = reader.server.folder / reader.type_json(CREATE)["path"]
            in_archive = titles_in(path)
            assert before
            assert set(before) <= set(in_archive)
            written = [title for title in in_archive if title.startswith("written")]
            assert written == [f"written {number:05}" for number in range(len(written))]
    finally:
        stop.set()
        writer.join()


def titles_in(archive_path: Path) -> list[str]:
    with zipfile.ZipFile(archive_path) as archive:
        database_path = Path(archive.extract("database.db", archive_path.with_suffix("")))
    with closing(sqlite3.connect(database_path)) as database:
        [(collection_id,)] = database.execute("SELECT id FROM collections").fetchall()
        rows = database.execute(f"SELECT f_title FROM records_{collection_id} ORDER BY f_title").fetchall()
    return [title for (title,) in rows]


def test_the_commands_work_beside_the_server_and_without_it(reader: Reader) -> None:
    created = reader.type_json("fastcms backup create --json")
    assert reader.type_json("fastcms backup list --json") == reader.type_json(LIST)
    reader.post("/collections/posts/records", json={"data": {"title": "after the backup"}})
    reader.server.stop()
    assert "Created data/backups/backup_" in reader.type("fastcms backup create")
    reader.type(f"fastcms backup restore {created['filename']} --yes")
    assert reader.type_json("fastcms backup status --json")["restore"]["state"] == "pending"
    assert "is staged: restart the server" in reader.type("fastcms backup status")
    reader.server.start()
    assert reader.titles() == ["first", "second"]
    assert "(command line)" in reader.get("/api/v1/backups/restore").json()["requested_by"]
    reader.type(f"fastcms backup delete {created['filename']} --yes")
    assert reader.type_json("fastcms backup list --json")["total"] == 1
    missing = reader.type("fastcms backup delete backup_20250115_100000.zip --yes --json", expects=3)
    assert json.loads(missing)["code"] == "backup_not_found"
    reader.type("fastcms backup cancel", expects=3)


def test_a_backup_in_the_wrong_folder_is_refused_and_makes_nothing(reader: Reader, tmp_path: Path) -> None:
    """Cron starts in the home folder: a nightly backup of nothing must not look like success."""
    (tmp_path / "elsewhere").mkdir()
    refused = json.loads(reader.type("cd elsewhere && fastcms backup create --json", expects=2))
    assert refused["code"] == "site_not_found"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_port_that_is_taken_is_said_in_words(reader: Reader) -> None:
    port = reader.server.port
    command = f"mkdir -p x && cd x && FASTCMS_PORT={port} fastcms serve 2>&1"
    said = reader.type(command, expects=2)
    assert f"port {port}: Address already in use" in said
    assert "Traceback" not in said


def test_a_question_that_waits_does_not_keep_a_server_from_starting(reader: Reader) -> None:
    filename = reader.type_json(CREATE)["filename"]
    reader.server.stop()
    question = pexpect.spawn(
        f"fastcms backup restore {filename}", cwd=str(reader.server.folder), env=clean_environment()
    )
    question.expect("when the server next starts")
    reader.server.start()
    assert reader.titles() == ["first", "second"]
    question.sendline("n")
    question.expect(pexpect.EOF)
    question.close()
    assert question.exitstatus == 1


def test_a_restore_that_fails_at_start_is_rolled_back_by_itself_and_says_why(reader: Reader) -> None:
    filename = reader.type_json(CREATE)["filename"]
    reader.post("/collections/posts/records", json={"data": {"title": "after the backup"}})
    reader.type(RESTORE.format(filename=filename))
    staged = reader.server.folder / "data/backups/restore_staging/database.db"
    content = bytearray(staged.read_bytes())
    content[100:] = os.urandom(len(content) - 100)
    staged.write_bytes(content)
    reader.server.restart()
    assert reader.titles() == ["after the backup", "first", "second"]
    status = reader.get("/api/v1/backups/restore").json()
    assert (status["state"], status["backup_filename"]) == ("rolled_back", filename)
    assert "no longer holds what was staged" in status["reason"]
    assert f"The restore of {filename} failed and was rolled back" in reader.server.terminal


def test_a_restored_site_that_cannot_be_read_is_rolled_back_by_itself(reader: Reader) -> None:
    """An archive whose database has rows that no FastCMS can have written."""
    created = reader.type_json(CREATE)
    path = reader.server.folder / created["path"]
    tamper_with(path, "UPDATE collections SET created = 'one fine day'")
    reader.type(RESTORE.format(filename=created["filename"]))
    reader.server.restart()
    status = reader.get("/api/v1/backups/restore").json()
    assert status["state"] == "rolled_back"
    assert "one fine day" in status["reason"]
    assert reader.titles() == ["first", "second"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../app.db", ".trash", ""])
def test_an_archive_whose_files_lie_elsewhere_is_refused(reader: Reader, path: str) -> None:
    created = reader.type_json(CREATE)
    tamper_with(reader.server.folder / created["path"], f"UPDATE files SET path = '{path}'")
    refused = reader.type_json(RESTORE.format(filename=created["filename"]))
    assert (refused["status"], refused["code"]) == (422, "database_file_path")
    assert reader.get("/api/v1/backups/restore").json()["state"] == "none"


def tamper_with(archive_path: Path, statement: str) -> None:
    """Change an archive's database as somebody would who knows the format: the checksums fit."""
    unpacked = archive_path.with_suffix("")
    with zipfile.ZipFile(archive_path) as archive:
        archive.extractall(unpacked)
    with closing(sqlite3.connect(unpacked / "database.db")) as database, database:
        database.execute(statement)
    commands = """
        sha256sum database.db metadata.json $(find files -type f) > checksums.sha256
        rm "$0"
        7z a -tzip "$0" checksums.sha256 database.db files metadata.json >/dev/null
    """
    subprocess.run(["bash", "-ec", commands, str(archive_path)], cwd=unpacked, check=True)


def test_four_workers_restore_once_and_all_serve_the_new_state(reader: Reader) -> None:
    filename = reader.type_json(CREATE)["filename"]
    reader.post("/collections/posts/records", json={"data": {"title": "after the backup"}})
    reader.type(RESTORE.format(filename=filename))
    reader.server.stop()
    with (reader.server.folder / "workers.txt").open("wb") as terminal:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "app.main:app",
                "--port",
                str(reader.server.port),
                "--workers",
                "4",
            ],
            cwd=reader.server.folder,
            env=clean_environment(),
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        terminal_path = reader.server.folder / "workers.txt"
        while terminal_path.read_text().count("Application startup complete") < 4:
            assert time.monotonic() < deadline, terminal_path.read_text()
            time.sleep(0.1)
        assert terminal_path.read_text().count("restore restored") == 1
        assert {tuple(reader.titles()) for _ in range(20)} == {("first", "second")}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
