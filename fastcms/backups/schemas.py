"""What the backups API gives, in the documented shapes; `created` is UTC and agrees with the filename."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from fastcms.backups.backup_notes import Notes
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.pending import Kind, PendingRestore, RestoreReceipt
from fastcms.backups.engine.undo import SafetyCopy
from fastcms.backups.history import Run
from fastcms.backups.origin import Origin
from fastcms.database import utc_now

# Afterwards how the latest restore ended is history.
_NEWS = timedelta(days=7)


class BackupKind(StrEnum):
    """Made by somebody, made by the schedule, or brought from another machine (see `origin`)."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    UPLOADED = "uploaded"


class Backup(NamedTuple):
    """One archive in the folder of backups.

    `problems`, `crc32` and `counts` are only told to who has just made it.
    """

    filename: str
    size_bytes: int
    created: datetime
    path: str
    kind: BackupKind = BackupKind.MANUAL
    problems: tuple[str, ...] = ()
    notes: Notes = Notes("")
    crc32: int | None = None
    counts: Mapping[str, int] = MappingProxyType({})

    @property
    def name(self) -> str:
        return self.filename.removesuffix(".zip")

    @property
    def size_mb(self) -> float:
        return round(self.size_bytes / 1024**2, 3)


class CreatedBackup(BaseModel):
    """A finished backup. `problems` names uploads that were missing or damaged on disk beforehand.

    `counts` say how much is in it; `records:NAME` counts one collection.
    """

    filename: str
    size_bytes: int
    created: str
    path: str
    problems: list[str]
    counts: dict[str, int]


class ListedBackup(TypedDict):  # checking a list of models takes four times as long
    filename: str
    name: str
    size_mb: float
    size_bytes: int
    created: str
    kind: BackupKind
    seconds: float | None
    app_version: str | None
    pinned: bool
    verification: str | None
    verified: str | None


class BackupDetails(BaseModel):
    """One backup, and what its manifest says is in it.

    Only of one that was uploaded: its SHA-256, who brought it and when (UTC), and the accounts and API tokens
    in it that may do everything. Of its latest verification: when it was, how thorough, and how it ended.
    """

    filename: str
    size_bytes: int
    created: str
    path: str
    kind: BackupKind
    sha256: str | None
    admins: list[str] | None
    admin_tokens: list[str] | None
    uploaded_by: str | None
    uploaded: datetime | None
    app_version: str
    schema_revision: str
    counts: dict[str, int]
    problems: list[str]
    pinned: bool
    pinned_by: str | None
    verified: datetime | None
    verified_level: str | None
    verification: str | None
    verified_reason: str | None


class BackupList(BaseModel):
    """All backups, newest first."""

    items: list[ListedBackup]
    total: int


class RestoreRequest(BaseModel):
    """The caller's own password, to restore a backup that was uploaded."""

    model_config = ConfigDict(hide_input_in_errors=True)

    password: str | None = Field(None, max_length=1000)


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


class SafetyCopyInfo(BaseModel):
    """The state before the latest restore: what an undo would bring back."""

    before_restore_of: str | None
    replaced: datetime | None
    size_bytes: int


class RestoreStatus(BaseModel):
    """The pending restore, or how the latest one ended; times are UTC."""

    state: RestoreState
    kind: Kind | None = None
    backup_filename: str | None = None
    requested_by: str | None = None
    requested: datetime | None = None
    finished: datetime | None = None
    reason: str | None = None
    safety_copy: SafetyCopyInfo | None = None

    @property
    def is_news(self) -> bool:
        """Whether people should still be told how the latest restore ended."""
        return self.finished is not None and utc_now() - self.finished < _NEWS


class Restore(BaseModel):
    """The receipt of a restore. Of an undo, `backup_filename` is that of the restore that was undone."""

    restore_id: str
    kind: Kind
    backup_filename: str
    archive_sha256: str
    requested_by: str
    requested: datetime
    finished: datetime
    outcome: RestoreState
    reason: str
    seconds: dict[str, float]


class RestoreList(BaseModel):
    """All restores so far, newest first."""

    items: list[Restore]
    total: int


class RunPage(BaseModel):
    """One page of what was done, newest first."""

    items: list[Run]
    total: int
    page: int
    per_page: int


class StagedUndo(BaseModel):
    status: Literal["pending_restart"] = "pending_restart"
    message: str = "Undo staged. Please restart the server to go back to the state before the restore."
    backup_filename: str


class DiscardedSafetyCopy(BaseModel):
    status: Literal["discarded"] = "discarded"
    size_bytes: int


def describe_created(backup: Backup) -> CreatedBackup:
    """What the API and `fastcms backup create --json` say of a backup that was just made."""
    return CreatedBackup(
        filename=backup.filename,
        size_bytes=backup.size_bytes,
        created=format_created(backup.created),
        path=backup.path,
        problems=list(backup.problems),
        counts=dict(backup.counts),
    )


def describe_list(backups: Sequence[Backup]) -> BackupList:
    """What the API and `fastcms backup list --json` say of all backups."""
    items: list[ListedBackup] = [
        {
            "filename": backup.filename,
            "name": backup.name,
            "size_mb": backup.size_mb,
            "size_bytes": backup.size_bytes,
            "created": format_created(backup.created),
            "kind": backup.kind,
            "seconds": backup.notes.seconds,
            "app_version": backup.notes.app_version,
            "pinned": backup.notes.pinned is not None,
            "verification": backup.notes.verified_outcome,
            "verified": backup.notes.verified,
        }
        for backup in backups
    ]
    # Not validated: for 10,000 that takes as long as reading the folder.
    return BackupList.model_construct(items=items, total=len(items))


def describe_details(backup: Backup, manifest: BackupManifest, origin: Origin | None) -> BackupDetails:
    """What the API, and `fastcms backup import --json`, say of one backup."""
    return BackupDetails(
        filename=backup.filename,
        size_bytes=backup.size_bytes,
        created=format_created(backup.created),
        path=backup.path,
        kind=backup.kind,
        sha256=origin.sha256 if origin else None,
        admins=origin.newcomers.admins if origin else None,
        admin_tokens=origin.newcomers.admin_tokens if origin else None,
        uploaded_by=origin.uploaded_by if origin else None,
        uploaded=origin.uploaded_at if origin else None,
        app_version=manifest.app_version,
        schema_revision=manifest.schema_revision,
        counts=dict(manifest.counts),
        problems=list(manifest.problems),
        pinned=backup.notes.pinned is not None,
        pinned_by=backup.notes.pinned_by,
        verified=datetime.fromisoformat(backup.notes.verified) if backup.notes.verified else None,
        verified_level=backup.notes.verified_level,
        verification=backup.notes.verified_outcome,
        verified_reason=backup.notes.verified_reason,
    )


def format_created(created: datetime) -> str:
    """The documented form: UTC, seconds, no offset."""
    return created.isoformat()[:19]


def describe_pending(pending: PendingRestore, safety_copy: SafetyCopy | None) -> RestoreStatus:
    return RestoreStatus(
        state=RestoreState.PENDING,
        kind=pending.kind,
        backup_filename=pending.backup_filename,
        requested_by=pending.requested_by,
        requested=datetime.fromisoformat(pending.requested),
        safety_copy=_describe_safety_copy(safety_copy),
    )


def describe_latest(latest: RestoreReceipt | None, safety_copy: SafetyCopy | None) -> RestoreStatus:
    if latest is None:
        return RestoreStatus(state=RestoreState.NONE, safety_copy=_describe_safety_copy(safety_copy))
    return RestoreStatus(
        state=RestoreState(latest.outcome),
        kind=latest.kind,
        backup_filename=latest.backup_filename,
        requested_by=latest.requested_by,
        requested=datetime.fromisoformat(latest.requested),
        finished=datetime.fromisoformat(latest.finished),
        reason=latest.reason or None,
        safety_copy=_describe_safety_copy(safety_copy),
    )


def describe_what(kind: Kind | None, backup_filename: str | None) -> str:
    """Name a restore in a sentence."""
    return f"{'undo of the ' if kind is Kind.UNDO else ''}restore of {backup_filename}"


def describe_restores(receipts: Sequence[RestoreReceipt]) -> RestoreList:
    """What the API and `fastcms backup restores --json` say."""
    return RestoreList(items=[Restore(**asdict(receipt)) for receipt in receipts], total=len(receipts))


def _describe_safety_copy(safety_copy: SafetyCopy | None) -> SafetyCopyInfo | None:
    if safety_copy is None:
        return None
    restore = safety_copy.restore
    return SafetyCopyInfo(
        before_restore_of=restore.backup_filename if restore else None,
        replaced=datetime.fromisoformat(restore.finished) if restore else None,
        size_bytes=safety_copy.size_bytes,
    )
