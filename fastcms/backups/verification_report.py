"""What a verification tells: of a sound backup, and of the latest verdict on any."""

import json
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from fastcms.backups import backup_notes
from fastcms.backups.backup_notes import VerificationLevel, VerificationOutcome
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.schemas import Backup
from fastcms.database import format_utc, utc_now
from fastcms.site import Site


class SiteReading(NamedTuple):
    """What the trial of a restored site found, see `fastcms.trial`; counts as in the manifest."""

    restore: RestoreState
    schema_revision: str
    counts: dict[str, int]
    files_read: int
    files_read_bytes: int
    seconds: dict[str, float]


class ContentCount(BaseModel):
    """How many there are: in the site restored from the backup, by its manifest, and on the live site by now.

    `name` is `accounts`, `collections`, `files`, `records`, or `records:NAME` of one collection. What the
    manifest does not say, or the live site cannot, is null.
    """

    name: str
    backup: int
    manifest: int | None
    live: int | None


class Trial(BaseModel):
    """How the application did on a site that was restored from the backup.

    `files_read` is how many files were served and had the bytes that were uploaded: a sample of all.
    `seconds` says how long each step took.
    """

    restore: RestoreState
    schema_revision_before: str
    schema_revision_after: str
    was_migrated: bool
    contents: list[ContentCount]
    seconds: dict[str, float]
    files_read: int
    files_read_bytes: int


class VerifiedBackup(BaseModel):
    """Every byte of the backup is as it was written; with a `trial`, it was restored and the site read.

    `counts` are those of the manifest, `problems` those of the site when the backup was made.
    """

    status: Literal["ok"] = "ok"
    filename: str
    size_bytes: int
    database_size_bytes: int
    files_size_bytes: int
    counts: dict[str, int]
    app_version: str
    schema_revision: str
    problems: list[str]
    level: VerificationLevel
    verified: datetime
    seconds: float = 0
    trial: Trial | None = None


class Verification(BaseModel):
    """The latest verdict on a backup, with what the answer had: `report` when it is sound, else `error`.

    They may have been noted by another version of FastCMS.
    """

    filename: str
    outcome: VerificationOutcome
    level: VerificationLevel
    verified: datetime
    reason: str | None
    report: dict[str, Any] | None
    error: dict[str, Any] | None


def compare_counts(
    backup: dict[str, int], manifest: dict[str, int], live: dict[str, int] | None
) -> list[ContentCount]:
    """Put the counts of everything side by side, single collections last.

    What else a manifest counts, one that was not written by this FastCMS, is left out.
    """
    said = {name for name in manifest if name in backup or name.startswith("records:")}
    names = sorted({*backup, *said, *(live or {})}, key=lambda name: (":" in name, name))
    return [
        ContentCount(
            name=name,
            backup=backup.get(name, 0),
            manifest=manifest.get(name),
            live=None if live is None else live.get(name, 0),
        )
        for name in names
    ]


def report_sound(
    backup: Backup, level: VerificationLevel, manifest: BackupManifest, trial: Trial | None = None
) -> VerifiedBackup:
    """What a verification that has found nothing wrong tells."""
    return VerifiedBackup(
        filename=backup.filename,
        size_bytes=backup.size_bytes,
        database_size_bytes=manifest.database_size_bytes,
        files_size_bytes=manifest.files_size_bytes,
        counts=dict(manifest.counts),
        app_version=manifest.app_version,
        schema_revision=manifest.schema_revision,
        problems=list(manifest.problems),
        level=level,
        verified=utc_now(),
        trial=trial,
    )


def note_verdict(
    site: Site, filename: str, level: VerificationLevel, told: dict[str, Any], reason: str | None = None
) -> None:
    """Note how a verification ended; with a reason, it failed."""
    backup_notes.note(
        site,
        filename,
        verified=format_utc(utc_now()),
        verified_level=level,
        verified_outcome=VerificationOutcome.OK if reason is None else VerificationOutcome.FAILED,
        verified_reason=reason,
        report=json.dumps(told),
    )
