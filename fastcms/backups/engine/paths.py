"""Where everything is below a data folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataPaths:
    """The layout of a data folder; docs/architecture.md shows it as a tree."""

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
    def staging_dir(self) -> Path:
        return self.backups_dir / "restore_staging"

    @property
    def discarded_staging_dir(self) -> Path:
        return self.backups_dir / ".discarded_staging"

    @property
    def staged_database(self) -> Path:
        return self.staging_dir / "database.db"

    @property
    def staged_files_dir(self) -> Path:
        return self.staging_dir / "files"

    @property
    def marker(self) -> Path:
        return self.backups_dir / ".restore_pending"

    @property
    def receipts(self) -> Path:
        return self.backups_dir / "restores.jsonl"

    @property
    def safety_database(self) -> Path:
        return self.data_dir / "app.db.before_restore"

    @property
    def safety_files_dir(self) -> Path:
        return self.data_dir / "files.before_restore"


def beside(path: Path, suffix: str) -> Path:
    """The path with a suffix appended to its name: app.db -> app.db-wal."""
    return path.with_name(path.name + suffix)
