"""Importing the application touches nothing."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import clean_environment

# Notes every file that is opened for writing, every folder that is made and every database that is opened.
PROGRAM = """
import os, sys
import sqlite3  # loaded first, so that its own import is not what is noted
noted = []
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def note(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        noted.append(f"{event} {arguments[0]}")
    if event in ("os.mkdir", "os.rename", "os.link", "sqlite3.connect", "socket.bind", "socket.connect"):
        noted.append(f"{event} {arguments}")
sys.dont_write_bytecode = True
sys.addaudithook(note)
import app.main
import fastcms.cli
from pysqlite3 import _sqlite3
print([line for line in noted if "/dev/null" not in line])
"""


def test_importing_the_application_creates_no_file_and_opens_no_database(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
