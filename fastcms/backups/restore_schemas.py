"""What the API gives of restores, in the documented shapes; times are UTC."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fastcms.backups.engine.pending import Kind, PendingRestore, RestoreReceipt
from fastcms.backups.engine.undo import SafetyCopy
from fastcms.database import utc_now

# Afterwards how the latest restore ended is history.
_NEWS = timedelta(days=7)


class RestoreRequest(BaseModel):
    """The caller's own password, to restore a backup that was uploaded."""

    model_config = ConfigDict(hide_input_in_errors=True)

    password: str | None = Field(None, max_length=1000)


class StagedRestore(BaseModel):
    status: Literal["pending_restart"] = "pending_restart"
    message: str = "Backup staged for restore. Please restart the server to complete restoration."
    backup_filename: str


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


class StagedUndo(BaseModel):
    status: Literal["pending_restart"] = "pending_restart"
    message: str = "Undo staged. Please restart the server to go back to the state before the restore."
    backup_filename: str


class DiscardedSafetyCopy(BaseModel):
    status: Literal["discarded"] = "discarded"
    size_bytes: int


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
