"""When something will be done, as a person says it."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_EVENING, _MORNING = 18, 5
_WEEK = timedelta(days=7)


def say_when_next(time: datetime, timezone: str, now: datetime) -> str:
    """When it is due, in a time zone: 'tonight at 02:00 (Europe/Berlin)'."""
    if time <= now:
        return "in a moment"
    zone = ZoneInfo(timezone)
    local, local_now = time.astimezone(zone), now.astimezone(zone)
    return f"{_say_day(local, local_now)} at {local:%H:%M} ({timezone})"


def _say_day(local: datetime, now: datetime) -> str:
    days = (local.date() - now.date()).days
    is_this_evening = days == 0 and local.hour >= _EVENING
    is_this_night = days <= 1 and local.hour < _MORNING and local - now < timedelta(days=1)
    if is_this_evening or (is_this_night and not (days == 1 and now.hour < _MORNING)):
        return "tonight"
    if days <= 1:
        return "tomorrow" if days else "today"
    if local - now < _WEEK:
        return f"on {local:%A}"
    return f"on {local:%-d %B}" if local.year == now.year else f"on {local:%-d %B %Y}"
