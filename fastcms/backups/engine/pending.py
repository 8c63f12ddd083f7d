"""The marker of a pending restore, which is also the journal of the swap, and the receipts of restores."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from fastcms.backups.engine.paths import DataPaths
from fastcms.durability import append_durably, fsync_folder, write_durably
from fastcms.errors import RestoreError


class Phase(StrEnum):
    """How far a restore is. While STAGED, nothing but the staging folder has changed."""

    STAGED = "staged"
    SWAPPING = "swapping"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class PendingRestore:
    """The content of `.restore_pending`; times are ISO 8601 in UTC."""

    restore_id: str
    backup_filename: str
    requested_by: str
    requested: str
    staged_database: str
    phase: Phase = Phase.STAGED
    had_database: bool = True
    had_files: bool = True
    reason: str = ""


@dataclass(frozen=True)
class RestoreReceipt:
    """The lasting record of what a restore did: a line of `restores.jsonl`, outside the restored database."""

    restore_id: str
    backup_filename: str
    requested_by: str
    requested: str
    finished: str
    outcome: str
    reason: str = ""


def read_marker(paths: DataPaths) -> PendingRestore | None:
    """The pending restore, or None. Raises: RestoreError when the marker is not one of ours."""
    try:
        values = json.loads(paths.marker.read_bytes())
        datetime.fromisoformat(values["requested"])
        return PendingRestore(**(values | {"phase": Phase(values["phase"])}))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, IsADirectoryError) as error:
        raise RestoreError(
            f"{paths.marker} cannot be read: {error}.",
            hint="FastCMS writes this file whole; remove it if you made it yourself.",
            code="restore_marker_unreadable",
        ) from error


def write_marker(paths: DataPaths, pending: PendingRestore) -> None:
    write_durably(paths.marker, json.dumps(asdict(pending), indent=2).encode())


def advance(paths: DataPaths, pending: PendingRestore, phase: Phase, **details: Any) -> PendingRestore:
    """Record the next phase durably, before anything of it is done."""
    pending = replace(pending, phase=phase, **details)
    write_marker(paths, pending)
    return pending


def remove_marker(paths: DataPaths) -> None:
    paths.marker.unlink()
    fsync_folder(paths.marker.parent)


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
                yield RestoreReceipt(**json.loads(line))
            except (ValueError, TypeError):
                continue
