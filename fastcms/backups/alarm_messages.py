"""What people are told, in words."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from humanize import naturalsize
from pydantic import BaseModel

from fastcms.backups.delivery import Message, MessageLevel
from fastcms.backups.engine.pending import RestoreReceipt
from fastcms.backups.history import Run
from fastcms.backups.restore_schemas import RestoreState, describe_what


class Alarm(BaseModel):
    """What needs attention, and since when; `told` is when somebody was last told of it."""

    code: str
    message: str
    hint: str = ""
    since: datetime
    told: datetime | None = None


def describe_alarm(alarm: Alarm, timezone: str, failures: str = "") -> Message:
    """Tell of an alarm for the first time, or again."""
    title = "Backups still need attention" if alarm.told else "Backups need attention"
    since = f"It has been so since {_day(alarm.since, timezone)}." if alarm.told else ""
    hint = f"What to do: {alarm.hint}" if alarm.hint else ""
    lines = [" ".join(filter(None, [alarm.message, since, failures])), hint]
    return Message(title, "\n".join(filter(None, lines)), MessageLevel.FAILURE)


def describe_end(alarm: Alarm, timezone: str, *, others: int) -> Message:
    title = "A problem with backups is over" if others else "Backups need no attention any more"
    body = f"This is over, it began on {_day(alarm.since, timezone)}: {alarm.message}"
    return Message(title, body, MessageLevel.SUCCESS)


def describe_restore(receipt: RestoreReceipt, timezone: str) -> Message:
    what = describe_what(receipt.kind, receipt.backup_filename)
    when = _day(datetime.fromisoformat(receipt.finished), timezone)
    if receipt.outcome == RestoreState.RESTORED:
        body = (
            f"The {what}, which {receipt.requested_by} asked for, is done since {when}.\n"
            "What to do: nothing. What was there before is kept: `fastcms backup undo` brings it back."
        )
        return Message("The site was restored", body, MessageLevel.WARNING)
    body = (
        f"The {what}, which {receipt.requested_by} asked for, failed on {when}: {receipt.reason}\n"
        "The site is as it was before. What to do: `fastcms backup verify` says whether the backup is sound; "
        "the server's log has the details."
    )
    return Message("A restore failed", body, MessageLevel.FAILURE)


def describe_created(run: Run, timezone: str) -> Message:
    seconds = (run.finished - run.started).total_seconds()
    size = naturalsize(run.size_bytes or 0)
    body = (
        f"{run.backup_filename} was made on {_day(run.finished, timezone)}: {size}, in {seconds:.0f} seconds."
    )
    return Message("A backup was made", body, MessageLevel.SUCCESS)


def describe_failures(count: int, latest_success: datetime | None, timezone: str) -> str:
    """How often something has failed in a row; nothing to say if it was only once."""
    if count <= 1:
        return ""
    since = f"since it last succeeded, on {_day(latest_success, timezone)}" if latest_success else "so far"
    return f"It has failed {count} times {since}."


def join(messages: Sequence[Message]) -> Message:
    """Make one message of several, the first of which is the most important."""
    bodies = (message.body for message in messages)
    return Message(messages[0].title, "\n\n".join(bodies), messages[0].level)


def _day(when: datetime, timezone: str) -> str:
    return f"{when.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M %Z}"
