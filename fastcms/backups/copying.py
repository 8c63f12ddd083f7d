"""Copy backups to the destinations: whatever should be there and is not, the newest first, by itself.

For each destination one process at a time is at it, which a lock decides; destinations do not wait for each
other, and nothing waits for them. An attempt is noted before it begins: after a kill or a restart, the copy
is begun anew. What failed is tried again, ever more seldom.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel

from fastcms.age_keys import parse_recipients, read_identities
from fastcms.backups import history, jobs
from fastcms.backups.backup_settings import BackupSettings, changed_settings
from fastcms.backups.copies import Copy, CopyState, changed, list_copies, save_copies
from fastcms.backups.copy_list import (
    find_lost,
    find_next,
    is_open,
    require_known_settings,
    require_not_emptied,
    update_list,
)
from fastcms.backups.copy_retention import prune_there
from fastcms.backups.destinations import Destination, list_destinations, open_destination
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.backups.far_side import (
    LOOK_EVERY,
    SELDOM,
    FarSide,
    change_far_side,
    is_waiting,
    needs_somebody,
    pause_after,
    reached,
    read_far_side,
    slowed_down,
    try_again,
    unusable,
)
from fastcms.backups.folder import data_paths
from fastcms.backups.history import Run
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import Job, JobKind, JobState, Trigger
from fastcms.backups.jobs import Task
from fastcms.backups.sending import Sending, send
from fastcms.backups.stores.base import BackupStore, StoredObject
from fastcms.database import format_utc, utc_now
from fastcms.errors import (
    BackupBusyError,
    BackupError,
    BackupNotFoundError,
    ConfigError,
    FastCMSError,
    JobCancelledError,
    StoreError,
)
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.site import Site

_UNKNOWN_SETTINGS = ("backup_settings_unreadable", "encryption_lost")
# Where copies may not be removed, as some want it, so often that is tried again.
_PRUNE_AGAIN = timedelta(days=1)
# What was last logged of each destination.
_logged: dict[str, str] = {}


class CopiedBackup(BaseModel):
    """A backup that is at a destination; `checked` says how that is known."""

    filename: str
    place: str
    object_name: str
    size_bytes: int | None
    sha256: str | None
    is_encrypted: bool
    checked: str | None


class _There(NamedTuple):
    """A destination that could be looked at, and what was found."""

    site: Site
    destination: Destination
    store: BackupStore
    stored: dict[str, StoredObject]


def copy_missing(site: Site) -> list[Run]:
    """Do one round at every destination; give back what was copied and removed, or tried. Never raises."""
    destinations = list_destinations(site)
    if not destinations:
        return []
    with ThreadPoolExecutor(len(destinations)) as workers:
        rounds = list(workers.map(lambda destination: copy_to(site, destination), destinations))
    return [run for runs in rounds for run in runs]


def lock_of(site: Site, destination: Destination) -> FileLock:
    """Whoever copies there holds it; it is written when a round begins."""
    return FileLock(data_paths(site).backups_dir / f".copying_{destination.id}_lock")


def copy_to(site: Site, destination: Destination) -> list[Run]:
    """Do one round at a destination, unless another process is at it. Never raises."""
    runs: list[Run] = []
    try:
        with lock_of(site, destination).hold(purpose=f"copying to {destination.place}", timeout_seconds=0):
            runs.extend(_do_round(site, destination))  # what came before an error stays
    except BackupBusyError:
        pass
    except StoreError as error:
        _note_unusable(site, destination, error)
    except FastCMSError as error:
        _log_once(destination, error)
    except Exception as error:  # noqa: BLE001 - the next round may succeed
        _note_unusable(site, destination, _as_told(error, f"The round at {destination.place} broke off."))
    return runs


def _note_unusable(site: Site, destination: Destination, error: FastCMSError) -> FarSide:
    now = utc_now()
    return change_far_side(site, destination, now, lambda found: unusable(found, error, now))


def _log_once(destination: Destination, error: FastCMSError) -> None:
    """Log what every round finds, such as a history that cannot be read, when it is something new."""
    if _logged.get(destination.id) != error.message:
        _logged[destination.id] = error.message
        get_logger().error(error.message, place=destination.place, code=error.code, hint=error.hint)


def _do_round(site: Site, destination: Destination) -> Iterator[Run]:
    now = utc_now()
    found = read_far_side(site, destination, now)
    if found.code in _UNKNOWN_SETTINGS and _are_settings_known(site, found.code):
        try_again(site, destination, now)  # somebody has mended them, and waits for no pause to end
        found = read_far_side(site, destination, now)
    if is_waiting(found.next_try, now):
        return
    copies = update_list(site, destination, None, now)
    is_look_due = found.looked is None or not now - LOOK_EVERY < found.looked <= now
    if not is_look_due and find_next(copies, now) is None:
        return
    there = _look(site, destination, copies)
    if there is not None:
        yield from _copy_all(there)
        yield from _prune(there)


def _are_settings_known(site: Site, code: str | None) -> bool:
    with suppress(ConfigError):
        settings = require_known_settings(site)
        # What made them unknown may lie at the destination: only a choice ends that.
        return (
            code != "encryption_lost" or bool(settings.encrypt_to) or "encrypt_to" in changed_settings(site)
        )
    return False


def _look(site: Site, destination: Destination, copies: list[Copy]) -> _There | None:
    """See what is at a destination; where that cannot be seen, it is noted why."""
    now = utc_now()
    try:
        require_known_settings(site)
        store = open_destination(site, destination)
        stored = {stored.name: stored for stored in store.list()}
        require_known_settings(site, stored)
        may_be_empty = read_far_side(site, destination, now).may_be_empty
        if not may_be_empty:
            require_not_emptied(site, destination, stored)
        lost = [] if may_be_empty else find_lost(site, copies, stored)
    except Exception as raised:  # noqa: BLE001 - whatever it is, the destination's state says so
        error = _as_told(raised, f"{destination.place} could not be looked at.")
        found = _note_unusable(site, destination, error)
        save_copies(site, [_failed(copy, error, now, found.next_try) for copy in copies if is_open(copy)])
        get_logger().warning(error.message, place=destination.place, code=error.code, attempts=found.attempts)
        return None
    ours = {copy.object_name for copy in list_copies(site, destination=destination.id)}
    others = len(stored.keys() - ours)
    if lost:
        names = [copy.object_name for copy in lost]
        get_logger().warning("copies are gone", place=destination.place, copies=names)
    change_far_side(site, destination, now, lambda found: reached(_with_lost(found, lost), others, now))
    return _There(site, destination, store, stored)


def _with_lost(found: FarSide, lost: list[Copy]) -> FarSide:
    newest = max([copy.filename for copy in lost] + [found.newest_lost or ""]) or None
    return found.model_copy(update={"lost": found.lost + len(lost), "newest_lost": newest})


def _copy_all(there: _There) -> Iterator[Run]:
    """Copy one after the other, the newest first, also those that come meanwhile."""
    site, destination = there.site, there.destination
    while not site.stopping.is_set() and destination in list_destinations(site):
        now = utc_now()
        copies = update_list(site, destination, there.stored, now)
        copy = find_next(copies, now)
        if copy is None or is_waiting(read_far_side(site, destination, now).next_try, now):
            return
        if not _has_newest(there, copies):  # the drive may have gone: the next look says so
            return
        try:  # before each: a round may last for days
            settings = require_known_settings(site, there.stored)
        except ConfigError:  # the next look says so
            return
        latest: Job | None = None

        def watch(job: Job) -> None:
            nonlocal latest
            latest = job

        copied = _copy_one(there, copy, settings, watch)
        save_copies(site, [copied])
        if copied.state == CopyState.COPIED:
            there.stored[copied.object_name] = StoredObject(
                copied.object_name, copied.size_bytes or 0, now, copied.version or ""
            )
        if latest is not None:
            yield history.run_of(latest)


def _has_newest(there: _There, copies: list[Copy]) -> bool:
    """Whether the newest copy is still there. Raises: StoreError."""
    names = [copy.object_name for copy in copies if copy.state == CopyState.COPIED]
    return not names or there.store.find(max(names)) is not None


def _copy_one(there: _There, copy: Copy, settings: BackupSettings, watch: Callable[[Job], None]) -> Copy:
    """Try to make a copy, and say what has become of it."""
    site, destination, now = there.site, there.destination, utc_now()
    begun = _begin(site, copy, now)
    try:
        copied = jobs.run(site, _task(there, begun, settings), watch)
    except JobCancelledError as error:
        noted = _as_noted(site, begun)
        if site.stopping.is_set():  # no fault of anybody's: the next start begins it anew
            return changed(noted, CopyState.WAITING, attempts=copy.attempts)
        later = format_utc(now + SELDOM)
        return changed(noted, CopyState.WAITING, reason=error.message, hint=error.hint, next_try=later)
    except BackupNotFoundError:  # deleted meanwhile: the next look at the list forgets it
        return changed(_as_noted(site, begun), CopyState.WAITING)
    except Exception as raised:  # noqa: BLE001 - whatever it is, the row says so
        return _note_failure(there, begun, raised)
    if read_far_side(site, destination, now).attempts:
        change_far_side(site, destination, now, lambda found: found.model_copy(update={"attempts": 0}))
    get_logger().info("backup copied", backup=copy.filename, place=destination.place, checked=copied.checked)
    return copied


def _note_failure(there: _There, begun: Copy, raised: Exception) -> Copy:
    now, error = utc_now(), _as_told(raised, "The copy could not be made.")
    get_logger().warning(error.message, backup=begun.filename, place=begun.place, code=error.code)
    next_try = now + pause_after(begun.attempts, is_permanent=needs_somebody(error))
    if isinstance(error, StoreError):  # the others would fail like this one
        found = change_far_side(
            there.site, there.destination, now, lambda found: slowed_down(found, error, now)
        )
        next_try = found.next_try or next_try
    return _failed(_as_noted(there.site, begun), error, now, next_try)


def _as_told(raised: Exception, message: str) -> FastCMSError:
    """What can be shown of an error; of one that nobody expected, the log has the rest."""
    if isinstance(raised, FastCMSError):
        return raised
    get_logger().error("Unexpected error", exc_info=raised)
    return BackupError(message, hint="The log says why.")


def _as_noted(site: Site, begun: Copy) -> Copy:
    """An attempt as it is noted by now: it may be known what was sent."""
    copies = list_copies(site, begun.filename)
    return next((copy for copy in copies if copy.destination == begun.destination), begun)


def _begin(site: Site, copy: Copy, now: datetime) -> Copy:
    """Count the attempt. Raises: BackupError when that cannot be noted: it would be made again and again."""
    begun = changed(copy, CopyState.COPYING, now, tried=format_utc(now), attempts=copy.attempts + 1)
    begun = begun._replace(next_try=None, reason=None, hint=None, code=None, needs_somebody=False)
    save_copies(site, [begun])
    if begun not in list_copies(site, copy.filename):
        raise BackupError(
            f"That {copy.filename} is copied could not be noted in {history_path(site)}.",
            hint="The log says why. Look at the disk's free space, and at the owner of that file.",
        )
    return begun


def _task(there: _There, copy: Copy, settings: BackupSettings) -> Task[Copy]:
    identity_path = there.site.settings.backup_identity
    sending = Sending(
        site=there.site,
        store=there.store,
        recipients=parse_recipients(settings.encrypt_to),
        identities=read_identities(identity_path) if identity_path and copy.is_encrypted else (),
        limit=there.destination.limit or settings.copy_limit,
        note=lambda known: save_copies(there.site, [known]),
    )

    def work(on_progress: OnProgress) -> Copy:
        def go_on(progress: Progress) -> None:
            on_progress(progress)
            _require_listed(there)

        return send(sending, copy, go_on)

    return Task(
        JobKind.COPY,
        "schedule",
        work,
        lambda copied: CopiedBackup.model_validate(copied, from_attributes=True),
        copy.filename,
        Trigger.SCHEDULED,
        copy.place,
    )


def _require_listed(there: _There) -> None:
    """Raises: JobCancelledError as soon as nothing is to be copied to a destination any more."""
    if there.destination.id not in {found.id for found in list_destinations(there.site)}:
        raise JobCancelledError(
            f"{there.destination.place} was removed from the destinations.",
            hint="Nothing is copied there any more.",
        )


def _failed(copy: Copy, error: FastCMSError, now: datetime, next_try: datetime | None) -> Copy:
    return changed(
        copy,
        CopyState.FAILED,
        now,
        next_try=None if next_try is None else format_utc(next_try),
        reason=error.message,
        hint=error.hint,
        code=error.code,
        needs_somebody=needs_somebody(error),
    )


def _prune(there: _There) -> Iterator[Run]:
    site, destination, now = there.site, there.destination, utc_now()
    found = read_far_side(site, destination, now)
    if site.stopping.is_set() or (found.prune_failed and now - found.prune_failed < _PRUNE_AGAIN):
        return
    run = prune_there(site, destination, there.store)
    prune_failed = now if run is not None and run.state is JobState.FAILED else None
    if prune_failed != found.prune_failed:
        update = {"prune_failed": prune_failed}
        change_far_side(site, destination, now, lambda found: found.model_copy(update=update))
    if run is not None:
        yield run
