"""One site with a backup of it, which every attack is grafted onto."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Role
from fastcms.backups.service import create_backup
from fastcms.config import Settings
from fastcms.content import service as content
from fastcms.media.models import MediaFile
from fastcms.site import Site, new_site
from tests.hostile.grafting import Graft


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with an account, an upload, and two collections that refer to it and to each other."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    (folder / "files").mkdir(parents=True)
    site = new_site(Settings(_env_file=None, data_dir=folder))
    site.database.migrate()
    picture = b"a picture" * 50
    (folder / "files/picture_0123.txt").write_bytes(picture)
    with site.database.write() as session:
        session.add(Account(email="admin@example.com", password_hash="x", role=Role.ADMIN))
        file = MediaFile(
            path="picture_0123.txt",
            filename="picture.txt",
            content_type="text/plain",
            size_bytes=len(picture),
            sha256=hashlib.sha256(picture).hexdigest(),
        )
        session.add(file)
        session.flush()
        authors = content.create_collection(session, "authors", [{"name": "name", "type": "text"}])
        posts = content.create_collection(
            session,
            "posts",
            [
                {"name": "title", "type": "text", "required": True},
                {"name": "author", "type": "relation", "collection": "authors"},
                {"name": "cover", "type": "file"},
                {"name": "size", "type": "number"},
            ],
        )
        author = content.create_record(session, authors, {"name": "A"})
        content.create_record(session, posts, {"title": "T", "author": author.id, "cover": file.id})
    return site


@pytest.fixture(scope="session")
def entries(victim: Site) -> dict[str, bytes]:
    """The entries of a backup of the site."""
    with zipfile.ZipFile(create_backup(victim).path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "files/"}


@pytest.fixture
def graft(entries: dict[str, bytes]) -> Graft:
    return Graft(entries)


@pytest.fixture
def backups_dir(victim: Site) -> Path:
    return victim.settings.data_dir / "backups"
