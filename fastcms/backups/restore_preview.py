"""What restoring a backup would mean, found out before anything is done: for people who have to decide."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from humanize import naturalsize
from pydantic import BaseModel

import fastcms
from fastcms.accounts.service import count_logged_in
from fastcms.backups import restoring
from fastcms.backups.archive_contents import SchemaFit, judge_schema
from fastcms.backups.backup_notes import VerificationOutcome
from fastcms.backups.comparison import Count, compare_counts, count_live, describe_difference
from fastcms.backups.creation import RESTORE_REFUSED
from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.pending import Phase
from fastcms.backups.engine.staging import measure_staging, require_nothing_pending
from fastcms.backups.folder import data_paths, explained
from fastcms.backups.restore_schemas import SafetyCopyInfo
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import find_backup
from fastcms.database import known_revisions
from fastcms.durability import Space, require_space
from fastcms.errors import FastCMSError, UnsupportedVersionError
from fastcms.site import Site

# Until Python and the server have started, on a small machine; docs/benchmarks.md measures 1.2.
_START_SECONDS = 3


class Obstacle(BaseModel):
    """Why a restore would be refused now, and what to do about it."""

    code: str
    message: str
    hint: str


class SpaceOnDisk(BaseModel):
    """What staging needs on one disk, and what is free there."""

    folder: str
    needed_bytes: int
    free_bytes: int
    is_enough: bool


class RestorePreview(BaseModel):
    """What restoring a backup would mean. Times are UTC.

    `difference` says in sentences what `counts` show. `logged_in` is how many people have to log in again, if
    that is known here; `safety_copy` what is given up, as there is only one. With `obstacles`, the restore
    would be refused.
    """

    filename: str
    size_bytes: int
    created: datetime
    kind: BackupKind
    app_version: str
    server_version: str
    schema_revision: str
    server_schema_revision: str
    schema_fit: SchemaFit
    counts: list[Count]
    difference: list[str]
    space: list[SpaceOnDisk]
    downtime_seconds: int
    logged_in: int | None
    safety_copy: SafetyCopyInfo | None
    problems: list[str]
    verified: datetime | None
    verified_level: str | None
    verification: str | None
    verified_reason: str | None
    needs_password: bool
    obstacles: list[Obstacle]


def preview_restore(site: Site, filename: str) -> RestorePreview:
    """Look at a backup and at the site; nothing is changed.

    Raises: BackupNotFoundError; InvalidInputError; subclasses of ArchiveError for one that cannot be read.
    """
    backup = find_backup(site, filename)
    paths = data_paths(site)
    with explained("Reading the backup"), open_archive(Path(backup.path)) as archive:
        manifest = archive.manifest
        space = measure_staging(paths, archive)
    counts = compare_counts(manifest.counts, count_live(site))
    newest_revision, verified = known_revisions()[0], backup.notes.verified
    return RestorePreview(
        filename=filename,
        size_bytes=backup.size_bytes,
        created=backup.created,
        kind=backup.kind,
        app_version=manifest.app_version,
        server_version=fastcms.__version__,
        schema_revision=manifest.schema_revision,
        server_schema_revision=newest_revision,
        schema_fit=judge_schema(manifest.schema_revision),
        counts=counts,
        difference=describe_difference(counts),
        space=[_describe_space(disk) for disk in space],
        downtime_seconds=expected_downtime_seconds(site),
        logged_in=_count_logged_in(site),
        safety_copy=restoring.restore_status(site).safety_copy,
        problems=list(manifest.problems),
        verified=datetime.fromisoformat(verified) if verified else None,
        verified_level=backup.notes.verified_level,
        verification=backup.notes.verified_outcome,
        verified_reason=backup.notes.verified_reason,
        needs_password=backup.kind is BackupKind.UPLOADED,
        obstacles=list(_find_obstacles(site, backup, manifest, space)),
    )


def describe_preview(preview: RestorePreview) -> Iterator[str]:
    """The same in sentences, for whoever is asked at a terminal."""
    yield from preview.difference
    if preview.schema_fit is SchemaFit.MIGRATED:
        yield f"The database is of FastCMS {preview.app_version}, and will be migrated."
    if preview.verification == VerificationOutcome.FAILED:
        yield f"It did not pass its latest verification: {preview.verified_reason}"
    if preview.safety_copy is not None:
        size = naturalsize(preview.safety_copy.size_bytes)
        yield f"The safety copy of the restore before ({size}) is given up: only one is kept."
    for obstacle in preview.obstacles:
        yield f"It would be refused now: {obstacle.message} {obstacle.hint}"


def expected_downtime_seconds(site: Site) -> int:
    """How long nobody can reach the site during a restore: what the latest one took, and a start."""
    receipts = (receipt for receipt in restoring.list_restores(site) if receipt.outcome == Phase.RESTORED)
    latest = next(receipts, None)
    return math.ceil(_START_SECONDS + (seconds_away(latest.seconds) if latest else 0))


def seconds_away(seconds: dict[str, float]) -> float:
    """Of what a receipt has measured: how long it was until the restored site was open."""
    return sum(seconds.get(name, 0) for name in ("swap", "open", "roll_back"))


def _find_obstacles(
    site: Site, backup: Backup, manifest: BackupManifest, space: Sequence[Space]
) -> Iterator[Obstacle]:
    if judge_schema(manifest.schema_revision) is SchemaFit.TOO_NEW:
        yield obstacle_of(
            UnsupportedVersionError(
                f"This backup was made by FastCMS {manifest.app_version}, which is newer than this "
                f"{fastcms.__version__}: it would not understand the database.",
                hint=f"Install FastCMS {manifest.app_version} or a newer one, then restore. "
                "Or choose a backup that this version has made.",
            )
        )
    for problem in manifest.problems:
        if problem.startswith(RESTORE_REFUSED):
            yield Obstacle(
                code="archive_unsafe",
                message=problem.removeprefix(RESTORE_REFUSED).strip(),
                hint="It was so when the backup was made, and cannot be mended now: choose another backup.",
            )
    try:
        require_nothing_pending(data_paths(site))
        for disk in space:
            require_space(disk, f"Preparing {backup.filename}")
    except FastCMSError as error:
        yield obstacle_of(error)


def obstacle_of(error: FastCMSError) -> Obstacle:
    """What an error says to people who have not tried yet."""
    return Obstacle(code=error.code, message=error.message, hint=error.hint)


def _describe_space(space: Space) -> SpaceOnDisk:
    return SpaceOnDisk(
        folder=str(space.folder.absolute()),
        needed_bytes=space.needed_bytes,
        free_bytes=space.free_bytes,
        is_enough=space.is_enough,
    )


def _count_logged_in(site: Site) -> int | None:
    if not site.database.is_open:  # a command must not open it
        return None
    with site.database.read() as session:
        return count_logged_in(session)
