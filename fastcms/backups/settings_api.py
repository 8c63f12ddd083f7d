"""Routes of the settings of backups."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from fastcms.accounts.dependencies import AdminCaller, require
from fastcms.accounts.schemas import Caller, Scope
from fastcms.backups.shown_settings import ShownSettings, change_shown_settings, show_settings
from fastcms.web import CurrentSite

router = APIRouter(prefix="/settings")

_Text = Annotated[str, Field(max_length=2000)]


class SettingsChange(BaseModel):
    """What to change: what is not sent stays, `null` goes back to the environment's value.

    Schedules are cron expressions or `off`; `max_total_size` and `copy_limit` are numbers of bytes, or
    `50GB`. An address that is sent back masked, as it is shown, stays as it is.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    schedule: _Text | None = None
    verify_schedule: _Text | None = None
    timezone: _Text | None = None
    keep_last: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    max_total_size: int | _Text | None = None
    copy_limit: int | _Text | None = None
    encrypt_to: Annotated[list[_Text], Field(max_length=100)] | None = None
    notify_urls: Annotated[list[_Text], Field(max_length=100)] | None = None
    notify_success: bool | None = None
    heartbeat_url: _Text | None = None


@router.get("")
def get_settings(
    site: CurrentSite, _caller: Annotated[Caller, Depends(require(Scope.BACKUPS_READ))]
) -> ShownSettings:
    """Show when and how backups are made, kept and told of, and the next five runs."""
    return show_settings(site)


@router.put("")
def put_settings(site: CurrentSite, caller: AdminCaller, body: SettingsChange) -> ShownSettings:
    """Change settings of backups; they take effect at once, and stay over restarts and restores."""
    return change_shown_settings(site, body.model_dump(exclude_unset=True), caller.name)
