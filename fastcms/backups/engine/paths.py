"""Where everything is below a data folder; docs/architecture.md shows it as a tree."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

# Below data/files, for what has to be on the same mount as the files themselves. No upload has such a name.
RESTORE_DIR_NAME = ".restore"
# In a state's files while it is on its way: the id of its restore. It moves last, so it proves the rest.
RESTORE_ID_NAME = ".restore_id"


@dataclass(frozen=True)
class State:
    """A place that can hold a whole state of a site: its database and its folder of files."""

    database: Path
    files: Path

    @property
    def wal(self) -> Path:
        return beside(self.database, "-wal")

    @property
    def shm(self) -> Path:
        return beside(self.database, "-shm")


@dataclass(frozen=True)
class DataPaths:
    """The layout of a data folder.

    `replaced` and `safety` depend on whether data/files can be renamed, or is a mount point of its own: see
    `are_files_apart`.
    """

    data_dir: Path

    @property
    def database(self) -> Path:
        return self.data_dir / "app.db"

    @property
    def files_dir(self) -> Path:
        return self.data_dir / "files"

    @property
    def backups_dir(self) -> Path:
        return self.data_dir / "backups"

    @property
    def live(self) -> State:
        return State(self.database, self.files_dir)

    def replaced(self, *, files_apart: bool) -> State:
        """Where the state that a restore replaces is until the restore has succeeded."""
        files = self.restore_dir / "replaced" if files_apart else self.data_dir / "files.replaced"
        return State(self.data_dir / "app.db.replaced", files)

    def safety(self, *, files_apart: bool) -> State:
        """Where it is afterwards: the safety copy."""
        files = self.restore_dir / "before_restore" if files_apart else self.data_dir / "files.before_restore"
        return State(self.data_dir / "app.db.before_restore", files)

    @property
    def restore_dir(self) -> Path:
        return self.files_dir / RESTORE_DIR_NAME

    @property
    def staging_dir(self) -> Path:
        return self.backups_dir / "restore_staging"

    @property
    def staging_dirs(self) -> tuple[Path, Path, Path]:
        """Where a restore may be prepared, in order of preference: next to what it will replace."""
        return self.staging_dir, self.data_dir / ".restore_staging", self.restore_dir / "staging"

    @property
    def marker(self) -> Path:
        return self.backups_dir / ".restore_pending"

    @property
    def receipts(self) -> Path:
        return self.backups_dir / "restores.jsonl"


def beside(path: Path, suffix: str) -> Path:
    """The path with a suffix appended to its name: app.db -> app.db-wal."""
    return path.with_name(path.name + suffix)


def are_files_apart(paths: DataPaths) -> bool:
    """Whether data/files cannot be renamed below data: a mount point, or a link to elsewhere."""
    files_dir = paths.files_dir
    return files_dir.exists() and (files_dir.is_symlink() or not is_one_mount(paths.data_dir, files_dir))


def is_one_mount(one_dir: Path, other_dir: Path) -> bool:
    """Whether a file of one folder can be renamed into the other.

    One file system may be mounted twice, as containers do it; then st_dev is the same, and only a rename
    tells (https://man7.org/linux/man-pages/man2/rename.2.html, EXDEV). Linux compares the mounts before it
    refuses to rename a folder's dot, so nothing can move.
    """
    if one_dir.stat().st_dev != other_dir.stat().st_dev:
        return False
    try:
        os.rename(f"{one_dir}/.", f"{other_dir}/.")  # noqa: PTH104 - a Path would drop the dot
    except OSError as error:
        return error.errno != errno.EXDEV
    return True
