"""Schedules as most people want them: a choice of a few, and in words; cron expressions for the others."""

import re
from enum import StrEnum
from typing import NamedTuple

from fastcms.cron import OFF

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
# Later ones are not in every month.
LAST_DAY = 28

_EXPRESSION = re.compile(r"(\d{1,2}) (\d{1,2}) (\*|\d{1,2}) \* (\*|\d)", re.ASCII)
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_MINUTES, _HOURS, _SUNDAY_TOO = 60, 24, 7


class ScheduleKind(StrEnum):
    OFF = "off"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    CRON = "cron"


class ScheduleChoice(NamedTuple):
    """A schedule as a form has it; what a kind does not need is what it would begin with."""

    kind: ScheduleKind
    time: str = "02:00"
    weekday: int = 0
    day: int = 1
    cron: str = ""

    @property
    def expression(self) -> str:
        """The cron expression, or `off`. Raises: ValueError for a time that is none."""
        if self.kind is ScheduleKind.OFF:
            return OFF
        if self.kind is ScheduleKind.CRON:
            return self.cron
        match = _TIME.fullmatch(self.time)
        if match is None:
            raise ValueError("a time looks like 02:00")
        day = self.day if self.kind is ScheduleKind.MONTHLY else "*"
        weekday = self.weekday if self.kind is ScheduleKind.WEEKLY else "*"
        return f"{int(match[2])} {int(match[1])} {day} * {weekday}"


def choice_of(expression: str) -> ScheduleChoice:
    """The choice that a schedule is."""
    if expression == OFF:
        return ScheduleChoice(ScheduleKind.OFF)
    own = ScheduleChoice(ScheduleKind.CRON, cron=expression)
    match = _EXPRESSION.fullmatch(expression)
    if match is None or int(match[1]) >= _MINUTES or int(match[2]) >= _HOURS:
        return own
    day, weekday = match[3], match[4]
    common = own._replace(time=f"{int(match[2]):02}:{int(match[1]):02}")
    if (day, weekday) == ("*", "*"):
        return common._replace(kind=ScheduleKind.DAILY)
    if day == "*" and int(weekday) <= _SUNDAY_TOO:
        return common._replace(kind=ScheduleKind.WEEKLY, weekday=int(weekday) % _SUNDAY_TOO)
    if weekday == "*" and 1 <= int(day) <= LAST_DAY:
        return common._replace(kind=ScheduleKind.MONTHLY, day=int(day))
    return own


def in_words(expression: str) -> str:
    """A schedule in a few words: 'every Sunday at 02:00'."""
    choice = choice_of(expression)
    return {
        ScheduleKind.OFF: "never",
        ScheduleKind.DAILY: f"every day at {choice.time}",
        ScheduleKind.WEEKLY: f"every {WEEKDAYS[choice.weekday]} at {choice.time}",
        ScheduleKind.MONTHLY: f"on day {choice.day} of every month at {choice.time}",
        ScheduleKind.CRON: f"by the cron expression {choice.cron}",
    }[choice.kind]
