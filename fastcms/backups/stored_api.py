"""Routes of what destinations keep: list it, fetch it, verify it, restore it.

All of them wait for another machine, in threads of which the rest of the server needs none.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fastcms.accounts.api import client_address
from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Caller, Scope
from fastcms.accounts.service import confirm_password
from fastcms.backups import receiving, tasks
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.destinations import find_destination
from fastcms.backups.fetching import Source
from fastcms.backups.job_api import ACCEPTED, Answering
from fastcms.backups.origin import Origin
from fastcms.backups.restore_schemas import StagedRestore
from fastcms.backups.schemas import BackupDetails
from fastcms.backups.sources import open_destination_source, open_readable
from fastcms.backups.stored import PER_PAGE, StoredBackups, list_stored
from fastcms.backups.verification_report import VerifiedBackup
from fastcms.errors import PasswordRequiredError
from fastcms.pages import in_waiting_thread
from fastcms.site import Site
from fastcms.web import CurrentSite

router = APIRouter(prefix="/destinations/{destination_id}/backups")

Reader = Annotated[Caller, Depends(require(Scope.BACKUPS_READ))]


class FetchRequest(BaseModel):
    """The secret key to decrypt with, used once and kept nowhere; without it, the server's own."""

    model_config = ConfigDict(hide_input_in_errors=True)

    identity: SecretStr | None = Field(None, max_length=10_000)


class RestoreStoredRequest(FetchRequest):
    """Beside the key, the caller's own password: for a backup that this site is not known to have made."""

    password: SecretStr | None = Field(None, max_length=1000)


@router.get("")
async def list_stored_backups(
    site: CurrentSite,
    destination_id: str,
    _caller: Reader,
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = PER_PAGE,
) -> StoredBackups:
    """List the backups that a destination keeps, newest first, whoever has put them there."""

    def ask() -> StoredBackups:
        source = open_destination_source(site, find_destination(site, destination_id), ())
        return list_stored(source.store, page, per_page)

    return await in_waiting_thread(ask)


@router.post("/{object_name}/fetch", response_model=BackupDetails, responses=ACCEPTED)
async def fetch_backup(
    site: CurrentSite,
    destination_id: str,
    object_name: str,
    caller: AdminCaller,
    answer: Answering,
    *,
    body: FetchRequest | None = None,
) -> Any:
    """Bring a backup from a destination to the backups of this machine, decrypted and checked whole."""

    def work() -> Any:
        source = _open(site, destination_id, object_name, body)
        return answer(tasks.fetching_of(site, source, object_name, caller.name))

    return await in_waiting_thread(work)


@router.post("/{object_name}/verify", response_model=VerifiedBackup, responses=ACCEPTED)
async def verify_stored_backup(
    site: CurrentSite,
    destination_id: str,
    object_name: str,
    caller: AdminCaller,
    answer: Answering,
    *,
    level: VerificationLevel = VerificationLevel.FULL,
    body: FetchRequest | None = None,
) -> Any:
    """Fetch a backup from a destination, restore it as a test, and remove all of it again.

    Lightly: only compare every byte of what was fetched.
    """

    def work() -> Any:
        source = _open(site, destination_id, object_name, body)
        return answer(tasks.verifying_stored(site, source, object_name, caller.name, level=level))

    return await in_waiting_thread(work)


@router.post("/{object_name}/restore", response_model=StagedRestore, responses=ACCEPTED)
async def restore_stored_backup(
    request: Request,
    site: CurrentSite,
    destination_id: str,
    object_name: str,
    caller: AdminCaller,
    *,
    answer: Answering,
    body: RestoreStoredRequest | None = None,
) -> Any:
    """Fetch a backup and stage its restore, in one; the next start of the server puts it in place."""
    password = body.password.get_secret_value() if body and body.password else None
    address = client_address(request)

    def approve(filename: str) -> Origin | None:
        return receiving.require_password(site, filename, caller, password, address)

    def work() -> Any:
        source = _open(site, destination_id, object_name, body)
        if not source.knows(object_name):  # `approve` would say so after all of it was fetched
            _confirm_unknown(site, object_name, caller, password, address)
        return answer(tasks.staging_of_fetched(site, source, object_name, caller.name, approve=approve))

    return await in_waiting_thread(work)


def _confirm_unknown(
    site: Site, object_name: str, caller: Caller, password: str | None, address: str
) -> None:
    if not password and caller.account_id is not None:
        raise PasswordRequiredError(
            f"{object_name} is not known to have been made on this site.",
            hint="Fetch it to see whom it would let in. If you know them all, send your own password along: "
            '{"password": "..."}.',
            details={},
        )
    confirm_password(site, caller, password or "", address)


def _open(site: Site, destination_id: str, object_name: str, body: FetchRequest | None) -> Source:
    identity = body.identity.get_secret_value() if body and body.identity else ""
    return open_readable(site, destination_id, object_name, identity, "The request's `identity`")
