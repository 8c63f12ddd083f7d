"""Advisory locks between processes (flock): the kernel releases them when their holder dies, however it dies.

Source: https://man7.org/linux/man-pages/man2/flock.2.html
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fastcms.errors import BackupBusyError, ConfigError

_POLL_SECONDS = 0.05
_KERNELS_LOCKS = Path("/proc/locks")
# Not: locks of another kind, one that waits ("-> FLOCK"), and one of no file ("<none>:0").
_HELD_LOCK = re.compile(r"\d+: FLOCK +\w+ +\w+ +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ")


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, as it has signed the lock's file."""

    pid: int
    purpose: str = ""
    group: str = ""

    def __str__(self) -> str:
        return f"process {self.pid}" + (f" ({self.purpose})" if self.purpose else "")


@dataclass(frozen=True)
class FileLock:
    """A lock file. It stays on disk between uses; only the kernel's lock on it means anything."""

    path: Path

    @contextmanager
    def hold(
        self,
        *,
        purpose: str = "",
        group: str = "",
        is_shared: bool = False,
        timeout_seconds: float | None = None,
    ) -> Iterator[None]:
        """Hold the lock; wait for it for timeout_seconds, or for as long as it takes.

        An exclusive holder signs the file, for whoever comes next. A shared one does if it has a purpose;
        such holders must come one at a time.

        Raises: BackupBusyError, saying who holds it; ConfigError when the file cannot be opened.
        """
        # O_CLOEXEC is Python's default: a child process does not inherit the lock.
        descriptor = self._open()
        try:
            self._acquire(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX, timeout_seconds)
            if purpose or not is_shared:
                others = (
                    [holder for holder in self.holders() if holder.pid != os.getpid()] if is_shared else []
                )
                _sign(descriptor, [*others, Holder(os.getpid(), purpose, group)])
            yield
        finally:
            os.close(descriptor)

    def holders(self) -> list[Holder]:
        """Who holds the lock now; processes of other containers cannot be seen."""
        signed = {holder.pid: holder for holder in self.signatures()}
        try:
            status = self.path.stat()
            kernels = _KERNELS_LOCKS.read_text().splitlines()
        except OSError:  # never locked so far, or a system that does not tell
            return [holder for holder in signed.values() if _is_alive(holder.pid)]
        return [signed.get(pid, Holder(pid)) for pid in sorted(_find_pids(kernels, status, signed.keys()))]

    def signatures(self) -> list[Holder]:
        """Who has signed the file since it was last held exclusively, whether they still hold it or not."""
        found = []
        with suppress(OSError):
            for line in self.path.read_bytes().splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    signed = json.loads(line)
                    found.append(Holder(int(signed["pid"]), str(signed["purpose"]), str(signed["group"])))
        return found

    def describe_holders(self) -> str:
        """The holders, for a message: 'process 4711 (creating a backup)'."""
        found = ", ".join(str(holder) for holder in self.holders())
        return found or "a process that has just ended, or runs in another container"

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The lock {self.path} cannot be opened: {error.strerror}.",
                hint="Run FastCMS as the user whom the data folder belongs to.",
            ) from error

    def _acquire(self, descriptor: int, kind: int, timeout_seconds: float | None) -> None:
        if timeout_seconds is None:
            fcntl.flock(descriptor, kind)
            return
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BackupBusyError(
                        f"{self.path} is held by {self.describe_holders()}.",
                        hint="Wait until it has finished, then try again.",
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return


def _sign(descriptor: int, holders: list[Holder]) -> None:
    """Write who holds the lock. It is for messages: a full disk must not keep anybody from working."""
    content = b"".join(json.dumps(asdict(holder)).encode() + b"\n" for holder in holders)
    with suppress(OSError):
        # Not emptied first: a full disk would not give the block back.
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))


def _find_pids(kernels: list[str], status: os.stat_result, signed: Collection[int]) -> set[int]:
    """Read the pids of a file's holders from /proc/locks: '1: FLOCK ADVISORY READ 4711 fe:00:2220071 0 EOF'.

    Some file systems (btrfs, overlayfs) show programs another device than the kernel's: there, whoever has
    signed the file and holds a lock of that inode number is taken for its holder.
    """
    found = set()
    for line in kernels:
        if (held := _HELD_LOCK.match(line)) is None:
            continue
        pid, inode = int(held[1]), int(held[4])
        is_device = os.makedev(int(held[2], 16), int(held[3], 16)) == status.st_dev
        if inode == status.st_ino and (is_device or pid in signed):
            found.add(pid)
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # alive, and another user's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
