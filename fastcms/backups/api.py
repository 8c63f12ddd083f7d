"""Routes of backups and restores. Creating and reading need a scope; everything else needs an admin."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from fastcms.accounts.api import client_address
from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Caller, Scope
from fastcms.backups import (
    contents_api,
    deletion,
    destinations_api,
    job_api,
    loss,
    notification_api,
    receiving,
    restore_preview,
    restoring,
    retention_api,
    service,
    settings_api,
    status_api,
    stored_api,
    tasks,
    verification,
)
from fastcms.backups.answers import archive_answer
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.folder import explained
from fastcms.backups.job_api import ACCEPTED, Answering
from fastcms.backups.restore_preview import RestorePreview
from fastcms.backups.restore_schemas import (
    CancelledRestore,
    DiscardedSafetyCopy,
    RestoreList,
    RestoreRequest,
    RestoreStatus,
    StagedRestore,
    StagedUndo,
    describe_restores,
)
from fastcms.backups.schemas import BackupDetails, BackupList, CreatedBackup, DeletedBackup, describe_list
from fastcms.backups.sources import find_upload_keys
from fastcms.backups.verification_report import Verification, VerifiedBackup
from fastcms.backups.whereabouts import copies_of
from fastcms.incoming import IncomingFile
from fastcms.logs import get_logger
from fastcms.uploads import multipart_body, receive_upload
from fastcms.web import CurrentSite

router = APIRouter(prefix="/backups", tags=["backups"])
# Before /{filename}, which would take "jobs" for a name.
for part in (
    destinations_api,
    stored_api,
    job_api,
    retention_api,
    settings_api,
    status_api,
    notification_api,
):
    router.include_router(part.router)

Creator = Annotated[Caller, Depends(require(Scope.BACKUPS_CREATE))]
Reader = Annotated[Caller, Depends(require(Scope.BACKUPS_READ))]

_ZIP_ANSWER: dict[int | str, dict[str, Any]] = {
    status: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
    for status in (200, 206)
}


@router.post("", response_model=CreatedBackup, responses=ACCEPTED)
def create_backup(site: CurrentSite, caller: Creator, answer: Answering) -> Any:
    """Make a backup of the database and all uploaded files, while people go on working."""
    return answer(tasks.creation(site, caller.name))


@router.get("")
def list_backups(site: CurrentSite, _caller: Reader) -> BackupList:
    """List all backups, newest first."""
    backups = service.list_backups(site)
    return describe_list(backups, copies_of(site, backups))


@router.post(
    "/upload", openapi_extra=multipart_body("identity"), response_model=BackupDetails, responses=ACCEPTED
)
async def upload_backup(request: Request, site: CurrentSite, caller: AdminCaller, answer: Answering) -> Any:
    """Bring an archive from another machine: it is checked whole, and marked as uploaded.

    An encrypted one is decrypted with the secret key in `identity`, used once and kept nowhere, or else with
    the server's own. If that field comes before the file, a wrong key is refused at the file's beginning.
    The job, if one is wanted, begins when the archive has arrived.
    """
    fields = {"identity": ""}

    def look(incoming: IncomingFile) -> None:
        if key := fields["identity"].strip():
            find_upload_keys(site, incoming.head, key)

    def keep(incoming: IncomingFile, _filename: str) -> Any:
        keys = find_upload_keys(site, incoming.head, fields["identity"].strip())
        return answer(tasks.reception(site, incoming.hand_over(), caller.name, keys))

    with explained("The upload"):
        return await receive_upload(request, site.settings.backups_dir, keep, texts=fields, look=look)


@router.get("/restore")
def restore_status(site: CurrentSite, _caller: Reader) -> RestoreStatus:
    """Show the pending restore, or how the latest one ended."""
    return restoring.restore_status(site)


@router.get("/restores")
def list_restores(site: CurrentSite, _caller: Reader) -> RestoreList:
    """List what every restore so far has done, newest first."""
    return describe_restores(restoring.list_restores(site))


@router.post("/restore/undo")
def stage_undo(site: CurrentSite, caller: AdminCaller) -> StagedUndo:
    """Prepare the way back to the state before the latest restore; the next start of the server takes it."""
    pending = restoring.stage_undo(site, caller.name)
    get_logger().info("undo staged", backup=pending.backup_filename, by=caller.name)
    return StagedUndo(backup_filename=pending.backup_filename)


@router.delete("/restore/undo")
def discard_safety_copy(site: CurrentSite, caller: AdminCaller) -> DiscardedSafetyCopy:
    """Delete the state before the latest restore, for its space. An undo is not possible any more."""
    safety_copy = restoring.discard_safety_copy(site)
    get_logger().info("safety copy discarded", size_bytes=safety_copy.size_bytes, by=caller.name)
    return DiscardedSafetyCopy(size_bytes=safety_copy.size_bytes)


@router.delete("/restore")
def cancel_restore(site: CurrentSite, caller: AdminCaller) -> CancelledRestore:
    """Cancel the pending restore; the site stays as it is."""
    pending = restoring.cancel_restore(site)
    get_logger().info("restore cancelled", backup=pending.backup_filename, by=caller.name)
    return CancelledRestore(backup_filename=pending.backup_filename)


@router.get("/{filename}")
def show_backup(site: CurrentSite, filename: str, caller: Reader) -> BackupDetails:
    """What is in a backup, and where it came from. Only admins learn whom an uploaded one would let in."""
    details = service.describe_backup(site, filename)
    if caller.may(Scope.ADMIN):
        return details
    return details.model_copy(update={"admins": None, "admin_tokens": None})


router.include_router(contents_api.router)


@router.get("/{filename}/download", response_class=Response, responses=_ZIP_ANSWER)
@router.head("/{filename}/download", response_class=Response, include_in_schema=False)
def download_backup(request: Request, site: CurrentSite, filename: str, caller: AdminCaller) -> Response:
    """Download a backup; a Range header resumes a download that broke off."""
    backup = service.find_backup(site, filename)
    get_logger().info("backup downloaded", backup=backup.filename, by=caller.name)
    return archive_answer(request, backup)


@router.post("/{filename}/verify", response_model=VerifiedBackup, responses=ACCEPTED)
def verify_backup(
    site: CurrentSite,
    filename: str,
    caller: Creator,
    answer: Answering,
    level: VerificationLevel = VerificationLevel.FULL,
) -> Any:
    """Restore a backup into a scratch folder, as a test, and read the site; lightly: compare every byte.

    Nothing is changed. The verdict is noted, and shown by `GET /api/v1/backups/{filename}/verification`.
    """
    return answer(tasks.verifying(site, filename, caller.name, level=level))


@router.get("/{filename}/verification")
def show_verification(site: CurrentSite, filename: str, _caller: Reader) -> Verification:
    """The latest verdict on a backup, with its report. A light one leaves that of a full one as it is."""
    return verification.find_verification(site, filename)


@router.get("/{filename}/restore")
def show_preview(site: CurrentSite, filename: str, _caller: Reader) -> RestorePreview:
    """What restoring a backup would mean: what is lost, whether it fits, and what would stand in the way."""
    return restore_preview.preview_restore(site, filename)


@router.post("/{filename}/restore", response_model=StagedRestore, responses=ACCEPTED)
def stage_restore(
    request: Request,
    site: CurrentSite,
    filename: str,
    caller: AdminCaller,
    answer: Answering,
    *,
    body: RestoreRequest | None = None,
) -> Any:
    """Check a backup whole and prepare it; the next start of the server puts it in place.

    Only a backup that was uploaded needs a body, with the caller's own password.
    """
    password = body.password if body else None
    approved = receiving.require_password(site, filename, caller, password, client_address(request))
    return answer(tasks.staging(site, filename, caller.name, approved=approved))


@router.get("/{filename}/deletion")
def show_loss(site: CurrentSite, filename: str, _caller: Reader) -> loss.Loss:
    """What would be lost with a backup, and whether it can be deleted now. Nothing is changed."""
    return loss.describe_loss(site, filename)


@router.delete("/{filename}")
def delete_backup(site: CurrentSite, filename: str, caller: AdminCaller) -> DeletedBackup:
    """Delete a backup for good; one that is pinned or in use stays."""
    deletion.delete_backup(site, filename, caller.name)
    get_logger().info("backup deleted", backup=filename, by=caller.name)
    return DeletedBackup(filename=filename)
