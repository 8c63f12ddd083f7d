"""Sites in the states that a restore goes through, and what a data folder holds, comparable at a glance."""

import hashlib
import io
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Role
from fastcms.backups import restoring, service
from fastcms.backups.engine.paths import RESTORE_DIR_NAME, RESTORE_ID_NAME, DataPaths, State
from fastcms.backups.engine.pending import fingerprint_of, read_marker, write_marker
from fastcms.backups.engine.undo import find_safety_copy
from fastcms.config import Settings
from fastcms.content.fields import PlainField
from fastcms.content.service import create_collection, create_record, find_collection
from fastcms.durability import remove
from fastcms.media.models import MediaFile
from fastcms.media.service import add_file, delete_file
from fastcms.site import Site, new_site
from fastcms.sqlite import sqlite3
from fastcms.startup import serve_site

# Logins end with a restore; the schema's version is what a restore is made to fail with.
_NOT_CONTENT = ("sessions", "alembic_version")


@dataclass(frozen=True)
class Content:
    """What is live and what the safety copy holds, as hashes; a mixture has a hash that nothing else has."""

    live: str
    safety: str | None


def site_in(data_dir: Path) -> Site:
    return new_site(Settings(_env_file=None, data_dir=data_dir))


def reset(data_dir: Path, template: Path | None) -> None:
    """Make a data folder equal to a template, leaving what may be mount points in place."""
    paths = DataPaths(data_dir)
    for folder in (paths.files_dir, paths.backups_dir, paths.data_dir):
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path not in (paths.files_dir, paths.backups_dir):
                remove(path)
    if template is not None:
        shutil.copytree(template, data_dir, dirs_exist_ok=True)


def make_template(
    data_dir: Path, source: Path | None, target: Path, change: Callable[[Site], object]
) -> Path:
    """Start a server on a copy of source, change its site, and keep what a kill of the server would leave."""
    reset(data_dir, source)
    site = site_in(data_dir)
    with serve_site(site):
        change(site)
        shutil.copytree(data_dir, target)
    return target


def fill(site: Site) -> None:
    """A site with a backup of one state, which then went on to another."""
    with site.database.write() as session:
        create_collection(session, "posts", [PlainField(name="title", type="text")])
    write(site, "first")
    service.create_backup(site)
    with site.database.read() as session:
        file_id = session.scalars(sa.select(MediaFile.id)).one()
    delete_file(site, file_id)
    write(site, "second")


def write(site: Site, name: str) -> None:
    """Add an account, a record and a file, so that every part of a state says which one it is."""
    with site.database.write() as session:
        session.add(Account(email=f"{name}@example.com", password_hash="-", role=Role.ADMIN))
        create_record(session, find_collection(session, "posts"), {"title": name})
    add_file(site, io.BytesIO(name.encode() * 100), f"{name}.txt")


def stage(site: Site) -> None:
    restoring.stage_restore(site, service.list_backups(site)[0].filename, "me")


def make_it_fail(template: Path, target: Path) -> Path:
    """Give a staged database a schema that the start refuses, as if it had been staged so."""
    shutil.copytree(template, target)
    paths = DataPaths(target)
    pending = read_marker(paths)
    assert pending is not None
    database_path = pending.incoming(paths).database
    with closing(sqlite3.connect(database_path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'from the future'")
    write_marker(paths, replace(pending, fingerprint=fingerprint_of(pending.incoming(paths))))
    return target


def content_of(data_dir: Path) -> Content:
    """What a data folder that nobody uses holds. Opening it changes nothing but its WAL."""
    paths = DataPaths(data_dir)
    safety = find_safety_copy(paths)
    return Content(_hash(paths.live), _hash(safety.state) if safety else None)


def _hash(state: State) -> str:
    digest = hashlib.sha256()
    with closing(sqlite3.connect(state.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        for (table,) in tables:
            if table not in _NOT_CONTENT:
                rows = database.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()
                digest.update(repr((table, rows)).encode())
    for path in sorted(state.files.rglob("*")):
        name = path.relative_to(state.files)
        if path.is_file() and name.parts[0] not in (RESTORE_DIR_NAME, RESTORE_ID_NAME, ".trash"):
            digest.update(repr((str(name), path.read_bytes())).encode())
    return digest.hexdigest()[:12]
