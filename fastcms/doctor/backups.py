"""The backups: that there are some, that the newest is new, and that it can be read."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from humanize import naturaldelta, naturalsize

from fastcms.backups.creation import RESTORE_REFUSED
from fastcms.backups.elsewhere import list_states
from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.progress import ignore_progress
from fastcms.backups.history_file import history_path
from fastcms.backups.reasons import ReasonLevel
from fastcms.backups.schemas import Backup, BackupKind
from fastcms.backups.service import find_newest, list_backups
from fastcms.backups.status import describe_status
from fastcms.doctor.database import open_unchanged
from fastcms.doctor.files import find_unknown
from fastcms.doctor.findings import Finding, Subject, name_some, note, ok, problem, warning
from fastcms.errors import ArchiveError
from fastcms.site import new_site
from fastcms.sqlite import sqlite3

# What other checks say, having looked at more.
_SAID_ELSEWHERE = {
    "newest_backup_damaged",
    "newest_backup_incomplete",
    "newest_backup_refused",
    "backup_from_the_future",
    "restore_failed_lately",
    "space_critical",
    "space_low",
}


def check_status(subject: Subject) -> Iterator[Finding]:
    """Repeat what `fastcms backup status` says."""
    site = new_site(subject.settings)
    status = describe_status(site, subject.now)
    newest = status.last_success
    if find_newest(list_backups(site)) is None and subject.paths.database.exists():
        yield warning(
            "backup_none",
            "There is no backup of this site.",
            "Make one with `fastcms backup create`. While the server runs, it makes one every night.",
        )
    for reason in status.reasons:
        if reason.code in _SAID_ELSEWHERE:
            continue
        if reason.level is ReasonLevel.ATTENTION:
            yield problem("backup_attention", reason.message, reason.hint)
        else:
            yield warning("backup_warning", reason.message, reason.hint)
    if newest is not None and status.is_safe:
        age = naturaldelta(subject.now - newest.created)
        yield ok("backups", f"{status.sentence}: the newest backup, {newest.filename}, is {age} old")


def check_destinations(subject: Subject) -> Iterator[Finding]:
    """Say how each destination was found last; what is wrong there, the status says."""
    site = new_site(subject.settings)
    for found in list_states(site, subject.now):
        if found.newest_copy is not None and found.failing_since is None:
            age = naturaldelta(subject.now - found.newest_copy.created)
            copies = f"{found.copied:,} copies, the newest of a backup that is {age} old"
            yield ok("destination", f"{found.place} has {copies}")
        elif found.reachable is None:
            yield note(
                "destination_unseen",
                f"{found.place} was not looked at so far.",
                f"The server does so by itself; to try it now: `fastcms backup destination test {found.id}`.",
            )


def check_history(subject: Subject) -> Iterator[Finding]:
    path = history_path(new_site(subject.settings))
    if not path.exists():
        return
    hint = (
        "Move it aside: it is begun anew. Backups are not concerned, but what was noted of them (which are "
        "pinned, which are verified) is gone."
    )
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as history:
            (verdict,) = history.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        yield warning("history_damaged", f"The history of backups, {path}, cannot be read: {error}.", hint)
        return
    if verdict != "ok":
        yield warning("history_damaged", f"The history of backups, {path}, is damaged: {verdict}.", hint)


def check_lost_database(subject: Subject) -> Iterator[Finding]:
    """Tell an empty database that took a lost one's place, as a start makes it, from that of a new site."""
    if _count_accounts(subject) != 0 or subject.paths.marker.exists():
        return
    backup = _find_newest_with_accounts(subject)
    files = find_unknown(subject) if subject.paths.files_dir.is_dir() else set()
    if backup is not None:
        why = f"{backup.filename} is of a site that has some"
        hint = f"Restore it: `fastcms backup restore {backup.filename}`, then restart the server."
    elif files:
        why = f"files are uploaded that it does not know: {name_some(sorted(files))}"
        hint = "Look for a backup or another copy of app.db, and keep the files until then."
    else:
        return
    yield problem(
        "database_empty",
        f"{subject.paths.database} has no accounts, but {why}. Perhaps the database was lost, and a start "
        "made an empty one.",
        hint,
    )


def check_archives(subject: Subject) -> Iterator[Finding]:
    """Read the newest backup's list of contents; with --deep, every byte of every backup."""
    backups = list_backups(new_site(subject.settings))
    looked_at = backups if subject.is_deep else backups[:1]
    damaged = {}
    for backup in looked_at:
        if reason := _what_is_wrong(backup, is_deep=subject.is_deep):
            damaged[backup.filename] = reason
    for filename, reason in damaged.items():
        yield problem(
            "backup_damaged",
            f"{filename} cannot be restored: {reason}",
            "Make a new backup now, and look at the disk's health. Keep copies of backups elsewhere.",
        )
    if backups and backups[0].filename not in damaged:
        yield from _describe_problems(backups[0])
    if looked_at and not damaged:
        size = naturalsize(sum(backup.size_bytes for backup in looked_at))
        how = "every byte is as it was written" if subject.is_deep else "its list of contents is sound"
        names = name_some(backup.filename for backup in looked_at)
        yield ok("backup_readable", f"{names}: {how} ({size})")


def _what_is_wrong(backup: Backup, *, is_deep: bool) -> str | None:
    try:
        with open_archive(Path(backup.path)) as archive:
            if is_deep:
                extract_archive(archive, database_path=None, files_dir=None, on_progress=ignore_progress)
            return None
    except FileNotFoundError:  # deleted meanwhile
        return None
    except ArchiveError as error:
        return error.message
    except OSError as error:
        return f"{error.strerror}."


def _describe_problems(backup: Backup) -> Iterator[Finding]:
    """What the backup itself says was wrong when it was made."""
    manifest = _read_manifest(backup)
    problems = manifest.problems if manifest else []
    refusals = [text for text in problems if text.startswith(RESTORE_REFUSED)]
    others = [text for text in problems if text not in refusals]
    for text in refusals:
        yield problem(
            "backup_refused",
            f"{backup.filename}: {text}",
            "Somebody has changed the database by hand: undo that, or restore an older backup; then make a "
            "new backup.",
        )
    if others:
        yield warning(
            "backup_problems",
            f"{backup.filename} is not complete: {name_some(others)}.",
            "See what this says of the uploaded files; when they are mended, make a new backup.",
        )


def _count_accounts(subject: Subject) -> int | None:
    """None when the database cannot be read, which its own checks explain."""
    if subject.paths.database.exists():
        with suppress(sqlite3.Error), open_unchanged(subject) as connection:
            return int(connection.execute("SELECT count(*) FROM accounts").fetchone()[0])
    return None


def _find_newest_with_accounts(subject: Subject) -> Backup | None:
    for backup in list_backups(new_site(subject.settings)):
        manifest = _read_manifest(backup) if backup.kind is not BackupKind.UPLOADED else None
        if manifest and manifest.counts.get("accounts", 0) > 0:
            return backup
    return None


def _read_manifest(backup: Backup) -> BackupManifest | None:
    """What is in a backup; None when it cannot be read, which `check_archives` says."""
    with suppress(ArchiveError, OSError), open_archive(Path(backup.path)) as archive:
        return archive.manifest
    return None
