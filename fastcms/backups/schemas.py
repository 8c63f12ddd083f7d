"""What the backups API gives, in the documented shapes; `created` is UTC and agrees with the filename."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel


@dataclass(frozen=True)
class Backup:
    """One archive in the folder of backups. `problems` is only known to whoever has just made it."""

    filename: str
    size_bytes: int
    created: datetime
    path: str
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.filename.removesuffix(".zip")

    @property
    def size_mb(self) -> float:
        return round(self.size_bytes / 1024**2, 3)


class CreatedBackup(BaseModel):
    """A finished backup. `problems` names uploads that were missing or damaged on disk beforehand."""

    filename: str
    size_bytes: int
    created: str
    path: str
    problems: list[str]


class ListedBackup(BaseModel):
    filename: str
    name: str
    size_mb: float
    size_bytes: int
    created: str


class BackupList(BaseModel):
    """All backups, newest first."""

    items: list[ListedBackup]
    total: int


class StagedRestore(BaseModel):
    status: Literal["pending_restart"] = "pending_restart"
    message: str = "Backup staged for restore. Please restart the server to complete restoration."
    backup_filename: str


class DeletedBackup(BaseModel):
    status: Literal["deleted"] = "deleted"
    filename: str


class CancelledRestore(BaseModel):
    status: Literal["cancelled"] = "cancelled"
    backup_filename: str


class RestoreState(StrEnum):
    """none: never restored. pending: waits for a restart. The others: how the latest restore ended."""

    NONE = "none"
    PENDING = "pending"
    RESTORED = "restored"
    ROLLED_BACK = "rolled_back"


class RestoreStatus(BaseModel):
    """The pending restore, or how the latest one ended; times are UTC."""

    state: RestoreState
    backup_filename: str | None = None
    requested_by: str | None = None
    requested: datetime | None = None
    finished: datetime | None = None
    reason: str | None = None


def describe_created(backup: Backup) -> CreatedBackup:
    """What the API and `fastcms backup create --json` say of a backup that was just made."""
    return CreatedBackup(
        filename=backup.filename,
        size_bytes=backup.size_bytes,
        created=format_created(backup.created),
        path=backup.path,
        problems=list(backup.problems),
    )


def describe_list(backups: Sequence[Backup]) -> BackupList:
    """What the API and `fastcms backup list --json` say of all backups."""
    items = [
        ListedBackup(
            filename=backup.filename,
            name=backup.name,
            size_mb=backup.size_mb,
            size_bytes=backup.size_bytes,
            created=format_created(backup.created),
        )
        for backup in backups
    ]
    return BackupList(items=items, total=len(items))


def format_created(created: datetime) -> str:
    """The documented form: UTC, seconds, no offset."""
    return created.strftime("%Y-%m-%dT%H:%M:%S")
