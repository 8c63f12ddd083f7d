"""What a check looks at, and what it says."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fastcms.backups.engine.paths import DataPaths
from fastcms.config import Settings
from fastcms.locks import FileLock, Holder
from fastcms.startup import COMMANDS, SERVING, STARTING

RESTORE_HINT = (
    "Stop the server, copy the whole data folder, then restore the newest good backup: "
    "`fastcms backup restore NAME --now`. docs/disaster-recovery.md says more."
)
_MOST_NAMES = 5
_MOMENT_SECONDS = 1


class Level(StrEnum):
    """How much a finding matters. The site is healthy without warnings and problems."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"

    @property
    def is_wrong(self) -> bool:
        return self in (Level.WARNING, Level.PROBLEM)


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found; `code` is stable, and docs/doctor.md explains each."""

    level: Level
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Subject:
    """What is examined. `is_deep` also reads every byte of files and backups."""

    settings: Settings
    now: datetime
    is_deep: bool = False

    @property
    def paths(self) -> DataPaths:
        return DataPaths(self.settings.data_dir)

    def holders(self, lock_name: str) -> list[Holder]:
        return FileLock(self.settings.data_dir / lock_name).holders()

    @property
    def is_open(self) -> bool:
        """Whether a server or a command may have app.db open, or is just being started."""
        return any(self.holders(name) for name in (STARTING, SERVING, COMMANDS))

    @property
    def is_working_on_backups(self) -> bool:
        return bool(FileLock(self.paths.backups_dir / ".lock").holders())


Check = Callable[[Subject], Iterator[Finding]]


def ok(code: str, message: str) -> Finding:
    return Finding(Level.OK, code, message)


def note(code: str, message: str, hint: str = "") -> Finding:
    return Finding(Level.NOTE, code, message, hint)


def warning(code: str, message: str, hint: str) -> Finding:
    return Finding(Level.WARNING, code, message, hint)


def problem(code: str, message: str, hint: str) -> Finding:
    return Finding(Level.PROBLEM, code, message, hint)


def look_twice(subject: Subject, find: Callable[[], set[str]]) -> list[str]:
    """What is found, sorted; while people work, what is found again a moment later.

    Between two steps of an upload, a deletion or a backup, things look broken off that are not.
    """
    found = find()
    if found and subject.is_open:
        time.sleep(_MOMENT_SECONDS)
        found &= find()
    return sorted(found)


def count(number: int, noun: str) -> str:
    """A number with its noun: '1 file', '2 files'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def name_some(names: Iterable[object]) -> str:
    """The first few names, and how many more there are."""
    found: Sequence[str] = [str(name) for name in names]
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return ", ".join(found[:_MOST_NAMES]) + more
