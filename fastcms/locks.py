"""Advisory locks between processes (flock): the kernel releases them when their holder dies, however it dies.

Source: https://man7.org/linux/man-pages/man2/flock.2.html
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastcms.errors import BackupBusyError, ConfigError

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class FileLock:
    """A lock file. It stays on disk between uses; only the kernel's lock on it means anything."""

    path: Path

    @contextmanager
    def hold(
        self, *, purpose: str = "", is_shared: bool = False, timeout_seconds: float | None = None
    ) -> Iterator[None]:
        """Hold the lock; wait for it for timeout_seconds, or for as long as it takes.

        An exclusive holder writes its pid and purpose into the file, for whoever comes next.

        Raises: BackupBusyError, saying who holds it; ConfigError when the file cannot be opened.
        """
        # O_CLOEXEC is Python's default: a child process does not inherit the lock.
        descriptor = self._open()
        try:
            self._acquire(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX, timeout_seconds)
            if not is_shared:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {purpose}".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The lock {self.path} cannot be opened: {error.strerror}.",
                hint="Run FastCMS as the user whom the data folder belongs to.",
            ) from error

    def holder(self) -> str:
        """Who held the lock last: 'process 4711 (creating a backup)'."""
        pid, _, purpose = self.path.read_text().partition(" ") if self.path.exists() else ("", "", "")
        return f"process {pid or 'unknown'}" + (f" ({purpose})" if purpose else "")

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
                        f"{self.path} is held by {self.holder()}.",
                        hint="Wait until it has finished, then try again.",
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return
