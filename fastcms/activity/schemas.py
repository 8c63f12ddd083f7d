"""What the activity log holds and gives."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel

# Where the sentence of a run has its number.
COUNT = "{count}"


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"


class CallerKind(StrEnum):
    """terminal: who types. site: who had asked for what a start has done. unknown: not logged in."""

    ACCOUNT = "account"
    TOKEN = "token"
    TERMINAL = "terminal"
    SITE = "site"
    UNKNOWN = "unknown"


class Who(NamedTuple):
    """Who acts: an account's email, a token's name, or who types."""

    name: str
    kind: CallerKind
    address: str | None = None


@dataclass(frozen=True)
class Deed:
    """Something that somebody has done, or tried, before it is in the log.

    `run_sentence` tells, with COUNT in it, how many more of the same there were; without one, each is told.
    """

    time: datetime
    who: Who
    action: str
    sentence: str
    outcome: Outcome = Outcome.DONE
    reason: str | None = None
    subject: str | None = None
    count: int = 1
    run_sentence: str = ""
    run_key: str = ""


class Entry(BaseModel):
    """One line of the log; times are UTC.

    One line may stand for many actions of the same kind, from `time` to `until`: `count` says how many.
    `subject` is a kind and a key: `record:COLLECTION/ID`, `collection:NAME`, `file:ID`, `backup:FILENAME`,
    `account:EMAIL` or `token:NAME`.
    """

    id: int
    time: datetime
    until: datetime
    count: int
    who: str
    kind: CallerKind
    address: str | None
    action: str
    sentence: str
    outcome: Outcome
    reason: str | None
    subject: str | None


class EntryPage(BaseModel):
    items: list[Entry]
    total: int
    page: int
    per_page: int
