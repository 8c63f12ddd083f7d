"""Remove the copies that a destination's policy does not keep: only such as this site has made there."""

from collections.abc import Iterable

from fastcms.backups import history
from fastcms.backups.backup_notes import Notes, read_notes
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.copies import Copy, CopyState, changed, forget_copies, list_copies, save_copies
from fastcms.backups.copy_list import list_own, policy_there
from fastcms.backups.copy_plan import decide_there
from fastcms.backups.deletion import find_uses
from fastcms.backups.destinations import Destination, list_destinations
from fastcms.backups.history import Run, RunKind
from fastcms.backups.job_files import JobError, JobState, Trigger, job_id_of
from fastcms.backups.pruning import find_reasons_for_all
from fastcms.backups.retention import Decision
from fastcms.backups.stores.base import BackupStore
from fastcms.database import utc_now
from fastcms.errors import FastCMSError, status_of
from fastcms.logs import get_logger
from fastcms.site import Site

_GONE = "The policy of the destination does not keep it."


def plan_there(site: Site, destination: Destination, store: BackupStore) -> list[tuple[Decision, Copy]]:
    """What becomes of each copy of this site that is there, newest first. Raises: StoreError; BackupError.

    Of what has the name of one, but nobody knows whether it is one, nothing does.
    """
    sizes = {found.name: found.size_bytes for found in store.list()}
    copies = {
        copy.filename: copy
        for copy in list_copies(site, destination=destination.id)
        if copy.state == CopyState.COPIED
        and copy.sha256 is not None
        and sizes.get(copy.object_name) == copy.size_bytes
    }
    # Not those that the list brings, which has none where they cannot be read: they say what is pinned.
    notes = read_notes(site)
    own = [
        backup._replace(notes=notes.get(backup.filename, Notes(backup.filename))) for backup in list_own(site)
    ]
    decisions = decide_there(
        {backup.filename: backup for backup in own},
        {name: copy.size_bytes or 0 for name, copy in copies.items()},
        policy_there(site, destination),
        read_settings(site).timezone,
        utc_now(),
        for_all=tuple(find_reasons_for_all(site, own)),
        uses=_find_uses(site, copies.values()),
    )
    return [(decision, copies[decision.filename]) for decision in decisions]


def _find_uses(site: Site, copies: Iterable[Copy]) -> dict[str, str]:
    """What the copies, or their backups, are needed for just now, by their backups' names."""
    uses = find_uses(site)
    found = {copy.filename: uses.get(copy.filename) or uses.get(copy.object_name) for copy in copies}
    return {filename: use for filename, use in found.items() if use is not None}


def prune_there(site: Site, destination: Destination, store: BackupStore) -> Run | None:
    """Remove what is superfluous there, the oldest first; None if that is nothing.

    Where one cannot be removed, the others stay, too: it is tried another time. So do they as soon as the
    destination is none any more, or has another policy.
    Raises: StoreError when it cannot be told what is there; BackupError. Then nothing is removed.
    """
    started = utc_now()
    going = [copy for decision, copy in reversed(plan_there(site, destination, store)) if not decision.keep]
    if not going:
        return None
    removed: list[Copy] = []
    failure: FastCMSError | None = None
    for copy in going:
        if site.stopping.is_set() or destination not in list_destinations(site):
            break
        try:
            store.remove(copy.object_name)
        except FastCMSError as error:
            failure = error
            break
        removed.append(copy)
    if not removed and failure is None:
        return None
    _note_gone(site, removed)
    removed_bytes = sum(copy.size_bytes or 0 for copy in removed)
    get_logger().info(
        "copies removed", place=destination.place, removed=len(removed), removed_bytes=removed_bytes
    )
    run = Run(
        id=job_id_of(started),
        kind=RunKind.PRUNE,
        trigger=Trigger.SCHEDULED,
        state=JobState.FAILED if failure else JobState.SUCCEEDED,
        requested_by="schedule",
        started=started,
        finished=utc_now(),
        size_bytes=removed_bytes,
        error=_describe(failure) if failure else None,
        details={
            "removed": [copy.filename for copy in removed],
            "bytes": removed_bytes,
            "destination": destination.place,
        },
    )
    history.add_run(site, run)
    return run


def _note_gone(site: Site, removed: list[Copy]) -> None:
    here = {backup.filename for backup in list_own(site)}
    save_copies(
        site,
        [
            changed(copy, CopyState.GONE, reason=_GONE, sha256=None, archive_sha256=None, version=None)
            for copy in removed
            if copy.filename in here
        ],
    )
    forget_copies(site, [copy for copy in removed if copy.filename not in here])


def _describe(error: FastCMSError) -> JobError:
    return JobError(
        status=status_of(error)[0],
        detail=f"Not all superfluous copies could be removed. {error.message}",
        code="prune_incomplete",
        hint=error.hint,
    )
