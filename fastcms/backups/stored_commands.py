"""The part of `fastcms backup restore` that fetches a backup from a destination first."""

from humanize import naturalsize

from fastcms.backups import jobs, restoring, tasks
from fastcms.backups.commands import progress_bar
from fastcms.backups.encryption import MAX_HEADER_BYTES, require_fitting
from fastcms.backups.fetching import Source, require_key
from fastcms.backups.schemas import BackupDetails
from fastcms.backups.stored import (
    StoredBackup,
    find_newest,
    find_passed_over,
    find_stored,
    list_stored,
    locate,
)
from fastcms.backups.stored_terminal import MOST_SHOWN, Target, require_object_name, show_stored, warn_of
from fastcms.site import Site, make_folders, refuse_file_as_folder
from fastcms.terminal import messages, require_answer, who


def fetch_to_restore(site: Site, target: Target, *, latest: bool, yes: bool, as_json: bool) -> BackupDetails:
    """Bring the backup that was named, or the newest, to those of this machine.

    What would stand in the way of its restore is said before anything is fetched.
    Raises: InvalidInputError when none was named; what `fetching.receive` raises.
    """
    refuse_file_as_folder(site.settings.data_dir)
    restoring.require_nothing_staged(site)
    stored = _choose(target, latest=latest, as_json=as_json)
    source = target.source
    warn_of(stored)
    require_key(stored, source.store.place, source.identities)
    _require_fitting_key(stored, source)
    if not yes:
        require_answer(
            f"Replace the database and all files with those of {stored.filename}?", as_json=as_json
        )
    make_folders(site.settings.data_dir, site.settings.backups_dir)
    how = ", encrypted" if stored.is_encrypted else ""
    messages.print(
        f"Fetching {locate(source.store.place, stored.object_name)} ({naturalsize(stored.size_bytes)}{how}).",
        markup=False,
    )
    with progress_bar() as show:
        return jobs.run(site, tasks.fetching_of(site, source, stored.object_name, who()), show)


def _require_fitting_key(stored: StoredBackup, source: Source) -> None:
    """Before there is a data folder: raise WrongKeyError if no key opens it."""
    if stored.is_encrypted:
        head = source.store.read(stored.object_name, 0, min(MAX_HEADER_BYTES, stored.size_bytes))
        require_fitting(b"".join(head), source.identities)


def describe_counts(backup: BackupDetails) -> str:
    """How much a restored backup has brought back."""
    names = ("records", "files", "accounts")
    counted = [_plural(backup.counts[name], name) for name in names if name in backup.counts]
    return f"It holds {', '.join(counted)}." if counted else ""


def _plural(count: int, names: str) -> str:
    return f"{count:,} {names.removesuffix('s') if count == 1 else names}"


def _choose(target: Target, *, latest: bool, as_json: bool) -> StoredBackup:
    store = target.source.store
    if target.object_name is not None:
        return find_stored(store, target.object_name)
    if not latest:
        if not as_json:
            show_stored(list_stored(store, per_page=MOST_SHOWN))
        require_object_name(target, "restore")
    stored = find_newest(store, has_key=bool(target.source.identities))
    passed_over = find_passed_over(stored, (found.name for found in store.list()))
    if passed_over:
        messages.print(
            f"Warning: {passed_over} is newer, and passed over: it is not encrypted, and whoever can write "
            "there may have put it there. If it is yours, name it instead of --latest.",
            style="yellow",
            markup=False,
        )
    return stored
