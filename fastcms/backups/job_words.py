"""What a job does, and how it ended, in words for people."""

from typing import NamedTuple

from fastcms.backups.job_files import Job, JobKind

_ON_THE_DISK = "Making sure that it is on the disk"
# The phases that work tells of.
_PHASES = {
    "starting": "Starting",
    "copying the database": "Copying the database",
    "writing the archive": "Packing the database and the files",
    "making the archive durable": _ON_THE_DISK,
    "copying the archive": "Copying the archive",
    "decrypting": "Decrypting it",
    "extracting": "Reading every byte and comparing it with its checksum",
    "writing to the disk": _ON_THE_DISK,
    "fetching": "Fetching it from where it is kept",
    "copying to the destination": "Sending it to the destination",
    "reading the copy": "Reading the copy, and comparing every byte",
    "waiting to go on": "The connection broke; it goes on by itself when it is back",
    "starting the restored site": "Starting a site that was restored from it, as a test",
    "reading the restored site": "Reading that site as its users do",
}
_PHASES_OF_A_RESTORE = _PHASES | {"extracting": "Unpacking it and comparing every byte with its checksum"}


class JobWords(NamedTuple):
    """`phases` has the words for each phase that a job may come to."""

    doing: str
    succeeded: str
    failed: str
    cancelled: str
    phases: dict[str, str]


def describe_job(job: Job) -> JobWords:
    return JobWords(*_words(job.kind, job.backup_filename, job.place), phases_of(job.kind))


def describe_phase(job: Job) -> str:
    return phases_of(job.kind).get(job.phase, job.phase)


def phases_of(kind: JobKind) -> dict[str, str]:
    return _PHASES_OF_A_RESTORE if kind is JobKind.RESTORE else _PHASES


def _words(kind: JobKind, filename: str | None, place: str | None) -> tuple[str, str, str, str]:
    """What is done, then how that is called when it succeeded, failed and was cancelled."""
    there = f" in {place}" if place else ""
    away = f" from {place}" if place else ""
    if kind is JobKind.CREATE:
        created = f"Created {filename}" if filename else "The backup is complete"
        return "Creating a backup", created, "The backup failed", "The backup was cancelled"
    if kind is JobKind.VERIFY:
        return (
            f"Verifying {filename}{there}",
            f"{filename}{there} is sound",
            f"Verifying {filename}{there} failed",
            f"Verifying {filename}{there} was cancelled",
        )
    if kind is JobKind.RESTORE:
        return (
            f"Preparing the restore of {filename}{away}",
            f"{filename} is checked and ready to be restored",
            f"The restore of {filename} could not be prepared",
            f"Preparing the restore of {filename} was cancelled",
        )
    if kind is JobKind.FETCH:
        return (
            f"Fetching {filename}{away}",
            f"Fetched {filename}{away}",
            f"{filename} could not be fetched{away}",
            f"Fetching {filename}{away} was cancelled",
        )
    if kind is JobKind.COPY:
        to = f" to {place}" if place else ""
        return (
            f"Copying {filename}{to}",
            f"Copied {filename}{to}",
            f"Copying {filename}{to} failed",
            f"Copying {filename}{to} was cancelled",
        )
    added = f"{filename or 'The archive'} is sound and was added"
    return "Checking an uploaded archive", added, "The archive was not added", "The upload was cancelled"
