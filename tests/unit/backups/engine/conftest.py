"""A data folder as the engine sees it: a live WAL database, files, and an archive made from them."""

import shutil
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_writer import ArchiveWriter
from fastcms.backups.engine.manifest import METADATA_NAME, BackupManifest
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.snapshot import write_snapshot
from fastcms.durability import new_file
from fastcms.sqlite import sqlite3

REVISIONS = ["0001"]


def execute(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Run statements on a database and return the rows of the last one."""
    rows: list[tuple[object, ...]] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


def posts(path: Path) -> list[object]:
    return [title for (title,) in execute(path, "SELECT title FROM posts ORDER BY title")]


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    """A live site with one post, 'old', and one file."""
    paths = DataPaths(tmp_path / "data")
    paths.backups_dir.mkdir(parents=True)
    paths.files_dir.mkdir()
    (paths.files_dir / "picture.txt").write_text("old picture")
    execute(
        paths.database,
        "PRAGMA journal_mode=WAL",
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('0001')",
        "CREATE TABLE posts (title TEXT)",
        "CREATE TABLE sessions (token TEXT)",
        "INSERT INTO sessions VALUES ('somebody')",
        "INSERT INTO posts VALUES ('old')",
    )
    return paths


@pytest.fixture
def archive_path(paths: DataPaths) -> Path:
    """A backup of another state: the post 'new', and other files."""
    return make_archive(paths.backups_dir / "backup_20250115_100000.zip", paths)


def make_archive(path: Path, paths: DataPaths) -> Path:
    source = path.with_suffix(".source")
    source.mkdir()
    shutil.copy(paths.database, source / "app.db")
    execute(source / "app.db", "DELETE FROM posts", "INSERT INTO posts VALUES ('new')")
    write_snapshot(source / "app.db", source / "database.db")
    (source / "one.txt").write_text("new picture")
    (source / "日本語.txt").write_text("名前")
    manifest = BackupManifest(path.stem, "2025-01-15T10:00:00Z", "0.1.0", "0001", {"posts": 1}, 1, 2)
    with new_file(path) as target, ArchiveWriter(target, source) as archive:
        for name, file_path in {
            "database.db": source / "database.db",
            "files/one.txt": source / "one.txt",
            "files/deep/日本語.txt": source / "日本語.txt",
        }.items():
            with file_path.open("rb") as file:
                archive.add_file(name, file, lambda _: None)
        archive.add_text(METADATA_NAME, manifest.to_json(), 0)
    shutil.rmtree(source)
    return path


Rewrite = Callable[[Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes] | None]], Path]


@pytest.fixture
def rewrite(archive_path: Path) -> Rewrite:
    """Make a changed copy of the archive: the callable gets each entry and returns another, or None."""

    def make(change: Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes] | None]) -> Path:
        target = archive_path.with_name("backup_20250115_100001.zip")
        with zipfile.ZipFile(archive_path) as old, zipfile.ZipFile(target, "w") as new:
            for info in old.infolist():
                changed = change(info, old.read(info))
                if changed is not None:
                    new.writestr(*changed)
        return target

    return make
