"""What can be done as a job, the same from the API, the dashboard and the command line."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel
from pyrage.x25519 import Identity

import fastcms
from fastcms.backups import (
    backup_notes,
    fetching,
    receiving,
    restoring,
    service,
    storage,
    verification,
)
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.encryption import find_public_keys
from fastcms.backups.engine.pending import PendingRestore
from fastcms.backups.engine.progress import OnProgress
from fastcms.backups.fetching import Source
from fastcms.backups.folder import remember_backups
from fastcms.backups.job_files import JobKind, Trigger
from fastcms.backups.jobs import Task
from fastcms.backups.origin import Origin
from fastcms.backups.receiving import unnamed
from fastcms.backups.restore_schemas import StagedRestore
from fastcms.backups.schemas import Backup, BackupDetails, describe_created
from fastcms.backups.stored import filename_of
from fastcms.backups.verification_report import VerifiedBackup
from fastcms.incoming import IncomingFile
from fastcms.logs import get_logger
from fastcms.site import Site


def creation(site: Site, requested_by: str, trigger: Trigger = Trigger.MANUAL) -> Task[Backup]:
    def work(on_progress: OnProgress) -> Backup:
        started = time.monotonic()
        backup = service.create_backup(site, on_progress)
        seconds = round(time.monotonic() - started, 3)
        backup_notes.note(
            site,
            backup.filename,
            trigger=trigger,
            seconds=seconds,
            app_version=fastcms.__version__,
            crc32=backup.crc32,
        )
        remember_backups(site)
        storage.observe_disk(site)
        get_logger().info(
            "backup created", backup=backup.filename, by=requested_by, problems=list(backup.problems)
        )
        return backup

    return Task(JobKind.CREATE, requested_by, work, describe_created, trigger=trigger)


def staging(site: Site, filename: str, requested_by: str, *, approved: Origin | None) -> Task[PendingRestore]:
    def work(on_progress: OnProgress) -> PendingRestore:
        pending = restoring.stage_restore(site, filename, requested_by, on_progress, approved=approved)
        get_logger().info("restore staged", backup=pending.backup_filename, by=requested_by)
        return pending

    return Task(JobKind.RESTORE, requested_by, work, _describe_staged, filename)


def _describe_staged(pending: PendingRestore) -> StagedRestore:
    return StagedRestore(backup_filename=pending.backup_filename)


def verifying(
    site: Site,
    filename: str,
    requested_by: str,
    *,
    level: VerificationLevel = VerificationLevel.FULL,
    trigger: Trigger = Trigger.MANUAL,
) -> Task[VerifiedBackup]:
    def work(on_progress: OnProgress) -> VerifiedBackup:
        verified = verification.verify_backup(site, filename, on_progress, level=level)
        get_logger().info("backup verified", backup=filename, level=level, by=requested_by)
        return verified

    return Task(JobKind.VERIFY, requested_by, work, _as_it_is, filename, trigger)


def reception(
    site: Site, incoming: IncomingFile, requested_by: str, identities: Sequence[Identity] = ()
) -> Task[BackupDetails]:
    """Check an upload that has arrived completely, decrypted if need be. What is not kept is removed."""

    def work(on_progress: OnProgress) -> BackupDetails:
        encrypted_to = find_public_keys(incoming.head, identities)
        with receiving.open_upload(site, incoming, identities, on_progress) as archive:
            backup = receiving.receive_archive(
                site, archive, requested_by, on_progress, encrypted_to=encrypted_to
            )
        get_logger().info("backup uploaded", backup=backup.filename, by=requested_by, admins=backup.admins)
        return backup

    return Task(JobKind.UPLOAD, requested_by, work, _as_it_is)


def importing(
    site: Site, source_path: Path, requested_by: str, identities: Sequence[Identity] = ()
) -> Task[BackupDetails]:
    def work(on_progress: OnProgress) -> BackupDetails:
        return receiving.import_archive(site, source_path, requested_by, on_progress, identities)

    return Task(JobKind.UPLOAD, requested_by, work, _as_it_is)


def fetching_of(site: Site, source: Source, object_name: str, requested_by: str) -> Task[BackupDetails]:
    """Bring a backup from where it is kept to the backups of this machine."""

    def work(on_progress: OnProgress) -> BackupDetails:
        backup = fetching.receive(site, source, object_name, requested_by, on_progress)
        get_logger().info("backup fetched", backup=backup.filename, place=source.store.place, by=requested_by)
        return backup

    return Task(
        JobKind.FETCH,
        requested_by,
        work,
        _as_it_is,
        filename_of(object_name),
        place=source.store.place,
    )


def staging_of_fetched(
    site: Site,
    source: Source,
    object_name: str,
    requested_by: str,
    *,
    approve: Callable[[str], Origin | None],
) -> Task[PendingRestore]:
    """Fetch a backup and stage its restore; approve says that whoever asks agrees to whom it lets in."""

    def work(on_progress: OnProgress) -> PendingRestore:
        restoring.require_nothing_staged(site)
        backup = fetching.receive(site, source, object_name, requested_by, on_progress)
        pending = restoring.stage_restore(
            site, backup.filename, requested_by, on_progress, approved=approve(backup.filename)
        )
        get_logger().info("restore staged", backup=backup.filename, place=source.store.place, by=requested_by)
        return pending

    return Task(
        JobKind.RESTORE,
        requested_by,
        work,
        _describe_staged,
        filename_of(object_name),
        place=source.store.place,
    )


def verifying_stored(
    site: Site,
    source: Source,
    object_name: str,
    requested_by: str,
    *,
    level: VerificationLevel = VerificationLevel.FULL,
) -> Task[VerifiedBackup]:
    """Fetch a backup, verify it, and remove all of it again."""

    def work(on_progress: OnProgress) -> VerifiedBackup:
        @contextmanager
        def fetch(folder: Path) -> Iterator[Backup]:
            with fetching.fetch(source, object_name, folder, on_progress) as incoming, unnamed(incoming):
                yield fetching.as_backup(incoming, object_name)

        verified = verification.verify_fetched(site, fetch, on_progress, level=level)
        fetching.note_readable(site, source, object_name)
        get_logger().info("backup verified", backup=object_name, place=source.store.place, by=requested_by)
        return verified

    return Task(JobKind.VERIFY, requested_by, work, _as_it_is, object_name, place=source.store.place)


def _as_it_is(body: BaseModel) -> BaseModel:
    return body
