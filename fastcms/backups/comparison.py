"""What a restore changes on a site, as far as counting tells: how much there was then, and is now."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from humanize import intcomma
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from fastcms.backups.contents import count_contents, count_live_contents
from fastcms.backups.engine.verify import open_unchanged
from fastcms.errors import ArchiveError
from fastcms.site import Site
from fastcms.sqlite import sqlite3

_COUNTED = ("records", "files", "accounts", "collections")
_RECORDS_OF = "records:"


class Count(BaseModel):
    """How many there were at the time that a restore leads back to, and how many there are now.

    `name` is accounts, collections, files, records, or records:NAME of one collection; null is not known.
    """

    name: str
    then: int | None
    now: int | None

    @property
    def collection(self) -> str | None:
        """The collection whose records are counted; None for what is counted of the whole site."""
        return self.name.removeprefix(_RECORDS_OF) if self.name.startswith(_RECORDS_OF) else None


def compare_counts(then: Mapping[str, int] | None, now: Mapping[str, int] | None) -> list[Count]:
    """The whole site first, then each collection by name; one that a side does not have has 0 records."""
    sides = [side for side in (then, now) if side is not None]
    collections = sorted({name for side in sides for name in side if name.startswith(_RECORDS_OF)})

    def count(side: Mapping[str, int] | None, name: str) -> int | None:
        return None if side is None else side.get(name, 0)

    return [
        Count(name=name, then=count(then, name), now=count(now, name)) for name in (*_COUNTED, *collections)
    ]


def count_live(site: Site) -> dict[str, int] | None:
    """The site as it is now; None when its database cannot be read, which may be why somebody restores."""
    try:
        return count_live_contents(site)
    except (sqlite3.Error, DBAPIError, TypeError):
        return None


def count_database(path: Path) -> dict[str, int] | None:
    """What a database that nobody has open holds; None when it cannot be read."""
    try:
        with open_unchanged(path) as database:
            return count_contents(database)
    except (ArchiveError, TypeError, OSError):
        return None


def describe_difference(counts: Sequence[Count]) -> list[str]:
    """Say in sentences what goes and what comes back, honestly: counts do not show what was edited."""
    unread = [when for when in ("now", "then") if any(getattr(count, when) is None for count in counts)]
    if unread:
        return [
            f"What this changes cannot be counted: the database of {' and of '.join(unread)} cannot be read."
        ]
    lost, back = list(_differences(counts, 1)), list(_differences(counts, -1))
    sentences = []
    if lost:
        sentences.append(f"Going by the counts, you lose at least {_in_words(lost)}.")
    if back:
        verb = "comes" if sum(number for _, number in back) == 1 else "come"
        sentences.append(f"At least {_in_words(back)} {verb} back.")
    if not sentences:
        sentences.append("There is as much now as there was then.")
    return [*sentences, "What was edited meanwhile goes back, too; counts do not show that."]


def _differences(counts: Sequence[Count], sign: int) -> Iterator[tuple[str, int]]:
    """What there is more of now (sign 1), or was more of then (-1); records in each collection."""
    for name in _COUNTED:
        parts = [count for count in counts if count.name == name]
        if name == "records":
            parts = [count for count in counts if count.collection is not None]
        difference = sum(max(sign * ((part.now or 0) - (part.then or 0)), 0) for part in parts)
        if difference:
            yield name, difference


def _in_words(differences: Sequence[tuple[str, int]]) -> str:
    parts = [f"{intcomma(number)} {name if number > 1 else name[:-1]}" for name, number in differences]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
