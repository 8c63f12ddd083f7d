"""Which backup has a copy where, and what became of those that it should have: a table of the history."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from fastcms.backups.history_file import reading, write
from fastcms.database import format_utc, utc_now
from fastcms.errors import BackupError
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_COPY = (
    "filename, destination, place, state, since, object_name, is_encrypted, "
    "size_bytes, sha256, archive_sha256, version, checked, tried, attempts, next_try, "
    "reason, hint, code, needs_somebody"
)
# Of more names than that, it is quicker to read the copies of all.
_FEW = 500


class CopyState(StrEnum):
    """waiting: it will be made. failed: it is tried again. gone: it was there, and need not be any more."""

    WAITING = "waiting"
    COPYING = "copying"
    COPIED = "copied"
    FAILED = "failed"
    GONE = "gone"


class Checked(StrEnum):
    """How a copy is known to be whole: by the far side's checksum, or by reading it, or by decrypting it."""

    FAR_SIDE = "far_side"
    READ_BACK = "read_back"
    DECRYPTED = "decrypted"


class Copy(NamedTuple):
    """A backup at a destination, or on its way there; times as text, for there are many.

    `since` is when the state began; what `needs_somebody` fails until somebody does something. Size, version
    and `sha256` are of the object, `archive_sha256` is of the archive in it.
    """

    filename: str
    destination: str
    place: str
    state: str
    since: str
    object_name: str
    is_encrypted: bool = False
    size_bytes: int | None = None
    sha256: str | None = None
    archive_sha256: str | None = None
    version: str | None = None
    checked: str | None = None
    tried: str | None = None
    attempts: int = 0
    next_try: str | None = None
    reason: str | None = None
    hint: str | None = None
    code: str | None = None
    needs_somebody: bool = False


class Summary(NamedTuple):
    """The copies at one destination, counted; the newest there, and the failed one that matters most.

    `missing` is the oldest backup that was made after the newest which is there, while one of them is to be
    copied; also one that is not here any more.
    """

    copied: int = 0
    copied_bytes: int = 0
    waiting: int = 0
    failed: int = 0
    newest: Copy | None = None
    worst: Copy | None = None
    missing: str | None = None


def list_copies(site: Site, filename: str | None = None, *, destination: str | None = None) -> list[Copy]:
    """The copies of all backups or of one, at all destinations or at one, newest backup first.

    Raises: BackupError.
    """
    return _select(site, {"filename = ?": filename, "destination = ?": destination})


def copies_by_filename(site: Site, filenames: Iterable[str]) -> Mapping[str, Sequence[Copy]]:
    """The copies that were made under these names; none where the history cannot be read, as the status says.

    Of what is here under such a name by now, they may be no copies: see `whereabouts`.
    """
    names, found = list(filenames), defaultdict(list)
    wanted = json.dumps(names) if len(names) <= _FEW else None
    with suppress(BackupError):
        for copy in _select(site, {"filename IN (SELECT value FROM json_each(?))": wanted}):
            found[copy.filename].append(copy)
    return dict(found)


def summarize_copies(site: Site, destination: str, last_name: str) -> Summary:
    """What there is at a destination, quickly also of thousands. What is named later counts as no newest.

    Raises: BackupError.
    """
    where = f"SELECT {_COPY} FROM copies WHERE destination = ? AND"  # noqa: S608 - our own names
    with reading(site) as history:
        if not _has_table(history):
            return Summary()
        counted = {
            state: (count, size_bytes)
            for state, count, size_bytes in history.execute(
                "SELECT state, count(*), sum(size_bytes) FROM copies WHERE destination = ? GROUP BY state",
                [destination],
            )
        }
        newest = history.execute(
            f"{where} state = ? AND checked IS NOT NULL AND filename <= ? ORDER BY filename DESC LIMIT 1",
            [destination, CopyState.COPIED, last_name],
        ).fetchone()
        worst = history.execute(
            f"{where} state = ? ORDER BY needs_somebody DESC, filename DESC LIMIT 1",
            [destination, CopyState.FAILED],
        ).fetchone()
        missing = _find_missing(history, destination, newest[0] if newest else "", last_name)
    copied, copied_bytes = counted.get(CopyState.COPIED, (0, 0))
    return Summary(
        copied=copied,
        copied_bytes=copied_bytes or 0,
        waiting=sum(counted.get(state, (0, 0))[0] for state in (CopyState.WAITING, CopyState.COPYING)),
        failed=counted.get(CopyState.FAILED, (0, 0))[0],
        newest=newest and _copy_of(newest),
        worst=worst and _copy_of(worst),
        missing=missing,
    )


def _find_missing(history: sqlite3.Connection, destination: str, newest: str, last_name: str) -> str | None:
    open_states = (CopyState.WAITING, CopyState.COPYING, CopyState.FAILED)
    (found,) = history.execute(
        "SELECT min(filename) FROM copies WHERE destination = ? AND state IN (?, ?, ?) "
        "AND filename > ? AND filename <= ?",
        [destination, *open_states, newest, last_name],
    ).fetchone()
    if found is None:
        return None
    # Where few are kept, those that were never copied are gone before anybody wonders.
    (made,) = history.execute(
        "SELECT min(backup_filename) FROM runs WHERE kind = 'create' AND state = 'succeeded' "
        "AND backup_filename > ? AND backup_filename < ?",
        [newest, found],
    ).fetchone()
    return str(made or found)


def newest_names(site: Site) -> dict[str, str]:
    """The newest backup of which something is noted at each destination; none where that cannot be read."""
    with suppress(BackupError), reading(site) as history:
        if _has_table(history):
            return dict(history.execute("SELECT destination, max(filename) FROM copies GROUP BY destination"))
    return {}


def has_encrypted(site: Site) -> bool:
    """Whether any copy is encrypted. Raises: BackupError."""
    with reading(site) as history:
        query = "SELECT 1 FROM copies WHERE is_encrypted AND state = ? LIMIT 1"
        return _has_table(history) and history.execute(query, [CopyState.COPIED]).fetchone() is not None


def save_copies(site: Site, copies: Iterable[Copy]) -> None:
    """Note what became of copies. Never raises: see `history_file`."""
    rows = [tuple(copy) for copy in copies]
    marks = ", ".join("?" * len(Copy._fields))
    query = f"INSERT OR REPLACE INTO copies ({_COPY}) VALUES ({marks})"  # noqa: S608 - as above
    if rows:
        write(site, "copies", lambda history: history.executemany(query, rows))


def note_checked(site: Site, copy: Copy, checked: Checked) -> None:
    """Note how a copy is known to be whole, if it is still the same. Never raises: see `history_file`."""
    query = "UPDATE copies SET checked = ? WHERE filename = ? AND destination = ? AND sha256 = ?"
    values = [checked, copy.filename, copy.destination, copy.sha256]
    write(site, "copies", lambda history: history.execute(query, values))


def wait_no_longer(site: Site, destination: str) -> None:
    """Let no copy at a destination wait for its next try. Never raises: see `history_file`."""
    query = "UPDATE copies SET next_try = NULL WHERE destination = ? AND next_try IS NOT NULL"
    write(site, "copies", lambda history: history.execute(query, [destination]))


def forget_copies(site: Site, copies: Iterable[Copy]) -> None:
    """Forget copies that are not there any more, and not wanted. Never raises: see `history_file`."""
    keys = [(copy.filename, copy.destination) for copy in copies]
    query = "DELETE FROM copies WHERE filename = ? AND destination = ?"
    if keys:
        write(site, "copies", lambda history: history.executemany(query, keys))


def changed(copy: Copy, state: CopyState, now: datetime | None = None, **others: Any) -> Copy:
    """The copy in a state, which begins now unless it is in it already."""
    since = copy.since if copy.state == state else format_utc(now or utc_now())
    return copy._replace(state=state, since=since, **others)


def _select(site: Site, wanted: Mapping[str, str | None]) -> list[Copy]:
    """The copies that meet all conditions which have a value."""
    found = {condition: value for condition, value in wanted.items() if value is not None}
    where = f"WHERE {' AND '.join(found)}" if found else ""
    query = f"SELECT {_COPY} FROM copies {where} ORDER BY filename DESC, place"  # noqa: S608 - our own names
    with reading(site) as history:
        if not _has_table(history):
            return []
        return [_copy_of(row) for row in history.execute(query, list(found.values()))]


def _has_table(history: sqlite3.Connection) -> bool:
    """Not so if nothing was written since the update that brought the table."""
    return history.execute("SELECT 1 FROM sqlite_schema WHERE name = 'copies'").fetchone() is not None


def _copy_of(row: tuple[Any, ...]) -> Copy:
    # SQLite knows no truth values; `_replace` takes twice as long, for thousands.
    return Copy._make((*row[:6], bool(row[6]), *row[7:-1], bool(row[-1])))
