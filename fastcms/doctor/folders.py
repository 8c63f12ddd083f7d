"""The data folder: that it is there, whom it belongs to, and who holds it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fastcms.backups.engine.paths import DataPaths
from fastcms.doctor.findings import Finding, Subject, name_some, note, ok, problem, warning
from fastcms.startup import COMMANDS, SERVING, STARTING

_OPEN_TO_OTHERS = 0o077
# What a start leaves in an empty folder before it has made a database.
_OURS = frozenset({"files", "backups", STARTING, SERVING, COMMANDS})


def check_data_folder(subject: Subject) -> Iterator[Finding]:
    folder, me = subject.settings.data_dir, os.geteuid()
    if not os.access(folder, os.F_OK):
        reason = "is none" if _can_look_into(folder.parent) else "may be one, but you may not look there"
        yield problem(
            "data_folder_missing",
            f"There {reason}: the data folder {folder}.",
            "Run this in the folder of your site and as its user, or set FASTCMS_DATA_DIR. "
            "The server makes a new site's.",
        )
        return
    owner = folder.stat().st_uid
    if not folder.is_dir():
        yield problem("data_folder_no_folder", f"{folder} is no folder.", "Set FASTCMS_DATA_DIR to a folder.")
    elif me not in (0, owner):
        yield problem(
            "other_user",
            f"{folder} belongs to the user with the id {owner}, and you are {me}.",
            f"Run FastCMS, and this command, as that user: sudo -u '#{owner}' ...",
        )
    elif me != owner:
        yield note(
            "run_as_root",
            f"You are root, and the site in {folder} belongs to the user with the id {owner}.",
            f"Run other commands as that user: sudo -u '#{owner}' ...",
        )
    elif not is_foreign(subject.paths):
        yield ok("data_folder", f"The data folder is {folder}")
    if is_foreign(subject.paths):
        yield problem(
            "data_folder_foreign",
            f"{folder} is no data folder of FastCMS: it holds {_describe_some(folder)}, but no app.db and no "
            "backups.",
            "Set FASTCMS_DATA_DIR to the data folder of your site, and change nothing in this one.",
        )


def check_permissions(subject: Subject) -> Iterator[Finding]:
    # Commands that change a whole folder must not be advised for somebody else's: /usr/share, mistyped.
    if not _is_site(subject.paths):
        return
    paths = [path for path in _private_paths(subject.paths) if os.path.lexists(path)]
    folder = subject.settings.data_dir
    owner = folder.stat().st_uid
    for path in paths:
        if not path.is_symlink() and (who := _who_is_kept_out(path)):
            yield problem(
                "closed",
                f"{who} may not read and write {path}.",
                f"Give it back to its owner: chown -R '#{owner}' {folder} && chmod -R u+rwX {folder}",
            )
    foreign = [path.name for path in paths if path.lstat().st_uid != owner]
    if foreign:
        yield problem(
            "owner_differs",
            f"Not of the same owner as the data folder: {name_some(foreign)}.",
            f"Give them to the server's user: chown -R '#{owner}' {folder}",
        )
    private = [path for path in paths if not path.is_symlink()]
    is_open = [path.name for path in private if stat.S_IMODE(path.stat().st_mode) & _OPEN_TO_OTHERS]
    if is_open:
        yield warning(
            "mode_open",
            f"Other users of this machine may read: {name_some(is_open)}.",
            f"Close them: chmod -R go-rwx {folder}",
        )
    if not foreign and not is_open:
        yield ok("permissions", "Only the owner may read and write the site's folders, database and backups")


def check_locks(subject: Subject) -> Iterator[Finding]:
    who = {name: subject.holders(name) for name in (SERVING, COMMANDS, STARTING)}
    if who[STARTING]:
        yield note(
            "starting",
            f"Being started, or waiting for a command to end: {name_some(who[STARTING])}",
            "If it takes long, read what it says in its terminal or log.",
        )
    if who[SERVING]:
        yield ok("serving", f"A server runs: {name_some(who[SERVING])}")
    else:
        yield note("not_serving", "No server runs on this data folder, or it runs in another container")
    if who[COMMANDS]:
        yield ok("commands", f"At work: {name_some(who[COMMANDS])}")


def _is_site(paths: DataPaths) -> bool:
    """Whether FastCMS has worked here: that there is a folder `backups` says nothing, /var has one, too."""
    traces = [paths.data_dir.glob("app.db*"), paths.backups_dir.glob("backup_*.zip")]
    singles = [paths.data_dir / ".secret_key", paths.marker, paths.receipts]
    return any(any(found) for found in traces) or any(os.path.lexists(path) for path in singles)


def is_foreign(paths: DataPaths) -> bool:
    """Whether the folder holds something, but nothing of a site. An empty one may become a site."""
    folder = paths.data_dir
    is_readable = folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    return is_readable and not _is_site(paths) and any(path.name not in _OURS for path in folder.iterdir())


def _describe_some(folder: Path) -> str:
    return name_some(sorted(path.name for path in folder.iterdir()))


def _who_is_kept_out(path: Path) -> str:
    """Who cannot use a file or folder: its owner, whom root's rights do not help, or whoever runs this."""
    is_folder = path.is_dir()
    if ~path.stat().st_mode & (0o700 if is_folder else 0o600):
        return "Its owner"
    wanted = os.R_OK | os.W_OK | (os.X_OK if is_folder else 0)
    return "" if os.access(path, wanted) else "This user"


def _can_look_into(folder: Path) -> bool:
    """Whether a name that is missing there is missing, and not only hidden from this user."""
    existing = next(parent for parent in (folder, *folder.parents) if os.access(parent, os.F_OK))
    return os.access(existing, os.X_OK)


def _private_paths(paths: DataPaths) -> list[Path]:
    folders = [paths.data_dir, paths.files_dir, paths.backups_dir]
    names = (
        "app.db*",
        "activity.db*",
        ".activity_lock",
        ".backups_made",
        ".secret_key",
        STARTING,
        SERVING,
        COMMANDS,
    )
    in_data = [path for name in names for path in sorted(paths.data_dir.glob(name))]
    in_backups = [
        path for name in ("*.zip", "*.jsonl", ".*lock") for path in sorted(paths.backups_dir.glob(name))
    ]
    return [*folders, *in_data, *in_backups]
