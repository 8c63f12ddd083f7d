"""Routes of what destinations keep: list it, fetch it, verify it, restore it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pyrage.x25519 import Identity

from fastcms.accounts.api import client_address
from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Caller, Scope
from fastcms.age_keys import parse_identities
from fastcms.backups import receiving, tasks
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.destinations import find_destination
from fastcms.backups.fetching import Source, require_key
from fastcms.backups.job_api import ACCEPTED, Answering
from fastcms.backups.origin import Origin
from fastcms.backups.restore_schemas import StagedRestore
from fastcms.backups.schemas import BackupDetails
from fastcms.backups.sources import find_keys, open_destination_source
from fastcms.backups.stored import StoredBackups, find_stored, list_stored
from fastcms.backups.verification_report import VerifiedBackup
from fastcms.noting import note
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
def list_stored_backups(site: CurrentSite, destination_id: str, _caller: Reader) -> StoredBackups:
    """List the backups that a destination keeps, newest first, whoever has put them there."""
    return list_stored(_open(site, destination_id, None).store)


@router.post("/{object_name}/fetch", response_model=BackupDetails, responses=ACCEPTED)
def fetch_backup(
    site: CurrentSite,
    destination_id: str,
    object_name: str,
    caller: AdminCaller,
    answer: Answering,
    *,
    body: FetchRequest | None = None,
) -> Any:
    """Bring a backup from a destination to the backups of this machine, decrypted and checked whole."""
    source = _open(site, destination_id, body)
    _require_readable(source, object_name)
    return answer(tasks.fetching_of(site, source, object_name, caller.name))


@router.post("/{object_name}/verify", response_model=VerifiedBackup, responses=ACCEPTED)
def verify_stored_backup(
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
    source = _open(site, destination_id, body)
    _require_readable(source, object_name)
    return answer(tasks.verifying_stored(site, source, object_name, caller.name, level=level))


@router.post("/{object_name}/restore", response_model=StagedRestore, responses=ACCEPTED)
def restore_stored_backup(
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
    source = _open(site, destination_id, body)
    _require_readable(source, object_name)
    password = body.password.get_secret_value() if body and body.password else None
    address = client_address(request)

    def approve(filename: str) -> Origin | None:
        return receiving.require_password(site, filename, caller, password, address)

    return answer(tasks.staging_of_fetched(site, source, object_name, caller.name, approve=approve))


def _open(site: Site, destination_id: str, body: FetchRequest | None) -> Source:
    keys: tuple[Identity, ...]
    if body is not None and body.identity is not None:
        keys = parse_identities(body.identity.get_secret_value().splitlines(), "The request's `identity`")
    else:
        keys = find_keys(site, None)
    return open_destination_source(site, find_destination(site, destination_id), keys)


def _require_readable(source: Source, object_name: str) -> None:
    """Refuse at once what would only be refused after the answer that a job has begun."""
    stored = find_stored(source.store, object_name)
    note(filename=stored.object_name, place=source.store.place)
    require_key(stored, source.store.place, source.identities)
