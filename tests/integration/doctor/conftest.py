"""What the tests of the doctor share: a site that is not running, and ways to look at it and to break it."""

import hashlib
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastcms.accounts.service import create_account
from fastcms.backups import restoring, service
from fastcms.config import Settings
from fastcms.doctor.examination import Report, examine
from fastcms.doctor.findings import Level
from fastcms.media.service import add_file
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import serve_site, use_site

NOTHING = {"not_serving"}
UPLOAD = "one_two_three.txt"


@pytest.fixture
def stopped(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """A site that is not running, with one account, one upload and one backup."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(settings.data_dir))
    site = new_site(settings)
    with serve_site(site):
        with site.database.write() as session:
            create_account(session, "me@example.com", "correct horse battery")
        source = tmp_path / UPLOAD
        source.write_bytes(b"one two three")
        with source.open("rb") as file:
            add_file(site, file, UPLOAD)
        service.create_backup(site)
    return site


def state_of(folder: Path) -> dict[str, Any]:
    """Everything that is in a folder: names, modes, times and bytes."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_mtime_ns, content)
    return found


def examine_unchanged(site: Site, *, is_deep: bool = False) -> Report:
    before = state_of(site.settings.data_dir)
    report = examine(is_deep=is_deep)
    assert state_of(site.settings.data_dir) == before
    return report


def codes(report: Report) -> set[str]:
    """The codes of everything that is not simply well."""
    return {finding.code for finding in report.findings if finding.level is not Level.OK}


def found(site: Site, *, is_deep: bool = False) -> set[str]:
    return codes(examine_unchanged(site, is_deep=is_deep)) - NOTHING


def message_of(site: Site, code: str) -> str:
    return next(finding.message for finding in examine_unchanged(site).findings if finding.code == code)


def data(site: Site, name: str) -> Path:
    return site.settings.data_dir / name


def upload_path(site: Site) -> Path:
    (path,) = (path for path in site.settings.files_dir.iterdir() if path.is_file())
    return path


def backup_path(site: Site) -> Path:
    (path,) = site.settings.backups_dir.glob("*.zip")
    return path


def add_private_file(path: Path, content: bytes = b"x") -> None:
    path.write_bytes(content)
    path.chmod(0o600)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def change_database(site: Site, *statements: str) -> None:
    """Change app.db as another program would, leaving no WAL behind."""
    with closing(sqlite3.connect(site.settings.database_path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def stage(site: Site) -> None:
    with use_site(site):
        restoring.stage_restore(site, backup_path(site).name, "me")


def serve_until_tidy(site: Site) -> None:
    with serve_site(site):
        deadline = time.monotonic() + 30
        # Not `rglob`, which goes into what is being removed.
        while [*site.settings.data_dir.glob(".discarded-*"), *site.settings.backups_dir.glob(".discarded-*")]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def restore(site: Site) -> None:
    stage(site)
    serve_until_tidy(site)
