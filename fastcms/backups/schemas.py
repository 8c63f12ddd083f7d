"""What the backups API gives, in the documented shapes; `created` is UTC and agrees with the filename."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import BaseModel
from typing_extensions import TypedDict

from fastcms.backups.backup_notes import Notes
from fastcms.backups.copies import Copy
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.history import Run
from fastcms.backups.origin import Origin


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


class ShownCopy(TypedDict):
    """A copy of a backup elsewhere, or what has become of it; `since` is when that began.

    `checked`: how the copy is known to be whole. `hint` says what to do about the `reason`.
    """

    destination: str
    place: str
    state: str
    since: str
    reason: str | None
    hint: str | None
    checked: str | None
    is_encrypted: bool


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
    copies: list[ShownCopy]


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
    copies: list[ShownCopy]


class BackupList(BaseModel):
    """All backups, newest first."""

    items: list[ListedBackup]
    total: int


class DeletedBackup(BaseModel):
    status: Literal["deleted"] = "deleted"
    filename: str


class RunPage(BaseModel):
    """One page of what was done, newest first."""

    items: list[Run]
    total: int
    page: int
    per_page: int


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


def describe_copies(copies: Sequence[Copy]) -> list[ShownCopy]:
    return [
        {
            "destination": copy.destination,
            "place": copy.place,
            "state": copy.state,
            "since": copy.since,
            "reason": copy.reason,
            "hint": copy.hint,
            "checked": copy.checked,
            "is_encrypted": copy.is_encrypted,
        }
        for copy in copies
    ]


def describe_list(
    backups: Sequence[Backup], copies: Mapping[str, Sequence[Copy]] = MappingProxyType({})
) -> BackupList:
    """What the API and `fastcms backup list --json` say of all backups; copies by the names of backups."""
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
            "copies": describe_copies(copies.get(backup.filename, ())),
        }
        for backup in backups
    ]
    # Not validated: for 10,000 that takes as long as reading the folder.
    return BackupList.model_construct(items=items, total=len(items))


def describe_details(
    backup: Backup, manifest: BackupManifest, origin: Origin | None, copies: Sequence[Copy] = ()
) -> BackupDetails:
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
        copies=describe_copies(copies),
    )


def format_created(created: datetime) -> str:
    """The documented form: UTC, seconds, no offset."""
    return created.isoformat()[:19]
