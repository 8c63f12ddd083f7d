"""How a destination was found when it was last looked at: kept in a mark of the history for each of them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fastcms.backups import history
from fastcms.backups.copies import wait_no_longer
from fastcms.backups.destinations import Destination
from fastcms.errors import (
    ArchiveError,
    ConfigError,
    ConflictError,
    FastCMSError,
    InvalidInputError,
    StoreError,
)
from fastcms.site import Site

# What failed is tried again after so long; then, and where somebody has to do something before, seldom.
_PAUSES = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180)]
SELDOM = timedelta(hours=6)
# Without anything to do there, so often somebody looks whether it can be reached.
LOOK_EVERY = timedelta(hours=1)
# All copies that were there are gone: the drive may not be mounted.
EMPTIED = "store_emptied"


class FarSide(BaseModel):
    """A destination as it was found. Since `failing_since` it could not be used, and `reason` says why.

    `others` counts what lies there beside the copies of this site. `attempts` failed in a row, of looking
    or of copying; nothing is tried before `next_try`. `may_be_empty`: somebody wants it so.
    `lost` copies were found gone whose backups were gone here, too, since somebody tested the connection.
    """

    model_config = ConfigDict(frozen=True)

    known_since: AwareDatetime
    looked: AwareDatetime | None = None
    others: int = 0
    failing_since: AwareDatetime | None = None
    attempts: int = 0
    next_try: AwareDatetime | None = None
    is_permanent: bool = False
    reason: str | None = None
    hint: str | None = None
    code: str | None = None
    prune_failed: AwareDatetime | None = None
    may_be_empty: bool = False
    lost: int = 0
    newest_lost: str | None = None


def read_far_side(site: Site, destination: Destination, now: datetime) -> FarSide:
    """What was found last; before the first look, nothing. Raises: BackupError."""
    return _understand(history.read_mark(site, _mark_of(destination)), now)


def _understand(mark: Any, now: datetime) -> FarSide:
    try:
        return FarSide(known_since=now) if mark is None else FarSide.model_validate(mark)
    except ValidationError:  # of another version, or edited: it is found out anew
        return FarSide(known_since=now)


def change_far_side(
    site: Site, destination: Destination, now: datetime, change: Callable[[FarSide], FarSide]
) -> FarSide:
    """Remember what was found, on what is remembered at this moment. Never raises: see `history_file`."""
    found = FarSide(known_since=now)

    def change_mark(mark: Any) -> Any:
        nonlocal found
        found = change(_understand(mark, now))
        return found.model_dump(mode="json")

    history.change_mark(site, _mark_of(destination), change_mark)
    return found


def unusable(found: FarSide, error: FastCMSError, now: datetime) -> FarSide:
    """What is remembered of a destination that could not be looked at."""
    is_permanent = needs_somebody(error)
    return slowed_down(found, error, now).model_copy(
        update={
            "failing_since": found.failing_since or now,
            "is_permanent": is_permanent,
            "reason": error.message,
            "hint": error.hint,
            "code": error.code,
            "may_be_empty": False,
        }
    )


def slowed_down(found: FarSide, error: FastCMSError, now: datetime) -> FarSide:
    """What is remembered after a failed attempt: the next one comes a while later."""
    attempts = found.attempts + 1
    pause = pause_after(attempts, is_permanent=needs_somebody(error))
    return found.model_copy(update={"attempts": attempts, "next_try": now + pause})


def reached(found: FarSide, others: int, now: datetime) -> FarSide:
    """What is remembered of a destination that could be looked at: copying may fail all the same."""
    return FarSide(
        known_since=found.known_since,
        looked=now,
        others=others,
        attempts=0 if found.failing_since else found.attempts,
        prune_failed=found.prune_failed,
        lost=found.lost,
        newest_lost=found.newest_lost,
    )


def confirmed(found: FarSide, now: datetime) -> FarSide:
    """What is remembered after a test by somebody: what they have been told before is as they want it."""
    update = {"may_be_empty": found.code == EMPTIED, "lost": 0, "newest_lost": None}
    return reached(found, found.others, now).model_copy(update=update)


def try_again(site: Site, destination: Destination, now: datetime) -> None:
    """Wait no longer: somebody has mended it. Never raises: see `history_file`."""
    update = {"attempts": 0, "next_try": None, "looked": None, "prune_failed": None}
    change_far_side(site, destination, now, lambda found: found.model_copy(update=update))
    wait_no_longer(site, destination.id)


def is_waiting(next_try: datetime | None, now: datetime) -> bool:
    """Whether it is not time yet; a clock that was set back lets nothing wait for longer than ever."""
    return next_try is not None and now < next_try <= now + SELDOM


def pause_after(attempts: int, *, is_permanent: bool) -> timedelta:
    """How long after so many failed attempts the next one comes."""
    return SELDOM if is_permanent or attempts > len(_PAUSES) else _PAUSES[max(attempts, 1) - 1]


def needs_somebody(error: FastCMSError) -> bool:
    """Whether it will fail again until somebody does something."""
    if isinstance(error, StoreError):
        return error.is_permanent
    return isinstance(error, ArchiveError | ConfigError | ConflictError | InvalidInputError)


def _mark_of(destination: Destination) -> str:
    return f"destination:{destination.id}"
