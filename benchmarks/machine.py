"""What is measured on, and how to bring it into the same state before each measurement."""

import mmap
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import fastcms
from benchmarks.contestants import pocketbase
from fastcms.sqlite import sqlite3

_PACKAGES = ("uvicorn", "fastapi", "isal", "pysqlite3", "obstore", "pyrage")
_PROGRAMS = {
    "tar": ["tar", "--version"],
    "zip": ["zip", "-v"],
    "unzip": ["unzip", "-v"],
    "restic": ["restic", "version"],
    "age": ["age", "--version"],
    "rclone": [str(Path(sys.executable).with_name("rclone")), "version"],
    "SeaweedFS": [str(Path(sys.executable).with_name("weed")), "version"],
}
_WARMED_SHARE = 0.9
# What one contestant writes or reads.
_TURN_BYTES = 2.5e9
_FSYNCS = 50
_WRITTEN_BYTES = 256 * 1024**2


def describe_machine(folder: Path) -> dict[str, str]:
    """Processor, memory, disk and kernel, for people."""
    cpu_info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpu_info, re.MULTILINE)
    is_virtual = re.search(r"^flags.*\bhypervisor\b", cpu_info, re.MULTILINE) is not None
    file_system = _output(["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)])
    release = re.match(r"[\d.]+", platform.release())
    return {
        "Processor": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{_memory_bytes('MemTotal') / 1e9:.0f} GB",
        "Disk": f"{file_system.strip() or 'unknown file system'}, {free_bytes(folder) / 1e9:.0f} GB free",
        "System": f"{_system_name()}, Linux {release[0] if release else ''}"
        f"{', virtual machine' if is_virtual else ''}",
    }


def find_versions() -> dict[str, str]:
    """The version of everything that takes part and is installed."""
    found = {"FastCMS": fastcms.__version__, "Python": platform.python_version()}
    found["SQLite (of FastCMS)"] = sqlite3.sqlite_version
    found |= {name: version(name) for name in _PACKAGES}
    if program := pocketbase.find_program():
        found["PocketBase"] = _version_of([str(program), "--version"])
    return found | {
        name: _version_of(command) for name, command in _PROGRAMS.items() if shutil.which(command[0])
    }


def missing_programs() -> list[str]:
    return [name for name, command in _PROGRAMS.items() if not shutil.which(command[0])]


def measure_disk(folder: Path) -> dict[str, float]:
    """What the disk can do without any of the contestants: one small fsync, and writing a file durably."""
    path = folder / "disk"
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_FSYNCS):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
        content = os.urandom(_WRITTEN_BYTES)
        started = time.perf_counter()
        file.write(content)
        os.fsync(file.fileno())
        rate = _WRITTEN_BYTES / (time.perf_counter() - started)
    path.unlink()
    return {"fsync_seconds": statistics.median(seconds), "durable_bytes_per_second": rate}


def warm_memory(at_most_bytes: float) -> int:
    """Touch free memory once, nearly all if there is a need for it, and give it back.

    A virtual machine gets a page of memory from its host when it first touches it, which takes several times
    as long as any later use: without this, whoever comes first would pay for those who come later.

    Returns: the bytes touched.
    """
    size_bytes = int(min(_memory_bytes("MemFree") * _WARMED_SHARE, at_most_bytes))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, size_bytes, flags=flags).close()
    return size_bytes


def warm_cache(folder: Path) -> None:
    """Read all files of a folder once, so that they are in the page cache for everybody."""
    buffer = memoryview(bytearray(1024**2))
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def settle(pause_seconds: float) -> None:
    """Let the disk finish what others have left to it, and have memory at hand for the next one's files.

    A virtual machine may have given back to its host what the last one has freed.
    """
    os.sync()
    time.sleep(pause_seconds)
    warm_memory(_TURN_BYTES)


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _memory_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _version_of(command: list[str]) -> str:
    found = re.search(r"\d+(\.\d+)+", _output(command))
    return found[0] if found else "unknown"


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
