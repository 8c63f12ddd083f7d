"""Routes of retention: which backups stay and why, and pins."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Caller, Scope
from fastcms.backups import pinning, pruning
from fastcms.backups.pruning import Retention
from fastcms.logs import get_logger
from fastcms.web import CurrentSite

router = APIRouter()

Reader = Annotated[Caller, Depends(require(Scope.BACKUPS_READ))]


class PinnedBackup(BaseModel):
    status: Literal["pinned", "unpinned"]
    filename: str


@router.get("/retention")
def show_retention(site: CurrentSite, _caller: Reader) -> Retention:
    """Say for each backup whether the policy keeps it, and why. Nothing is removed."""
    return pruning.describe_retention(site)


@router.put("/{filename}/pin")
def pin_backup(site: CurrentSite, filename: str, caller: AdminCaller) -> PinnedBackup:
    """Keep a backup until it is unpinned, whatever the policy says."""
    pinning.pin(site, filename, caller.name)
    get_logger().info("backup pinned", backup=filename, by=caller.name)
    return PinnedBackup(status="pinned", filename=filename)


@router.delete("/{filename}/pin")
def unpin_backup(site: CurrentSite, filename: str, caller: AdminCaller) -> PinnedBackup:
    """Let the policy decide about a backup again."""
    pinning.unpin(site, filename)
    get_logger().info("backup unpinned", backup=filename, by=caller.name)
    return PinnedBackup(status="unpinned", filename=filename)
