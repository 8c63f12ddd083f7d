"""Restores: pending, interrupted, left over, and the way back."""

import os
from collections.abc import Iterator
from datetime import datetime

from humanize import naturaldelta, naturalsize

from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import Phase, read_marker, read_receipts
from fastcms.backups.engine.staging import is_staged, staged_restore_id
from fastcms.backups.engine.swap import find_strays
from fastcms.backups.engine.undo import find_safety_copy
from fastcms.backups.restore_schemas import describe_what
from fastcms.doctor.files import find_stale_uploads
from fastcms.doctor.findings import Finding, Subject, look_twice, name_some, note, ok, problem, warning
from fastcms.errors import RestoreError
from fastcms.startup import STARTING


def check_pending(subject: Subject) -> Iterator[Finding]:
    paths = subject.paths
    try:
        pending = read_marker(paths)
    except RestoreError as error:
        yield problem(
            "restore_marker_unreadable",
            error.message,
            "The next start moves it aside, unless it says below that a restore was interrupted.",
        )
        return
    if pending is None:
        yield ok("restore", "No restore is pending")
        return
    name = describe_what(pending.kind, pending.backup_filename)
    what = f"The {name}, which {pending.requested_by} asked for"
    if pending.phase is Phase.STAGED and is_staged(paths, pending):
        yield note(
            "restore_pending",
            f"{what}, is staged.",
            "Restart the server to complete it, or cancel it with `fastcms backup cancel`.",
        )
    elif pending.phase is Phase.STAGED:
        yield warning(
            "restore_staging_changed",
            f"{what}, cannot be completed: somebody has changed what was staged.",
            "Cancel it with `fastcms backup cancel`, and stage it again.",
        )
    elif pending.phase.is_over:
        yield warning(
            "restore_unfinished",
            f"{what}, is over, but its receipt could not be written: perhaps the disk is full.",
            "Free some space, then restart the server.",
        )
    elif not subject.holders(STARTING):
        yield problem(
            "restore_interrupted",
            f"{what}, was interrupted half-way ({pending.phase}).",
            f"Start the server: it finishes it, or puts the old state back. Do not remove {paths.marker}.",
        )


def check_latest(subject: Subject) -> Iterator[Finding]:
    latest = None
    for latest in read_receipts(subject.paths.receipts):  # noqa: B007 - the last one is wanted
        pass
    if latest is not None and latest.outcome == Phase.ROLLED_BACK:
        name = describe_what(latest.kind, latest.backup_filename)
        yield note(
            "restore_rolled_back",
            f"The {name} failed, and the state before it was put back: {latest.reason}",
            "Restore another backup if you still want to.",
        )


def check_left_overs(subject: Subject) -> Iterator[Finding]:
    paths = subject.paths
    kept_markers = sorted(paths.backups_dir.glob(f"{paths.marker.name}.unreadable*"))
    if kept_markers:
        yield note(
            "restore_marker_kept",
            f"{name_some(kept_markers)} was there as marker of a restore, but FastCMS had not written it.",
            "Find out who did; then delete it.",
        )
    if paths.staging_dir.exists() and staged_restore_id(paths) is None and not subject.is_working_on_backups:
        yield note(
            "staging_by_hand",
            f"Somebody has unpacked a backup in {paths.staging_dir}; FastCMS leaves it alone.",
            "Delete it when it is not needed any more: it holds password hashes.",
        )
    strays = look_twice(subject, lambda: _find_strays(subject))
    if strays:
        yield problem(
            "restore_marker_lost",
            f"A restore was interrupted, and its marker {paths.marker} is gone or spoilt: "
            f"{name_some(strays)} is of the state before.",
            "The server does not start, so that it never serves a mixture. If data/backups is a disk of its "
            "own, mount it; otherwise docs/disaster-recovery.md says what to do.",
        )
    left_overs = look_twice(subject, lambda: _find_left_overs(subject))
    if left_overs:
        yield note(
            "left_over",
            f"Left by a backup or restore that was broken off: {name_some(left_overs)}",
            "The next start removes it, or the next restore does.",
        )


def check_safety_copy(subject: Subject) -> Iterator[Finding]:
    safety_copy = find_safety_copy(subject.paths)
    if safety_copy is None:
        return
    size, age = naturalsize(safety_copy.size_bytes), ""
    if safety_copy.restore is not None:
        age = f", {naturaldelta(subject.now - datetime.fromisoformat(safety_copy.restore.finished))} old"
    if safety_copy.state.wal.exists():
        yield note(
            "safety_copy_damaged",
            f"The database before the latest restore was damaged; it is kept as it was ({size}{age}).",
            "To look into it by hand, see docs/disaster-recovery.md.",
        )
    else:
        yield note(
            "safety_copy",
            f"The state before the latest restore is kept ({size}{age}).",
            "Go back to it with `fastcms backup undo`, or give up its space with `fastcms backup discard`.",
        )


def _find_strays(subject: Subject) -> set[str]:
    """What an interrupted restore had moved out of the way, without the marker that says so."""
    if _has_readable_marker(subject.paths) or subject.holders(STARTING):
        return set()
    return {path.name for path in find_strays(subject.paths)}


def _has_readable_marker(paths: DataPaths) -> bool:
    try:
        return read_marker(paths) is not None
    except RestoreError:
        return False


def _find_left_overs(subject: Subject) -> set[str]:
    """What nobody works with any more, and no pending restore needs."""
    paths = subject.paths
    if paths.marker.exists() or subject.is_working_on_backups or subject.holders(STARTING):
        return set()
    is_staging_ours = staged_restore_id(paths) is not None
    places = [
        *(paths.staging_dirs if is_staging_ours else paths.staging_dirs[1:]),
        *paths.data_dir.glob(".discarded-*"),
        *paths.backups_dir.glob(".discarded-*"),
        *paths.restore_dir.glob(".discarded-*"),
        *paths.backups_dir.glob(".backup_*.partial*"),
    ]
    return {path.name for path in places if os.path.lexists(path)} | find_stale_uploads(paths.backups_dir)
