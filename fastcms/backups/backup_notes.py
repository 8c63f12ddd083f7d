"""What is noted of each backup beside its archive: who has pinned it, and whether it was verified.

It stands in the history, which no restore touches: see `history_file`.
"""

import json
from enum import StrEnum
from typing import Any, NamedTuple

from fastcms.backups.history_file import reading, write
from fastcms.site import Site

_NOTES = (
    "filename, trigger, seconds, app_version, pinned, pinned_by, "
    "verified, verified_level, verified_outcome, verified_reason, crc32"
)


class VerificationLevel(StrEnum):
    """light: every byte was compared with its checksum. full: a site was restored from it and started."""

    LIGHT = "light"
    FULL = "full"


class VerificationOutcome(StrEnum):
    OK = "ok"
    FAILED = "failed"


class Notes(NamedTuple):
    """What is known of one backup beside its archive; times as text, for there are many.

    `crc32` is that of the archive's file as it was written here, or received, or first verified.
    """

    filename: str
    trigger: str | None = None
    seconds: float | None = None
    app_version: str | None = None
    pinned: str | None = None
    pinned_by: str | None = None
    verified: str | None = None
    verified_level: str | None = None
    verified_outcome: str | None = None
    verified_reason: str | None = None
    crc32: int | None = None


def read_notes(site: Site, filename: str | None = None) -> dict[str, Notes]:
    """What is noted of each backup, or of one, by filename; some may have been deleted since.

    Raises: BackupError.
    """
    where, values = ("", []) if filename is None else ("WHERE filename = ?", [filename])
    with reading(site) as history:
        rows = history.execute(f"SELECT {_NOTES} FROM notes {where}", values).fetchall()  # noqa: S608 - our own names
    return {row[0]: Notes._make(row) for row in rows}


def note(site: Site, filename: str, **changed: Any) -> None:
    """Note something of a backup, by the names of `Notes`' fields and `report`. Never raises."""
    columns = list(changed)
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
    query = (
        f"INSERT INTO notes (filename, {', '.join(columns)}) VALUES (?{', ?' * len(columns)}) "  # noqa: S608 - our own names
        f"ON CONFLICT (filename) DO UPDATE SET {updates}"
    )
    write(site, filename, lambda history: history.execute(query, [filename, *changed.values()]))


def forget_notes(site: Site, filename: str) -> None:
    """Forget what was noted of a backup that was deleted. Never raises: see `history_file`."""
    query = "DELETE FROM notes WHERE filename = ?"
    write(site, filename, lambda history: history.execute(query, [filename]))


def read_report(site: Site, filename: str) -> dict[str, Any] | None:
    """The report of a backup's latest verification. Raises: BackupError."""
    with reading(site) as history:
        row = history.execute("SELECT report FROM notes WHERE filename = ?", [filename]).fetchone()
    report: dict[str, Any] | None = json.loads(row[0]) if row and row[0] else None
    return report
