"""Programs that archive the same database and files: the limit (tar), and what people use instead."""

import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Metrics

TAR = "tar cf"
TAR_DURABLE = "tar cf, then fsync"
UNZIP = "unzip"
UNTAR = "tar xf"
RESTIC_FIRST = "restic, first backup"
RESTIC_AGAIN = "restic, nothing changed"
# What belongs to a site, seen from its data folder.
CONTENT = ("app.db", "files")


@dataclass(frozen=True)
class Command:
    """A program that writes a folder's content into one archive; `{archive}` stands for its path."""

    name: str
    steps: tuple[tuple[str, ...], ...]

    @property
    def is_installed(self) -> bool:
        return all(shutil.which(step[0]) for step in self.steps)

    def create(self, data_dir: Path, archive: Path) -> dict[str, Metrics]:
        """Make the archive, measure it, and delete it."""
        archive.unlink(missing_ok=True)
        started = time.perf_counter()
        for step in self.steps:
            run([part.format(archive=archive) for part in step], data_dir)
        seconds = time.perf_counter() - started
        size_bytes = archive.stat().st_size
        archive.unlink()
        return {self.name: {"seconds": seconds, "archive_bytes": size_bytes}}


_TAR_STEP = ("tar", "cf", "{archive}", *CONTENT)
COMMANDS = (
    Command(TAR_DURABLE, (_TAR_STEP, ("sync", "{archive}"))),
    Command(TAR, (_TAR_STEP,)),
    Command("zip -0 -r (stored)", (("zip", "-q", "-0", "-r", "{archive}", *CONTENT),)),
    Command("zip -r (deflate)", (("zip", "-q", "-r", "{archive}", *CONTENT),)),
)


@dataclass(frozen=True)
class ZipfileLoop:
    """What a Python program does that knows no better: zipfile, one file after the other."""

    name: str
    method: int

    def create(self, data_dir: Path, archive: Path) -> dict[str, Metrics]:
        started = time.perf_counter()
        with zipfile.ZipFile(archive, "w", self.method) as target:
            for path in [data_dir / "app.db", *(data_dir / "files").iterdir()]:
                if path.is_file():
                    target.write(path, path.relative_to(data_dir))
        seconds = time.perf_counter() - started
        size_bytes = archive.stat().st_size
        archive.unlink()
        return {self.name: {"seconds": seconds, "archive_bytes": size_bytes}}


ZIPFILE_LOOPS = (
    ZipfileLoop("Python's zipfile, stored", zipfile.ZIP_STORED),
    ZipfileLoop("Python's zipfile, deflate", zipfile.ZIP_DEFLATED),
)


class Restic:
    """A repository of its own for each round, and two backups into it."""

    def __init__(self, folder: Path) -> None:
        self._repository = folder / "restic"
        self._environment = {
            "RESTIC_REPOSITORY": str(self._repository),
            "RESTIC_PASSWORD": "only for this benchmark",
            "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
        }

    def create(self, data_dir: Path) -> dict[str, Metrics]:
        self.remove()
        self._run(data_dir, "init")
        first, again = (self._timed(data_dir, "backup", *CONTENT) for _ in range(2))
        size_bytes = sum(path.stat().st_size for path in self._repository.rglob("*") if path.is_file())
        return {
            RESTIC_FIRST: {"seconds": first, "archive_bytes": size_bytes},
            RESTIC_AGAIN: {"seconds": again},
        }

    def restore(self, target: Path) -> float:
        """Restore the latest backup into a folder, and return the seconds that it took."""
        return self._timed(target, "restore", "latest", "--target", str(target))

    def remove(self) -> None:
        shutil.rmtree(self._repository, ignore_errors=True)

    def _timed(self, folder: Path, *arguments: str) -> float:
        return time_of(lambda: self._run(folder, *arguments))

    def _run(self, folder: Path, *arguments: str) -> None:
        run(["restic", "--quiet", *arguments], folder, self._environment)


def time_of(action: Callable[[], object]) -> float:
    """The seconds that something takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a program in a folder.

    Raises: RuntimeError with what it printed.
    """
    done = subprocess.run(
        command, cwd=folder, env=os.environ | (environment or {}), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
