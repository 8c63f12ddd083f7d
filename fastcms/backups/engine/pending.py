"""The marker of a pending restore, which is also the journal of the swap, and the receipts of restores."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from fastcms.backups.engine.paths import DataPaths, State, beside
from fastcms.durability import append_durably, fsync_folder, remove, sync
from fastcms.errors import RestoreError

# One block: a marker always takes the same space, so that the next one fits where the last one was.
_MARKER_BYTES = 4096
_LONGEST_REASON = 1000


class Kind(StrEnum):
    """What a restore puts in place: an archive, or the safety copy of the restore before."""

    BACKUP = "backup"
    UNDO = "undo"


class Phase(StrEnum):
    """How far a restore is. Each phase is recorded durably before anything of it is done.

    staged ─> moving_out ─> moving_in ─> restored
                  │             │
                  │             └─> taking_out ─┐
                  └───────────────────────────> putting_back ─> rolled_back
    """

    STAGED = "staged"
    MOVING_OUT = "moving_out"
    MOVING_IN = "moving_in"
    RESTORED = "restored"
    TAKING_OUT = "taking_out"
    PUTTING_BACK = "putting_back"
    ROLLED_BACK = "rolled_back"

    @property
    def is_over(self) -> bool:
        """Whether the site is as it will be: only the receipt and tidying up are left."""
        return self in (Phase.RESTORED, Phase.ROLLED_BACK)


@dataclass(frozen=True)
class PendingRestore:
    """The content of `.restore_pending`. Times are ISO 8601 in UTC; paths are relative to the data folder."""

    restore_id: str
    kind: Kind
    backup_filename: str
    archive_sha256: str
    requested_by: str
    requested: str
    incoming_database: str
    incoming_files: str
    files_apart: bool
    fingerprint: str
    phase: Phase = Phase.STAGED
    had_database: bool = True
    had_files: bool = True
    attempts: int = 0
    finished: str = ""
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def incoming(self, paths: DataPaths) -> State:
        """Where the state is that this restore puts in place."""
        return State(paths.data_dir / self.incoming_database, paths.data_dir / self.incoming_files)

    def replaced(self, paths: DataPaths) -> State:
        return paths.replaced(files_apart=self.files_apart)

    def safety(self, paths: DataPaths) -> State:
        return paths.safety(files_apart=self.files_apart)


@dataclass(frozen=True)
class RestoreReceipt:
    """The lasting record of what a restore did: a line of `restores.jsonl`, outside the restored database.

    `seconds` says how long each phase took. Of an undo, `backup_filename` is that of the restore undone.
    """

    restore_id: str
    backup_filename: str
    requested_by: str
    requested: str
    finished: str
    outcome: str
    reason: str = ""
    kind: Kind = Kind.BACKUP
    archive_sha256: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def fingerprint_of(state: State) -> str:
    """What changes when somebody writes into a state's database, or adds or removes one of its files."""
    database = state.database.stat()
    files_mtime_ns = state.files.stat().st_mtime_ns if state.files.exists() else 0
    return f"{database.st_size}:{database.st_mtime_ns}:{files_mtime_ns}"


def read_marker(paths: DataPaths) -> PendingRestore | None:
    """The pending restore, or None. Raises: RestoreError when the marker is not one of ours."""
    try:
        values = json.loads(paths.marker.read_bytes())
        datetime.fromisoformat(values["requested"])
        return PendingRestore(**(values | {"phase": Phase(values["phase"]), "kind": Kind(values["kind"])}))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError, IsADirectoryError) as error:
        raise RestoreError(
            f"{paths.marker} cannot be read: {error}.",
            hint="FastCMS writes this file whole; remove it if you made it yourself.",
            code="restore_marker_unreadable",
        ) from error


def write_marker(paths: DataPaths, pending: PendingRestore) -> None:
    """Replace the marker in one step, also on a full disk: the next one's space is taken beforehand.

    On disk: the old marker, or the new one.
    """
    content = json.dumps(asdict(pending), indent=2).encode().ljust(_MARKER_BYTES) + b"\n"
    reserve_path = _reserve_path(paths)
    try:
        with os.fdopen(_open(reserve_path), "r+b") as file:
            file.write(content)
            file.truncate()
            sync(file)
        reserve_path.replace(paths.marker)
    except BaseException:
        with suppress(OSError):  # after a failed fsync a second one proves nothing
            remove(reserve_path)
        raise
    fsync_folder(paths.marker.parent)
    with suppress(OSError), os.fdopen(_open(reserve_path), "r+b") as file:
        file.write(bytes(len(content)))


def now() -> str:
    """The present second, as the marker and the receipts have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add how long something takes, also when it fails."""
    started = time.monotonic()
    try:
        yield
    finally:
        seconds[name] = round(seconds.get(name, 0) + time.monotonic() - started, 3)


def advance(paths: DataPaths, pending: PendingRestore, phase: Phase, **details: Any) -> PendingRestore:
    """Record the next phase durably, before anything of it is done."""
    pending = replace(pending, phase=phase, finished=now() if phase.is_over else "", **details)
    write_marker(paths, replace(pending, reason=pending.reason[:_LONGEST_REASON]))
    return pending


def remove_marker(paths: DataPaths) -> None:
    remove_reserve(paths)
    remove(paths.marker)
    fsync_folder(paths.marker.parent)


def remove_reserve(paths: DataPaths) -> None:
    """Give the space of the next marker back."""
    remove(_reserve_path(paths))


def add_receipt(paths: DataPaths, receipt: RestoreReceipt) -> None:
    """Add a receipt, once: the end of a restore is repeated after a crash in it."""
    key = (receipt.restore_id, receipt.outcome)
    if all((known.restore_id, known.outcome) != key for known in read_receipts(paths.receipts)):
        append_durably(paths.receipts, json.dumps(asdict(receipt)).encode() + b"\n")


def read_receipts(path: Path) -> Iterator[RestoreReceipt]:
    """Every receipt, oldest first; a line that a power cut left incomplete is passed over."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                values = json.loads(line)
                for time_of in ("requested", "finished"):
                    datetime.fromisoformat(values[time_of])
                yield RestoreReceipt(**(values | {"kind": Kind(values["kind"])}))
            except (ValueError, TypeError, KeyError):
                continue


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _reserve_path(paths: DataPaths) -> Path:
    return beside(paths.marker, ".next")
