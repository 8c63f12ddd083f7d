"""Where the time of a backup and of a staging goes.

py-spy looks at the stacks of all threads and child processes many times a second, C functions and threads
that wait for the disk included. It stops the process for each look, so this gives shares, not seconds.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.context import Bench, describe

NAME = "profile"
CREATE, STAGE = "create", "stage"
_LOOKS_PER_SECOND = 100
_WAITING = "waiting for each other"
_REST = "Python and the rest"
# The first that fits any frame of a stack decides: what SQLite waits for the disk is disk.
_KINDS = {
    _WAITING: (
        r"PyThread_acquire_lock|(pthread_cond_|sem_)\w*wait|(epoll_wait|poll|select|wait4|waitpid|waitid) \("
        r"|_recv \(multiprocessing|futex"
    ),
    "disk: waiting for fsync": r"(fsync|fdatasync|syncfs|sync_file_range)\b",
    # Imports, and what has no Python frame in it.
    "starting and ending Python": r"importlib\._bootstrap|^(?!.*\.py:)",
    "SHA-256": r"sha256|SHA256|EVP_|libcrypto",
    # The same library does both, and does not always say which.
    "compression and CRC-32": r"deflate|inflate|crc32|zlib|igzip|isal",
    "SQLite": r"sqlite3",
    "disk: reading, writing and naming files": (
        r"\bos_\w+ \((libpython|python|posixmodule)"
        r"|(p?readv?|p?writev?|open|close|copy_file_range|mmap|munmap|madvise)(64|2)? \(libc"
    ),
}


def run(bench: Bench) -> None:
    """Profile both; skipped where py-spy is not installed or not allowed."""
    if not Path(sys.executable).with_name("py-spy").exists():
        bench.results.notes.append("No profile: py-spy is not installed.")
        return
    shares = {CREATE: _profile(bench, "backup", "create")}
    filename = bench.cms.client.call("GET", "/backups")["items"][0]["filename"]
    bench.settle()
    shares[STAGE] = _profile(bench, "backup", "restore", filename, "--yes")
    bench.results.series[NAME] = shares
    bench.cms.cancel()
    bench.cms.delete_backup(filename)
    for name, found in shares.items():
        bench.say(f"{NAME}, {name}: {describe(found)}")


def _profile(bench: Bench, *arguments: str) -> dict[str, float]:
    """The share of each kind of work in a command."""
    stacks = bench.folder / "stacks"
    program = Path(sys.executable)
    options = ["--native", "--subprocesses", "--idle", "--rate", str(_LOOKS_PER_SECOND), "--format", "raw"]
    options += ["--output", str(stacks), "--", str(program), "-m", "fastcms"]
    run = subprocess.run(
        [program.with_name("py-spy"), "record", *options, *arguments],
        cwd=bench.cms.data_dir.parent,
        env=bench.cms.server.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"py-spy: {run.stderr}")
    return share_of_kinds(stacks.read_text())


def share_of_kinds(stacks: str) -> dict[str, float]:
    """Shares of the looks that found a thread at work; those that found one waiting for another do not count.

    `stacks` has a stack, its frames divided by `;`, and its number of looks in each line.
    """
    looks: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        looks[_kind_of(stack)] += int(count)
    del looks[_WAITING]
    return {kind: count / looks.total() for kind, count in looks.most_common()}


def _kind_of(stack: str) -> str:
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, stack)), _REST)
