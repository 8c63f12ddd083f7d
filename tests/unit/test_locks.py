"""Locks between processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastcms.errors import BackupBusyError
from fastcms.locks import FileLock

HOLD = """
import sys, time
from pathlib import Path
from fastcms.locks import FileLock
with FileLock(Path(sys.argv[1])).hold(purpose="creating a backup"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def test_the_loser_says_which_process_holds_the_lock_and_why(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(BackupBusyError, match=rf"process {holder.pid} \(creating a backup\)"),
        FileLock(tmp_path / "lock").hold(timeout_seconds=0),
    ):
        pytest.fail("two processes hold one lock")
    holder.kill()
    holder.wait()


def test_a_killed_holder_blocks_nobody(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with FileLock(tmp_path / "lock").hold(timeout_seconds=0):
        assert (tmp_path / "lock").read_text().startswith(str(os.getpid()))


def test_shared_holders_share_and_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.hold(is_shared=True), lock.hold(is_shared=True, timeout_seconds=0):
        started = time.monotonic()
        with pytest.raises(BackupBusyError), lock.hold(timeout_seconds=0.2):
            pytest.fail("exclusive beside shared")
        assert time.monotonic() - started >= 0.2
