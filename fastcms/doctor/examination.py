"""All checks, in the order in which they are made and shown."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fastcms.config import load_settings
from fastcms.doctor import backups, database, files, folders, keys, machine, restores
from fastcms.doctor.findings import Check, Finding, Subject, problem
from fastcms.errors import ConfigError, FastCMSError
from fastcms.sqlite import sqlite3

CHECKS: Mapping[str, Sequence[Check]] = {
    "Data folder": (folders.check_data_folder, folders.check_permissions, folders.check_locks),
    "Machine": (machine.check_versions, machine.check_space, machine.check_mounts, machine.check_clock),
    "Database": (
        database.check_database_file,
        database.check_journals,
        database.check_contents,
        backups.check_lost_database,
    ),
    "Uploaded files": (files.check_rows, files.check_files_without_row, files.check_left_overs),
    "Restores": (
        restores.check_pending,
        restores.check_latest,
        restores.check_left_overs,
        restores.check_safety_copy,
    ),
    "Backups": (
        backups.check_status,
        backups.check_archives,
        backups.check_destinations,
        keys.check_keys,
        backups.check_history,
    ),
}

WITHOUT_DATA_FOLDER: Mapping[str, Sequence[Check]] = {
    "Data folder": (folders.check_data_folder,),
    "Machine": (machine.check_versions,),
}


@dataclass(frozen=True)
class Report:
    """What was found, by group."""

    groups: Mapping[str, Sequence[Finding]]

    @property
    def findings(self) -> list[Finding]:
        return [finding for group in self.groups.values() for finding in group]

    @property
    def is_healthy(self) -> bool:
        return not any(finding.level.is_wrong for finding in self.findings)


def examine(*, is_deep: bool = False) -> Report:
    """Make every check that can be made. Nothing is changed, whatever state the installation is in."""
    try:
        settings = load_settings()
    except ConfigError as error:
        return Report({"Settings": [problem("settings_invalid", error.message, error.hint)]})
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    subject = Subject(settings, datetime.now(UTC), is_deep)
    # Whoever cannot look into the folder would take everything in it for missing.
    is_closed = not os.access(settings.data_dir, os.R_OK | os.X_OK)
    checks = WITHOUT_DATA_FOLDER if is_closed or folders.is_foreign(subject.paths) else CHECKS
    return Report(
        {
            group: [finding for check in group_checks for finding in _run(check, subject)]
            for group, group_checks in checks.items()
        }
    )


def _run(check: Check, subject: Subject) -> Iterator[Finding]:
    """Make a check, and put what it says into characters that any terminal may be sent."""
    for finding in _try(check, subject):
        yield replace(finding, message=_printable(finding.message), hint=_printable(finding.hint))


def _try(check: Check, subject: Subject) -> Iterator[Finding]:
    """Make a check; one that cannot be made is a finding itself."""
    try:
        yield from check(subject)
    except OSError as error:
        yield problem(
            "check_failed",
            f"{error.filename or 'A file'} could not be looked at: {error.strerror}.",
            "Run this as the user whom the data folder belongs to; if that is so, look at the disk's health.",
        )
    except (FastCMSError, sqlite3.Error) as error:
        yield problem("check_failed", f"A check could not be made: {error}.", getattr(error, "hint", ""))


def _printable(text: str) -> str:
    """Names of files may hold anything: commands to the terminal, or bytes that are no text."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
