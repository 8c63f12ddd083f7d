"""The log of who did what, data/activity.db.

It is a file of its own, which no restore touches and no backup holds: after a restore it still tells who has
deleted what was restored. Nothing waits for it, and nothing fails with it: see `side_file` and `recorder`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fastcms.activity.schemas import CallerKind, Deed, Entry, EntryPage, Outcome, Who
from fastcms.database import format_utc, utc_now
from fastcms.errors import ActivityError
from fastcms.side_file import SideFile
from fastcms.site import Site
from fastcms.sqlite import sqlite3

MOST_ENTRIES = 20_000
_KEPT_FOR = timedelta(days=2 * 365)
_COLUMNS = "id, time, until, count, who, kind, address, action, sentence, outcome, reason, subject"
_SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, until TEXT NOT NULL, count INTEGER NOT NULL,
    who TEXT NOT NULL, kind TEXT NOT NULL, address TEXT, action TEXT NOT NULL, sentence TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT, subject TEXT
) STRICT;
CREATE INDEX entries_by_time ON entries (until);
CREATE INDEX entries_by_who ON entries (who, kind);
"""


def activity_file(site: Site) -> SideFile:
    return SideFile(site.settings.data_dir / "activity.db", "activity log", _SCHEMA)


def add(site: Site, deed: Deed) -> None:
    """Put something into the log at once. Never raises: see `side_file`."""
    write(site, lambda log: insert(log, deed))


def write(site: Site, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change the log, and forget what is too old. Never raises."""

    def change_and_forget(log: sqlite3.Connection) -> None:
        change(log)
        log.execute("DELETE FROM entries WHERE id <= (SELECT max(id) FROM entries) - ?", [MOST_ENTRIES])
        log.execute("DELETE FROM entries WHERE until < ?", [format_utc(utc_now() - _KEPT_FOR)])

    activity_file(site).write("what somebody has done", change_and_forget)


def insert(log: sqlite3.Connection, deed: Deed, *, sentence: str = "") -> int:
    """Add a line; return its id."""
    time = format_utc(deed.time)
    values = (
        *(time, time, deed.count, *deed.who, deed.action, sentence or deed.sentence),
        *(deed.outcome, deed.reason, deed.subject if not sentence else None),
    )
    (entry_id,) = log.execute(
        f"INSERT INTO entries ({_COLUMNS.removeprefix('id, ')}) "  # noqa: S608 - our own names
        f"VALUES ({', '.join('?' * len(values))}) RETURNING id",
        values,
    ).fetchone()
    return int(entry_id)


def update(
    log: sqlite3.Connection, entry_id: int, began: datetime, *, count: int, until: datetime, sentence: str
) -> bool:
    """Let a line stand for more than one action; False when it is not there any more.

    began: its time, as its id may be another line's by now, where it could not be kept or the log began anew.
    """
    changed = log.execute(
        "UPDATE entries SET count = ?, until = ?, sentence = ? WHERE id = ? AND time = ?",
        (count, format_utc(until), sentence, entry_id, format_utc(began)),
    )
    return changed.rowcount > 0


def add_restore(site: Site, *, sentence: str, requested_by: str, reason: str | None) -> None:
    """Tell what a start of the site has made of a restore; with a reason, it was rolled back."""
    add(
        site,
        Deed(
            time=utc_now(),
            who=Who(requested_by, CallerKind.SITE),
            action="restore.complete" if reason is None else "restore.roll_back",
            sentence=sentence,
            outcome=Outcome.DONE if reason is None else Outcome.REFUSED,
            reason=reason,
        ),
    )


def list_entries(
    site: Site,
    *,
    page: int = 1,
    per_page: int = 50,
    who: str = "",
    action: str = "",
    since: datetime | None = None,
    search: str = "",
) -> EntryPage:
    """What was done, newest first.

    action is the whole name of one, or its first part: `record` has all that begin with `record.`.
    Raises: ActivityError.
    """
    where, values = _conditions(who, action, since, search)
    with _reading(site) as log:
        (total,) = log.execute(f"SELECT count(*) FROM entries {where}", values).fetchone()  # noqa: S608 - our own names
        rows = log.execute(
            f"SELECT {_COLUMNS} FROM entries {where} ORDER BY id DESC LIMIT ? OFFSET ?",  # noqa: S608 - our own names
            [*values, per_page, (page - 1) * per_page],
        ).fetchall()
    return EntryPage(items=[_entry_of(row) for row in rows], total=total, page=page, per_page=per_page)


def list_people(site: Site) -> list[str]:
    """Everybody whom the log has, by name. Raises: ActivityError."""
    with _reading(site) as log:
        return [
            name for (name,) in log.execute("SELECT DISTINCT who FROM entries ORDER BY who COLLATE NOCASE")
        ]


def mend(site: Site) -> None:
    """Begin a damaged log anew; the old one is kept. Raises: ActivityError."""
    with _explained():
        activity_file(site).mend()


@contextmanager
def _reading(site: Site) -> Iterator[sqlite3.Connection]:
    with _explained(), activity_file(site).reading() as log:
        yield log


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ActivityError(
            f"The activity log cannot be read: {error}.",
            hint="Look at the disk's free space and health. If data/activity.db is damaged, move it away: "
            "a new one is begun.",
        ) from error


def _conditions(who: str, action: str, since: datetime | None, search: str) -> tuple[str, list[Any]]:
    found: list[tuple[str, Iterable[Any]]] = []
    if who:
        found.append(("who = ?", [who]))
    if action:
        found.append(("(action = ? OR action LIKE ? ESCAPE '!')", [action, f"{_escaped(action)}.%"]))
    if since is not None:
        found.append(("until >= ?", [_utc_text(since)]))
    if search:
        looked_in = ("sentence", "who", "reason", "address", "subject")
        anywhere = " OR ".join(f"{column} LIKE ? ESCAPE '!'" for column in looked_in)
        found.append((f"({anywhere})", [f"%{_escaped(search)}%"] * len(looked_in)))
    if not found:
        return "", []
    return f"WHERE {' AND '.join(text for text, _ in found)}", [value for _, some in found for value in some]


def _utc_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        return format_utc(moment.replace(tzinfo=UTC))
    try:
        return format_utc(moment)
    except OverflowError:  # within hours of the calendar's ends, where no entry is
        return format_utc(moment.replace(tzinfo=UTC))


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _entry_of(row: tuple[Any, ...]) -> Entry:
    return Entry.model_validate(dict(zip(_COLUMNS.split(", "), row, strict=True)))
