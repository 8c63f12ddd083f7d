"""Routes of status: whether the site is safe, the space, and what was done."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from fastcms.accounts.dependencies import require
from fastcms.accounts.schemas import Scope
from fastcms.backups import history
from fastcms.backups.days import Days, list_days
from fastcms.backups.history import RunKind
from fastcms.backups.job_files import JobState
from fastcms.backups.schemas import RunPage
from fastcms.backups.status import Status, describe_status
from fastcms.backups.storage import Storage, measure_storage
from fastcms.backups.trends import Trends, find_trends
from fastcms.web import CurrentSite

router = APIRouter(dependencies=[Depends(require(Scope.BACKUPS_READ))])


@router.get("/status")
def show_status(site: CurrentSite) -> Status:
    """Say whether the site is safe, and why."""
    return describe_status(site)


@router.get("/storage")
def show_storage(site: CurrentSite) -> Storage:
    """Say how much space there is, what takes it, and until when it will do."""
    return measure_storage(site)


@router.get("/days")
def show_days(site: CurrentSite) -> Days:
    """Say of each of the last 30 days whether backups were made, have failed, or were due and not made."""
    return list_days(site)


@router.get("/trends")
def show_trends(site: CurrentSite) -> Trends:
    """Say how backups, what is in them, and the disk have grown: up to 100 points of each, and sentences."""
    return find_trends(site)


@router.get("/history")
def list_history(
    site: CurrentSite,
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = 30,
    kind: RunKind | None = None,
    state: JobState | None = None,
) -> RunPage:
    """List what was done, and what has failed, newest first. No restore takes anything away from it."""
    return RunPage(
        items=history.list_runs(site, kind=kind, state=state, offset=(page - 1) * per_page, limit=per_page),
        total=history.count_runs(site, kind=kind, state=state),
        page=page,
        per_page=per_page,
    )
