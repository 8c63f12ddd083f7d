"""Locks between processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastcms import locks
from fastcms.errors import BackupBusyError
from fastcms.locks import FileLock, Holder

HOLD = """
import sys, time
from pathlib import Path
from fastcms.locks import FileLock
with FileLock(Path(sys.argv[1])).hold(purpose="creating a backup", is_shared="shared" in sys.argv):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(path: Path, kind: str = "exclusive") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), kind], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    return start_holder(tmp_path / "lock")


def test_the_loser_says_which_process_holds_the_lock_and_why(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(BackupBusyError, match=rf"process {holder.pid} \(creating a backup\)"),
        FileLock(tmp_path / "lock").hold(timeout_seconds=0),
    ):
        pytest.fail("two processes hold one lock")
    end(holder)


def test_a_killed_holder_blocks_nobody(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with FileLock(tmp_path / "lock").hold(timeout_seconds=0):
        assert FileLock(tmp_path / "lock").holders() == [Holder(os.getpid())]


def test_shared_holders_share_and_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.hold(is_shared=True), lock.hold(is_shared=True, timeout_seconds=0):
        started = time.monotonic()
        with pytest.raises(BackupBusyError), lock.hold(timeout_seconds=0.2):
            pytest.fail("exclusive beside shared")
        assert time.monotonic() - started >= 0.2


def test_shared_holders_are_all_named_and_those_that_were_killed_are_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second, third = (start_holder(path, "shared") for _ in range(3))
    end(second)
    living = sorted([first.pid, third.pid])
    assert FileLock(path).holders() == [Holder(pid, "creating a backup") for pid in living]
    fourth = start_holder(path, "shared")
    assert {holder.pid for holder in FileLock(path).signatures()} == {*living, fourth.pid}
    with (
        pytest.raises(BackupBusyError, match=rf"process {first.pid} \(creating a backup\)"),
        FileLock(path).hold(timeout_seconds=0),
    ):
        pytest.fail("exclusive beside shared")
    for process in (first, third, fourth):
        end(process)
    assert FileLock(path).holders() == []


def test_a_former_holder_that_lives_is_not_named(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """Between a lock and its signature, the file still names the holder before."""
    path = tmp_path / "lock"
    path.write_text(f'{{"pid": {os.getpid()}, "purpose": "creating a backup", "group": ""}}\n')
    assert FileLock(path).holders() == [Holder(holder.pid)]
    end(holder)


@pytest.mark.parametrize("content", [b"", b"4711 creating", b"[]\n{}\nnull\n", b"\xff\x00", b'{"pid": "x"}'])
def test_whatever_is_in_the_file_the_kernel_knows_the_holder(
    tmp_path: Path, holder: subprocess.Popen[str], content: bytes
) -> None:
    (tmp_path / "lock").write_bytes(content)
    assert FileLock(tmp_path / "lock").describe_holders() == f"process {holder.pid}"
    end(holder)


def test_a_process_that_waits_for_the_lock_is_not_named(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.DEVNULL
    )
    while " -> FLOCK " not in Path("/proc/locks").read_text():
        time.sleep(0.01)
    assert [found.pid for found in FileLock(tmp_path / "lock").holders()] == [holder.pid]
    waiting.kill()
    waiting.wait()
    end(holder)


def test_without_the_kernels_list_the_signatures_of_living_processes_are_taken(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_KERNELS_LOCKS", tmp_path / "missing")
    lock = FileLock(tmp_path / "lock")
    assert lock.holders() == [Holder(holder.pid, "creating a backup")]
    end(holder)
    assert lock.describe_holders() == "a process that has just ended, or runs in another container"


def test_locks_of_no_file_and_empty_lines_in_the_kernels_list_are_passed_over(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = tmp_path / "kernels"
    nowhere = f"1: FLOCK  ADVISORY  WRITE {os.getpid()} <none>:0 0 EOF\n\n"
    kernels.write_text(nowhere + Path("/proc/locks").read_text() + nowhere)
    monkeypatch.setattr(locks, "_KERNELS_LOCKS", kernels)
    assert FileLock(tmp_path / "lock").holders() == [Holder(holder.pid, "creating a backup")]
    end(holder)


def test_a_full_disk_keeps_nobody_from_locking(small_disk: Path) -> None:
    lock = FileLock(small_disk / "lock")
    free_bytes = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free_bytes))
    with pytest.raises(OSError, match="No space"):
        (small_disk / "more").write_bytes(b"more")
    with lock.hold(purpose="creating a backup"):
        assert [holder.pid for holder in lock.holders()] == [os.getpid()]
