"""The settings of backups as people see and change them: addresses, which hold passwords, are masked."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from humanize import naturalsize
from pydantic import BaseModel

from fastcms.backups import schedule
from fastcms.backups.backup_settings import (
    BackupSettings,
    change_settings,
    changed_settings,
    environment_settings,
    read_settings,
    settings_problem,
    variable_of,
)
from fastcms.backups.delivery import mask, mask_web
from fastcms.backups.folder import try_to_see
from fastcms.backups.schedule import Duty
from fastcms.backups.schedule_choice import in_words
from fastcms.cron import next_times
from fastcms.database import utc_now
from fastcms.errors import InvalidInputError, NotFoundError
from fastcms.logs import get_logger
from fastcms.noting import note
from fastcms.site import Site

SECRETS = ("notify_urls", "heartbeat_url")
_SHOWN_RUNS = 5


class NextRun(BaseModel):
    """When a backup will be due, in UTC and as clocks show it in the schedule's time zone, once in words."""

    utc: datetime
    local: str
    words: str


class Variable(BaseModel):
    """The environment's part in a setting: the variable's name, and what it says; addresses are masked."""

    name: str
    value: str


class ShownSettings(BaseModel):
    """The settings in force; `changed` names those that are not the environment's.

    `variables` say what each would be without a change, `schedule_words` what the schedule means, `problem`
    why changes that were made are not in force.
    """

    settings: BackupSettings
    changed: list[str]
    next_runs: list[NextRun]
    next_verification: datetime | None
    schedule_words: str
    variables: dict[str, Variable]
    problem: str | None


def show_settings(site: Site) -> ShownSettings:
    """What is in force, and what follows from it."""
    now, settings = utc_now(), read_settings(site)
    return ShownSettings(
        settings=_masked(settings),
        changed=sorted(changed_settings(site)),
        next_runs=find_next_runs(settings, now),
        next_verification=try_to_see(schedule.next_run, site, Duty.VERIFICATION, now),
        schedule_words=in_words(settings.schedule),
        variables={
            name: Variable(name=f"FASTCMS_{variable_of(name).upper()}", value=_say(name, value))
            for name, value in _masked(environment_settings(site))
        },
        problem=settings_problem(site),
    )


def find_next_runs(settings: BackupSettings, now: datetime) -> list[NextRun]:
    """The next five times at which a backup will be due with these settings."""
    zone = ZoneInfo(settings.timezone)
    times = next_times(settings.schedule, settings.timezone, now, _SHOWN_RUNS)
    return [
        NextRun(
            utc=time,
            local=time.astimezone(zone).isoformat(),
            words=f"{time.astimezone(zone):%A, %-d %B %Y, %H:%M}",
        )
        for time in times
    ]


def change_shown_settings(site: Site, changes: Mapping[str, Any], changed_by: str) -> ShownSettings:
    """Change settings by name; None goes back to the environment's value, a masked address stays as it is.

    Raises: InvalidInputError; BackupError.
    """
    settings = change_settings(site, _unmasked(read_settings(site), changes))
    values = {name: getattr(settings, name) for name in changes if name not in SECRETS}
    _tell_of_change(changes, changed_by, **values)
    return show_settings(site)


def add_address(site: Site, url: str, added_by: str) -> None:
    """Tell somebody more. Raises: InvalidInputError, of the field `address`; BackupError."""
    urls = read_settings(site).notify_urls
    try:
        change_settings(site, {"notify_urls": [*urls, url]})
    except InvalidInputError as error:
        if any(problem["field"] != "notify_urls" for problem in error.errors):
            raise
        message = "this is no address: one begins with its kind, as mailto:// and ntfy:// do"
        problems = [{"field": "address", "message": message}]
        raise InvalidInputError(
            "The address was not added.", code="settings_invalid", errors=problems
        ) from None
    _tell_of_change(["notify_urls"], added_by)


def remove_address(site: Site, position: int, masked: str, removed_by: str) -> None:
    """Tell somebody no more, who stands at this position and looks so. Raises: NotFoundError; BackupError."""
    urls = list(read_settings(site).notify_urls)
    if not (0 <= position < len(urls) and mask(urls[position]) == masked):
        raise NotFoundError(
            f"{masked} is no more at this place: somebody else has changed the addresses.",
            hint="Look at them anew.",
        )
    del urls[position]
    change_settings(site, {"notify_urls": urls})
    _tell_of_change(["notify_urls"], removed_by)


def _tell_of_change(names: Iterable[str], changed_by: str, **values: Any) -> None:
    shown = {name: values.get(name, "(not shown)") for name in names}
    get_logger().info("settings of backups changed", by=changed_by, **shown)
    note(settings=", ".join(shown))


def _masked(settings: BackupSettings) -> BackupSettings:
    shown = {
        "notify_urls": tuple(map(mask, settings.notify_urls)),
        "heartbeat_url": settings.heartbeat_url and mask_web(settings.heartbeat_url),
    }
    return settings.model_copy(update=shown)


def _say(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if name in ("max_total_size", "copy_limit") and value is not None:
        return naturalsize(value)
    return " ".join(value) if isinstance(value, tuple) else str("" if value is None else value)


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
