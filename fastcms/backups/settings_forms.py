"""The forms of the page of settings: what they show, and which settings a sent one changes.

Only what differs from what was shown is changed, so that saving a form takes no other setting away from the
environment.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from humanize import naturalsize

from fastcms.backups.backup_settings import BackupSettings, read_settings, try_settings
from fastcms.backups.schedule_choice import ScheduleChoice, ScheduleKind, choice_of
from fastcms.backups.shown_settings import change_shown_settings
from fastcms.errors import InvalidInputError
from fastcms.site import Site

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


class FilledForm(NamedTuple):
    """What the page shows after a form was filled in, and before it was saved.

    `tried` are the settings that would be. `problems` are those of the fields, by name; what no field of the
    form has is the `other_problem`.
    """

    values: dict[str, str]
    tried: BackupSettings
    is_tried: bool
    problems: dict[str, str]
    other_problem: str


def fill_in(
    site: Site, section: str, sent: Mapping[str, str], error: InvalidInputError | None = None
) -> FilledForm:
    """Look at what was typed and change nothing; error: why it was not saved."""
    settings = tried = read_settings(site)
    if sent and error is None:
        try:
            tried = try_settings(site, find_changes(section, sent, settings))
        except InvalidInputError as refusal:
            error = refusal
    problems = {str(one["field"]): str(one["message"]) for one in error.errors} if error else {}
    is_of_a_field = not problems.keys().isdisjoint({*SECTIONS.get(section, ()), "address"})
    # A box that is not ticked is not sent.
    unticked = {"notify_success": ""} if sent.get("section") == "notifications" else {}
    return FilledForm(
        values=shown_values(settings) | unticked | dict(sent),
        tried=tried,
        is_tried=bool(sent) and error is None and tried != settings,
        problems=problems,
        other_problem=error.message if error and not is_of_a_field else "",
    )


def save_form(site: Site, section: str, sent: Mapping[str, str], changed_by: str) -> bool:
    """Change what the form changes; False if that is nothing. Raises: InvalidInputError; BackupError."""
    changes = find_changes(section, sent, read_settings(site))
    if changes:
        change_shown_settings(site, changes, changed_by)
    return bool(changes)


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
