"""The route of the activity log."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request

from fastcms.accounts.dependencies import AdminCaller
from fastcms.activity import service
from fastcms.activity.schemas import EntryPage
from fastcms.web import CurrentSite

router = APIRouter(prefix="/activity", tags=["activity"])


@router.get("")
def list_activity(
    *,
    request: Request,
    site: CurrentSite,
    _caller: AdminCaller,
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = 50,
    who: Annotated[str, Query(max_length=400, description="An account's email, or a token's name.")] = "",
    action: Annotated[
        str, Query(max_length=100, description="`record.delete`, or `record` for all of records.")
    ] = "",
    since: Annotated[datetime | None, Query(description="In UTC, if it does not say otherwise.")] = None,
    search: Annotated[str, Query(max_length=255, description="A part of any text in it.")] = "",
) -> EntryPage:
    """List who did what, newest first. The log is no part of the site: no restore takes it back."""
    request.app.state.recorder.flush()
    return service.list_entries(
        site, page=page, per_page=per_page, who=who, action=action, since=since, search=search
    )
