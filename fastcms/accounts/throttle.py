"""Slow down whoever guesses: by what is guessed, and by the address that guesses."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastcms.accounts.models import LoginFailure
from fastcms.database import Database, utc_now
from fastcms.errors import TooManyAttemptsError

_FREE_ATTEMPTS = 5
# An address may be many people's: those behind one router, or everyone behind a proxy.
_FREE_ATTEMPTS_OF_AN_ADDRESS = 20
_LONGEST_WAIT_SECONDS = 15 * 60
# Failures older than this are forgotten.
_MEMORY = timedelta(hours=24)
_MAX_FAILURES = 60  # by then 2**n s is beyond the longest wait, for both


@dataclass(frozen=True)
class Attempt:
    """A guess that has been counted as a failure; `undo_attempt` takes it back when it was right."""

    target: str
    address_key: str
    counted: datetime
    address_latest_before: datetime | None


def account_key(email: str) -> str:
    return f"account:{email.lower()}"


def count_attempt(database: Database, target: str, address: str) -> Attempt:
    """Count a guess before it is checked: of many at once, only the free ones are ever checked.

    Raises: TooManyAttemptsError, and nothing is counted.
    """
    address_key = f"address:{address}"
    now = utc_now()
    with database.write() as session:
        session.execute(sa.delete(LoginFailure).where(LoginFailure.latest < now - _MEMORY))
        known = {
            key: row for key in (target, address_key) if (row := session.get(LoginFailure, key)) is not None
        }
        _refuse_if_too_early(known, now)
        latest_before = known[address_key].latest if address_key in known else None
        for key in (target, address_key):
            row = known.get(key) or LoginFailure(key=key, failures=0)
            row.failures = min(row.failures + 1, _MAX_FAILURES)
            row.latest = now
            session.add(row)
    return Attempt(target, address_key, now, latest_before)


def undo_attempt(session: Session, attempt: Attempt) -> None:
    """Forget the target's failures and this attempt of the address, whose other failures stay counted.

    Otherwise who knows one password could try others without end, with a login of their own in between.
    """
    forget_failures(session, attempt.target)
    row = session.get(LoginFailure, attempt.address_key)
    if row is None:
        return
    row.failures -= 1
    if row.failures <= 0:
        session.delete(row)
    elif row.latest == attempt.counted and attempt.address_latest_before is not None:
        row.latest = attempt.address_latest_before  # a login must not make others wait anew


def forget_failures(session: Session, target: str) -> None:
    session.execute(sa.delete(LoginFailure).where(LoginFailure.key == target))


def _refuse_if_too_early(known: dict[str, LoginFailure], now: datetime) -> None:
    wait_seconds = max((_wait_seconds(row, now) for row in known.values()), default=0.0)
    if wait_seconds > 0:
        retry_after_seconds = int(wait_seconds) + 1
        raise TooManyAttemptsError(
            f"Too many wrong passwords: try again in {retry_after_seconds} s.",
            retry_after_seconds=retry_after_seconds,
            hint="Wait; each further wrong password doubles the time.",
        )


def _wait_seconds(row: LoginFailure, now: datetime) -> float:
    free = _FREE_ATTEMPTS_OF_AN_ADDRESS if row.key.startswith("address:") else _FREE_ATTEMPTS
    if row.failures < free:
        return 0.0
    wait_seconds: float = min(2 ** (row.failures - free), _LONGEST_WAIT_SECONDS)
    return (row.latest - now).total_seconds() + wait_seconds
