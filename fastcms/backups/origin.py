"""Where an uploaded archive came from, and whom it would let in: `.<its name>.uploaded` beside it.

The record is durable before the archive has its name, and removed after the archive: an uploaded archive is
never without one. A crash leaves at most a record without an archive, which the next start removes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from fastcms.backups.engine.paths import DataPaths
from fastcms.durability import fsync_folder, remove, write_durably
from fastcms.errors import ConflictError
from fastcms.locks import FileLock

_SUFFIX = ".uploaded"


@dataclass(frozen=True)
class Newcomers:
    """Who could do everything on the site that an archive holds: admins by email, API tokens by name."""

    admins: list[str]
    admin_tokens: list[str]


@dataclass(frozen=True)
class Origin:
    """Who brought an archive from another machine, and when (ISO 8601, UTC), and from which destination.

    encrypted_to: the public keys of those that have opened it, if it came encrypted.
    """

    uploaded_by: str
    uploaded: str
    sha256: str
    newcomers: Newcomers
    fetched_from: str | None = None
    encrypted_to: list[str] = field(default_factory=list)

    @property
    def uploaded_at(self) -> datetime:
        return datetime.fromisoformat(self.uploaded)


@contextmanager
def hold_records(paths: DataPaths, *, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock under which records are made; those that a crash left without an archive are removed.

    Raises: BackupBusyError.
    """
    paths.backups_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(paths.backups_dir / ".receiving")
    with lock.hold(purpose="checking an archive", timeout_seconds=timeout_seconds):
        for record in paths.backups_dir.glob(f".backup_*{_SUFFIX}"):
            if not (paths.backups_dir / record.name.removeprefix(".").removesuffix(_SUFFIX)).exists():
                remove(record)
        yield


def record_name(filename: str) -> str:
    return f".{filename}{_SUFFIX}"


def record_path(archive_path: Path) -> Path:
    return archive_path.with_name(record_name(archive_path.name))


def write_origin(archive_path: Path, origin: Origin, scratch_dir: Path) -> None:
    """Make the record durable, by way of scratch_dir: a backup removes what lies unfinished beside it."""
    prepared_path = scratch_dir / "origin.json"
    write_durably(prepared_path, json.dumps(asdict(origin), indent=2).encode())
    prepared_path.replace(record_path(archive_path))
    fsync_folder(archive_path.parent)


def read_origin(archive_path: Path) -> Origin | None:
    """Where an archive came from; None for one that was made here.

    Raises: ConflictError when the record is not one of ours.
    """
    path = record_path(archive_path)
    try:
        values = json.loads(path.read_bytes())
        datetime.fromisoformat(values["uploaded"])
        return Origin(**(values | {"newcomers": Newcomers(**values["newcomers"])}))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConflictError(
            f"{path} cannot be read, so nobody can say whom {archive_path.name} would let in.",
            hint="Keep a copy of the archive elsewhere, delete it here, and import the copy again.",
            code="upload_record_unreadable",
        ) from error
