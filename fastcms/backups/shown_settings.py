"""The settings of backups as people see and change them: addresses, which hold passwords, are masked."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from fastcms.backups import schedule
from fastcms.backups.backup_settings import (
    BackupSettings,
    change_settings,
    changed_settings,
    read_settings,
    settings_problem,
)
from fastcms.backups.delivery import mask, mask_web
from fastcms.backups.schedule import Duty
from fastcms.database import utc_now
from fastcms.errors import BackupError, InvalidInputError
from fastcms.logs import get_logger
from fastcms.site import Site

SECRETS = ("notify_urls", "heartbeat_url")
_SHOWN_RUNS = 5


class NextRun(BaseModel):
    """When a backup will be due, in UTC and as clocks show it in the schedule's time zone."""

    utc: datetime
    local: str


class ShownSettings(BaseModel):
    """The settings in force; `changed` names those that are not the environment's.

    `problem` says why changes that were made are not in force.
    """

    settings: BackupSettings
    changed: list[str]
    next_runs: list[NextRun]
    next_verification: datetime | None
    problem: str | None


def show_settings(site: Site) -> ShownSettings:
    """What is in force, and what follows from it."""
    now, settings = utc_now(), read_settings(site)
    next_verification = None
    with suppress(BackupError):  # the history cannot be read, as the status says
        next_verification = schedule.next_run(site, Duty.VERIFICATION, now)
    shown = {
        "notify_urls": tuple(map(mask, settings.notify_urls)),
        "heartbeat_url": settings.heartbeat_url and mask_web(settings.heartbeat_url),
    }
    return ShownSettings(
        settings=settings.model_copy(update=shown),
        changed=sorted(changed_settings(site)),
        next_runs=[
            NextRun(utc=time.astimezone(UTC), local=time.isoformat())
            for time in schedule.next_runs(site, _SHOWN_RUNS, now)
        ],
        next_verification=next_verification,
        problem=settings_problem(site),
    )


def change_shown_settings(site: Site, changes: Mapping[str, Any], changed_by: str) -> ShownSettings:
    """Change settings by name; None goes back to the environment's value, a masked address stays as it is.

    Raises: InvalidInputError; BackupError.
    """
    settings = change_settings(site, _unmasked(read_settings(site), changes))
    values = {name: "(not shown)" if name in SECRETS else getattr(settings, name) for name in changes}
    get_logger().info("settings of backups changed", by=changed_by, **values)
    return show_settings(site)


def _unmasked(settings: BackupSettings, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, with the real addresses for those that come back as they were shown."""
    real = dict(changes)
    if real.get("notify_urls"):
        real["notify_urls"] = _real_urls(settings.notify_urls, real["notify_urls"])
    url = settings.heartbeat_url
    if url and real.get("heartbeat_url") == mask_web(url):
        real["heartbeat_url"] = url
    return real


def _real_urls(known: Sequence[str], sent: Sequence[str]) -> list[str]:
    masked = [(mask(url), url) for url in known]
    real = []
    for number, url in enumerate(sent, 1):
        # Two may look the same: the first one shown is the first one sent.
        found = next((pair for pair in masked if url == pair[0]), None)
        if found is not None:
            masked.remove(found)
        elif url.endswith("..."):
            raise InvalidInputError(
                f"notify_urls: number {number} is masked, and is none of those that are set.",
                hint="Send the whole address.",
                code="settings_invalid",
                errors=[{"field": "notify_urls", "message": f"number {number} is masked"}],
            )
        real.append(found[1] if found is not None else url)
    return real
