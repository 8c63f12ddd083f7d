"""What the dashboard says first: whether the site is safe, and when the next backup comes."""

from collections.abc import Sequence
from typing import NamedTuple

from fastcms.backups.backup_settings import read_settings
from fastcms.backups.plain_times import say_when_next
from fastcms.backups.schemas import Backup
from fastcms.backups.status import Status, describe_status
from fastcms.cron import OFF
from fastcms.database import utc_now
from fastcms.site import Site


class Overview(NamedTuple):
    """`next_run` is in words, None when it is not known; `is_anybody_told`: of what goes wrong."""

    status: Status
    is_scheduled: bool
    next_run: str | None
    is_anybody_told: bool


def look_over(site: Site, backups: Sequence[Backup] | None = None) -> Overview:
    """Whoever has listed the backups already need not do it twice. Never raises."""
    now, settings = utc_now(), read_settings(site)
    status = describe_status(site, now, backups)
    return Overview(
        status=status,
        is_scheduled=settings.schedule != OFF,
        next_run=say_when_next(status.next_run, settings.timezone, now) if status.next_run else None,
        is_anybody_told=bool(settings.notify_urls),
    )
