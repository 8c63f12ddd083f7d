"""How a destination is, and what stays there, in words for people."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from humanize import naturaldelta, naturalsize

from fastcms.backups.elsewhere import DestinationState
from fastcms.backups.reasons import WITHOUT_COPIES
from fastcms.backups.retention import Policy
from fastcms.database import utc_now

_PERIODS = (
    ("keep_daily", "one a day for {} days"),
    ("keep_weekly", "one a week for {} weeks"),
    ("keep_monthly", "one a month for {} months"),
    ("keep_yearly", "one a year for {} years"),
)


class Level(StrEnum):
    """`waiting`: not looked at so far. `warning` mends itself, perhaps; `attention` needs somebody."""

    OK = "ok"
    RUNNING = "running"
    WAITING = "waiting"
    WARNING = "warnings"
    ATTENTION = "attention"


class DestinationWords(NamedTuple):
    level: Level
    sentence: str


def describe_destination(state: DestinationState) -> DestinationWords:
    """Say how it was found when it was last looked at."""
    if state.failing_since is not None:
        if state.needs_somebody or utc_now() - state.failing_since > WITHOUT_COPIES:
            return DestinationWords(Level.ATTENTION, "It cannot be used")
        return DestinationWords(Level.WARNING, "It cannot be used at the moment, and is tried again")
    if state.reachable is None:
        return DestinationWords(Level.WAITING, "It is looked at within a minute")
    return _describe_reached(state)


def _describe_reached(state: DestinationState) -> DestinationWords:
    if state.uncopied_since is not None and utc_now() - state.uncopied_since > WITHOUT_COPIES:
        age = naturaldelta(utc_now() - state.uncopied_since)
        return DestinationWords(Level.ATTENTION, f"It can be reached, but no new backup came there for {age}")
    if state.failed:
        what = "a backup" if state.failed == 1 else f"{state.failed:,} backups"
        return DestinationWords(Level.WARNING, f"It can be reached, but {what} could not be copied")
    if state.lost:
        return DestinationWords(Level.WARNING, "It can be reached, but copies are gone that were there")
    if state.waiting:
        what = "1 backup is" if state.waiting == 1 else f"{state.waiting:,} backups are"
        return DestinationWords(Level.RUNNING, f"It can be reached; {what} still to be copied")
    if not state.copied:
        return DestinationWords(Level.OK, "It can be reached; there is nothing to copy so far")
    superfluous = ", and superfluous ones" if state.prune_error else ""
    level = Level.WARNING if state.prune_error else Level.OK
    return DestinationWords(level, f"It has every backup that belongs there{superfluous}")


def describe_policy(policy: Policy) -> str:
    """What a destination's own rules keep: 'the newest 7; one a day for 30 days; at most 50.0 GB'."""
    return "; ".join(_rules_of(policy))


def _rules_of(policy: Policy) -> Iterator[str]:
    counts = {name: getattr(policy, name) for name, _words in _PERIODS}
    if policy.keep_last:
        yield "the newest one" if policy.keep_last == 1 else f"the newest {policy.keep_last:,}"
    for name, words in _PERIODS:
        if counts[name]:
            text = words.format(f"{counts[name]:,}")
            yield text.removesuffix("s") if counts[name] == 1 else text
    if not policy.keep_last and not any(counts.values()):
        yield "everything"
    if policy.max_total_size is not None:
        yield f"at most {naturalsize(policy.max_total_size)}"
