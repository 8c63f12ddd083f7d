"""The forms of the page of settings: what they show, and which settings a sent one changes.

Only what differs from what was shown is changed, so that saving a form takes no other setting away from the
environment.
"""

import re
from collections.abc import Mapping
from typing import Any

from humanize import naturalsize

from fastcms.backups.backup_settings import BackupSettings
from fastcms.backups.schedule_choice import ScheduleChoice, ScheduleKind, choice_of
from fastcms.errors import InvalidInputError

KEEPS = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
SCHEDULES = ("schedule", "verify_schedule")
# Which settings each form has.
SECTIONS = {
    "schedule": (*SCHEDULES, "timezone"),
    "retention": (*KEEPS, "max_total_size"),
    "notifications": ("notify_success", "heartbeat_url"),
}
_SIZE = re.compile(r"\d+(\.\d+)? ?([kMGTP]i?)?B?", re.IGNORECASE | re.ASCII)
_ON = "on"
_PARTS = ScheduleChoice._fields


def shown_values(settings: BackupSettings) -> dict[str, str]:
    """What the fields of all forms show; addresses are never among it."""
    values = {name: str(getattr(settings, name)) for name in KEEPS}
    for name in SCHEDULES:
        choice = choice_of(getattr(settings, name))
        values |= {f"{name}_{part}": str(getattr(choice, part)) for part in _PARTS}
    return values | {
        "timezone": settings.timezone,
        "max_total_size": "" if settings.max_total_size is None else naturalsize(settings.max_total_size),
        "notify_success": _ON if settings.notify_success else "",
        "heartbeat_url": "",
    }


def find_changes(section: str, sent: Mapping[str, str], settings: BackupSettings) -> dict[str, Any]:
    """Which settings a form changes. Raises: InvalidInputError, naming each field that makes no sense."""
    shown = shown_values(settings)
    changes: dict[str, Any] = {}
    errors: list[dict[str, str]] = []
    for name in SECTIONS[section]:
        try:
            changes |= _find_change(name, sent, shown)
        except ValueError as error:
            errors.append({"field": name, "message": str(error)})
    if errors:
        raise InvalidInputError("Not everything makes sense.", code="settings_invalid", errors=errors)
    return changes


def _find_change(name: str, sent: Mapping[str, str], shown: Mapping[str, str]) -> dict[str, Any]:
    if name in SCHEDULES:
        expression = _read_choice(name, sent).expression
        return {} if expression == _read_choice(name, shown).expression else {name: expression}
    value = sent.get(name, "")
    if value == shown[name]:
        return {}
    if name in KEEPS:
        if not value.isdecimal():
            raise ValueError("a whole number is wanted, 0 or more")
        return {name: value}
    if name == "max_total_size" and value and _SIZE.fullmatch(value) is None:
        raise ValueError("a size looks like 50 GB or 500 MB")
    if name == "notify_success":
        return {name: value == _ON}
    return {name: value or None}


def _read_choice(name: str, sent: Mapping[str, str]) -> ScheduleChoice:
    def part(which: str) -> str:
        return sent.get(f"{name}_{which}", "")

    try:
        kind, weekday, day = ScheduleKind(part("kind")), int(part("weekday")), int(part("day"))
    except ValueError:
        raise ValueError("choose one of the possibilities") from None
    return ScheduleChoice(kind, part("time"), weekday, day, part("cron"))
