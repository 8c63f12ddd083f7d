"""Routes of notifications: who is told of backups, and whether that works. No address is shown whole."""

from fastapi import APIRouter
from pydantic import BaseModel

from fastcms.accounts.dependencies import AdminCaller
from fastcms.backups.alarm_messages import Alarm
from fastcms.backups.alarms import find_alarms
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.delivery import mask, mask_web
from fastcms.backups.notifications import (
    Delivery,
    Heartbeat,
    TriedAddresses,
    latest_deliveries,
    latest_heartbeat,
    try_addresses,
)
from fastcms.web import CurrentSite

router = APIRouter(prefix="/notifications")


class Notifications(BaseModel):
    """Who is told, how it went the last time, and what there is to tell now; addresses are masked."""

    addresses: list[str]
    deliveries: list[Delivery]
    success: bool
    heartbeat_address: str | None
    heartbeat: Heartbeat | None
    alarms: list[Alarm]


@router.get("")
def show_notifications(site: CurrentSite, _caller: AdminCaller) -> Notifications:
    """Show who is told, whether the latest message arrived, and what needs attention now."""
    settings = read_settings(site)
    return Notifications(
        addresses=[mask(url) for url in settings.notify_urls],
        deliveries=latest_deliveries(site),
        success=settings.notify_success,
        heartbeat_address=mask_web(settings.heartbeat_url) if settings.heartbeat_url else None,
        heartbeat=latest_heartbeat(site),
        alarms=find_alarms(site),
    )


@router.post("/test")
def test_notifications(site: CurrentSite, caller: AdminCaller) -> TriedAddresses:
    """Send a test message to every address, and say whom it reached. It takes half a minute at most."""
    return try_addresses(site, caller.name)
