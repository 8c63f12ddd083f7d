"""All that is known of one backup, also when it is damaged: for whoever looks at it before they decide."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from fastcms.backups import archive_contents, verification
from fastcms.backups.archive_contents import BackupContents, FilesInBackup
from fastcms.backups.deletion import is_staged
from fastcms.backups.folder import try_to_see
from fastcms.backups.job_files import Job, list_jobs
from fastcms.backups.listing import Verdict, verdict_of
from fastcms.backups.origin import Origin, read_origin
from fastcms.backups.schemas import Backup
from fastcms.backups.service import find_backup
from fastcms.backups.verification_report import Trial, Verification
from fastcms.backups.whereabouts import AtPlace, look_for_copies
from fastcms.errors import ArchiveError, FastCMSError
from fastcms.site import Site

_NEWEST_FILES = 5
# What a verification has measured, in the order of its steps.
_STEPS = {
    "extract": "Unpacking it, and comparing every byte",
    "check": "Checking the database",
    "sync": "Writing it to the disk",
    "start": "Starting FastCMS on it",
    "read": "Reading the site through its API",
}


class Step(NamedTuple):
    """One step of a verification, in words, and how long it took."""

    words: str
    seconds: float


class OneBackup(NamedTuple):
    """A backup; `problem` is why its contents cannot be shown. If the archive itself is why, it is damaged.

    `trial` is that of the latest verification.
    """

    backup: Backup
    contents: BackupContents | None
    newest_files: FilesInBackup | None
    problem: FastCMSError | None
    verdict: Verdict
    origin: Origin | None
    verification: Verification | None
    trial: Trial | None
    steps: list[Step]
    running: list[Job]
    is_staged: bool
    places: list[AtPlace]


def look_at(site: Site, filename: str) -> OneBackup:
    """Find out all about a backup, as far as that can be done.

    Raises: BackupNotFoundError; InvalidInputError.
    """
    backup = find_backup(site, filename)
    contents = newest_files = origin = problem = None
    try:
        origin = read_origin(Path(backup.path))
        contents = archive_contents.describe_contents(site, filename)
        newest_files = archive_contents.list_files(site, filename, per_page=_NEWEST_FILES)
    except FastCMSError as error:
        problem = error
    latest, running = _find_verification(site, filename), _find_running(site, filename)
    trial = _read_trial(latest)
    return OneBackup(
        backup=backup,
        contents=contents,
        newest_files=newest_files,
        problem=problem,
        verdict=Verdict.DAMAGED if isinstance(problem, ArchiveError) else verdict_of(backup),
        origin=origin,
        verification=latest,
        trial=trial,
        steps=_describe_steps(trial),
        running=running,
        is_staged=bool(try_to_see(is_staged, site, filename)),
        places=look_for_copies(site, [backup], running)[filename],
    )


def _find_verification(site: Site, filename: str) -> Verification | None:
    with suppress(FastCMSError):  # there was none, or the history cannot be read, as the overview says
        return verification.find_verification(site, filename)
    return None


def _read_trial(latest: Verification | None) -> Trial | None:
    """What a trial has found, also in one that failed; None if another version noted it differently."""
    told: dict[str, Any] = ((latest.report or latest.error) if latest else None) or {}
    with suppress(ValidationError):
        return Trial.model_validate(told.get("trial"))
    return None


def _describe_steps(trial: Trial | None) -> list[Step]:
    measured = trial.seconds if trial else {}
    return [Step(words, measured[name]) for name, words in _STEPS.items() if name in measured]


def _find_running(site: Site, filename: str) -> list[Job]:
    """What goes on with it; nothing if that cannot be told, as the page of backups says."""
    found = try_to_see(list_jobs, site) or []
    return [job for job in found if job.is_running and job.backup_filename == filename]
