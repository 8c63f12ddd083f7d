"""How templates write times and sizes."""

from datetime import UTC, datetime

import humanize

from fastcms.backups.job_words import describe_job, describe_phase
from fastcms.database import utc_now


def ago(moment: datetime) -> str:
    """How long ago, as a person says it: '3 minutes ago'."""
    return humanize.naturaltime(utc_now() - moment)


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size(size_bytes: int) -> str:
    """In units of 1024, as the API's size_mb is."""
    return humanize.naturalsize(size_bytes, binary=True).replace("iB", "B")


def machine_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


ALL = {
    "ago": ago,
    "utc": utc,
    "size": size,
    "machine_time": machine_time,
    "job_words": describe_job,
    "phase_words": describe_phase,
}
