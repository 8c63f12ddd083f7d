"""Tell people what needs attention: when it begins, once a day while it lasts, and when it is over.

What was told is kept in a mark of the history. Whoever cannot be reached is tried again, ever more seldom.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from fastcms.backups import history, restoring
from fastcms.backups.alarm_messages import (
    Alarm,
    describe_alarm,
    describe_created,
    describe_end,
    describe_failures,
    describe_restore,
    join,
)
from fastcms.backups.backup_settings import BackupSettings, read_settings
from fastcms.backups.delivery import Message
from fastcms.backups.engine.pending import RestoreReceipt
from fastcms.backups.folder import data_paths
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import JobState
from fastcms.backups.notifications import send
from fastcms.backups.reasons import Reason, ReasonLevel
from fastcms.backups.status import describe_status
from fastcms.database import utc_now
from fastcms.errors import BackupBusyError, FastCMSError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.site import Site

_MARK = "alarms"
# Beside all that needs attention: this will, unless somebody acts before. Until then, nothing old is removed.
_ALARMING_WARNINGS = frozenset(
    {
        "space_low",
        "history_begun_anew",
        "prune_failed",
        "verification_old",
        "copy_refused",
        "copies_lost",
    }
)
# What has become worse is not over.
_BECOMES = {"space_low": "space_critical", "copy_refused": "destination_unreachable"}
_REPEATED_AFTER = timedelta(days=1)
# What was told to be over is not told anew for so long: it may come and go.
_QUIET_FOR = timedelta(hours=1)
_PAUSES = [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 16, 32, 60)]
# Of these, how often they have happened is told, too.
_COUNTED = {"backup_failed": RunKind.CREATE, "verification_failed": RunKind.VERIFY}


class _Memory(BaseModel):
    """What was told so far: alarms, when some were told to be over, the latest restore and backup.

    An alarm that is over stays until somebody was told so. `failures` and `tried` are of sending.
    """

    number: int = 0
    alarms: dict[str, Alarm] = {}
    over: dict[str, datetime] = {}
    last_restore: str = ""
    last_created: str = ""
    failures: int = 0
    tried: datetime | None = None


class _Seen(NamedTuple):
    """What is so now; restores newest first."""

    now: datetime
    alarms: dict[str, Alarm]
    restores: list[RestoreReceipt]
    created: Run | None

    @property
    def last_restore(self) -> str:
        return self.restores[0].restore_id if self.restores else ""

    @property
    def last_created(self) -> str:
        return self.created.id if self.created else ""


# By data folder: a disk that takes no mark must not make every round tell the same again.
_latest: dict[Path, _Memory] = {}


def raise_alarms(site: Site) -> None:
    """Look whether there is anything to tell, and tell it. Never raises.

    The first look at a site tells what needs attention then, and nothing of what happened before.
    """
    if site.stopping.is_set():
        return
    lock = FileLock(data_paths(site).backups_dir / ".alarms_lock")
    with ExitStack() as held:
        try:
            held.enter_context(lock.hold(purpose="raising alarms", timeout_seconds=0))
        except BackupBusyError:  # another process is at it
            return
        except FastCMSError:  # a disk that is read-only by now, of which people are to be told
            pass
        _raise_alarms(site)


def find_alarms(site: Site) -> list[Alarm]:
    """What needs attention now, since when, and when somebody was told."""
    memory = _read_memory(site) or _Memory()
    return [
        _continued(memory.alarms.get(code, alarm), alarm)
        for code, alarm in _find_alarms(site, utc_now()).items()
    ]


def _raise_alarms(site: Site) -> None:
    before = _read_memory(site)
    settings = read_settings(site)
    seen = _look(site)
    memory = _notice(before, seen, settings)
    messages = list(_find_news(site, memory, seen, settings))
    if messages and not settings.notify_urls:
        memory = _settle(memory, seen, is_told=False)
    elif messages and not _is_within(memory.tried, seen.now, _pause(memory)):
        if any(delivery.ok for delivery in send(site, join(messages))):
            memory = _settle(memory, seen, is_told=True)
        else:
            memory = memory.model_copy(update={"failures": memory.failures + 1, "tried": seen.now})
    if memory != before:
        _write_memory(site, memory)


def _look(site: Site) -> _Seen:
    now = utc_now()
    restores, created = [], None
    with suppress(FastCMSError):  # status says so
        restores = restoring.list_restores(site)
        created = history.latest_run(site, RunKind.CREATE, state=JobState.SUCCEEDED)
    return _Seen(now, _find_alarms(site, now), restores, created)


def _find_alarms(site: Site, now: datetime) -> dict[str, Alarm]:
    """What needs attention, by code, as if it had begun now."""
    found: dict[str, Alarm] = {}
    for reason in filter(_is_alarming, describe_status(site, now).reasons):
        before = f"{found[reason.code].message}\n" if reason.code in found else ""
        found[reason.code] = Alarm(
            code=reason.code, message=before + reason.message, hint=reason.hint, since=now
        )
    return found


def _is_alarming(reason: Reason) -> bool:
    return reason.level is ReasonLevel.ATTENTION or reason.code in _ALARMING_WARNINGS


def _continued(known: Alarm, alarm: Alarm) -> Alarm:
    return alarm.model_copy(update={"since": known.since, "told": known.told})


def _notice(before: _Memory | None, seen: _Seen, settings: BackupSettings) -> _Memory:
    """Remember what is new, without anybody having been told.

    Messages stay as they were told: their numbers may change with every look.
    """
    memory = before or _Memory(last_restore=seen.last_restore, last_created=seen.last_created)
    ended = {code: alarm for code, alarm in memory.alarms.items() if alarm.told and code not in seen.alarms}
    alarms = {code: memory.alarms.get(code, alarm) for code, alarm in seen.alarms.items()}
    over = {code: when for code, when in memory.over.items() if _is_within(when, seen.now, _QUIET_FOR)}
    known_restores = {"", *(receipt.restore_id for receipt in seen.restores)}
    are_receipts_lost = seen.restores and memory.last_restore not in known_restores
    return memory.model_copy(
        update={
            "alarms": ended | alarms,
            "over": over,
            "last_restore": seen.last_restore if are_receipts_lost else memory.last_restore,
            "last_created": memory.last_created if settings.notify_success else seen.last_created,
        }
    )


def _find_news(site: Site, memory: _Memory, seen: _Seen, settings: BackupSettings) -> Iterator[Message]:
    """What is to be told, the most important first."""
    for code in _due(memory, seen):
        alarm = _continued(memory.alarms[code], seen.alarms[code])
        yield describe_alarm(alarm, settings.timezone, _count_failures(site, alarm, settings))
    restores = takewhile(lambda receipt: receipt.restore_id != memory.last_restore, seen.restores)
    yield from (describe_restore(receipt, settings.timezone) for receipt in restores)
    for code in _ended(memory, seen):
        yield describe_end(memory.alarms[code], settings.timezone, others=len(seen.alarms))
    if seen.created is not None and seen.created.id != memory.last_created:
        yield describe_created(seen.created, settings.timezone)


def _due(memory: _Memory, seen: _Seen) -> list[str]:
    """The codes of the alarms that are to be told, for the first time or again."""
    return [
        code
        for code in seen.alarms
        if not _is_within(memory.alarms[code].told, seen.now, _REPEATED_AFTER)
        and not _is_within(memory.over.get(code), seen.now, _QUIET_FOR)
    ]


def _ended(memory: _Memory, seen: _Seen) -> list[str]:
    """The codes of the alarms that were told, and are over."""
    return [
        code for code in memory.alarms if code not in seen.alarms and _BECOMES.get(code) not in seen.alarms
    ]


def _settle(memory: _Memory, seen: _Seen, *, is_told: bool) -> _Memory:
    """Remember that all news were told; without any addresses they are over, but alarms stay to be told."""
    ended = _ended(memory, seen)
    alarms = {code: alarm for code, alarm in memory.alarms.items() if code not in ended}
    over = dict(memory.over)
    if is_told:
        for code in _due(memory, seen):
            alarm = _continued(alarms[code], seen.alarms[code])
            alarms[code] = alarm.model_copy(update={"told": seen.now})
        over |= dict.fromkeys(ended, seen.now)
    return _Memory(
        number=memory.number,
        alarms=alarms,
        over=over,
        last_restore=seen.last_restore or memory.last_restore,
        last_created=seen.last_created or memory.last_created,
    )


def _count_failures(site: Site, alarm: Alarm, settings: BackupSettings) -> str:
    kind = _COUNTED.get(alarm.code)
    if kind is None:
        return ""
    try:
        success = history.latest_run(site, kind, state=JobState.SUCCEEDED)
        since = success.started if success else None
        count = history.count_runs(site, kind=kind, state=JobState.FAILED, since=since)
    except FastCMSError:  # status says so
        return ""
    return describe_failures(count, since, settings.timezone)


def _is_within(then: datetime | None, now: datetime, span: timedelta) -> bool:
    """Whether it is that short a time ago; never of a time that a wrong clock has put into the future."""
    return then is not None and timedelta(0) <= now - then < span


def _pause(memory: _Memory) -> timedelta:
    return _PAUSES[min(memory.failures, len(_PAUSES)) - 1]


def _read_memory(site: Site) -> _Memory | None:
    """What was told, as this process or another has noted last; None before the first look."""
    held = _latest.get(data_paths(site).backups_dir)
    try:
        mark = history.read_mark(site, _MARK)
        noted = None if mark is None else _Memory.model_validate(mark)
    except (FastCMSError, ValidationError) as error:
        get_logger().warning("What alarms were told cannot be read.", reason=str(error))
        return held
    return max(filter(None, [held, noted]), key=lambda memory: memory.number, default=None)


def _write_memory(site: Site, memory: _Memory) -> None:
    memory = memory.model_copy(update={"number": memory.number + 1})
    _latest[data_paths(site).backups_dir] = memory
    history.write_mark(site, _MARK, memory.model_dump(mode="json"))
