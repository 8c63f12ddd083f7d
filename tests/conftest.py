"""Fixtures that many tests share: a fresh site in a temporary folder, and clients with different rights."""

import gc
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType

import fastapi.dependencies.models
import hypothesis
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from jinja2.bccache import Bucket, BytecodeCache

from fastcms.accounts import passwords
from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Role
from fastcms.admin.frame import Dashboard
from fastcms.backups import service
from fastcms.config import Settings
from fastcms.main import create_app
from fastcms.site import Site, new_site
from fastcms.startup import serve_site
from tests.object_servers import ObjectServer, azurite, fake_gcs, seaweedfs

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

ADMIN = "admin@example.com"
EDITOR = "editor@example.com"
PASSWORD = "correct horse battery"
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-E"]  # for mounts and other users' files


def pytest_configure() -> None:
    """What is imported and collected stays: looking through it again and again takes a sixth of all time."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def forget_applications() -> Iterator[None]:
    """FastAPI remembers every endpoint that it has seen, and with them every application of the tests.

    Within a module, that saves a third of the time that each new application takes.
    """
    yield
    for remembered in vars(fastapi.dependencies.models).values():
        if hasattr(remembered, "cache_clear"):
            remembered.cache_clear()


class CompiledTemplates(BytecodeCache):
    """What Jinja has made of each template; without it, each application would compile them anew."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def compile_templates_once() -> Iterator[None]:
    compiled = CompiledTemplates()
    set_up_templates = Dashboard._setup_templates

    def set_up_compiled(dashboard: Dashboard) -> None:
        set_up_templates(dashboard)
        dashboard.templates.env.bytecode_cache = compiled

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dashboard, "_setup_templates", set_up_compiled)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data")


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """An empty folder that backups are copied to."""
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def stopped(settings: Settings) -> Site:
    """A site with one backup, not running."""
    site = new_site(settings)
    with serve_site(site):
        service.create_backup(site)
    return site


@pytest.fixture
def anonymous(settings: Settings) -> Iterator[TestClient]:
    """A client without a token, on a running application."""
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def hash_quickly() -> Iterator[None]:
    """Hashing is slow on purpose; only servers and commands do it as they should, and test_passwords.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session")
def password_hash(hash_quickly: None) -> str:
    return passwords.hash_password(PASSWORD)


@pytest.fixture
def site(anonymous: TestClient, password_hash: str) -> Site:
    """The site of the running application, with one admin and one editor."""
    app_site: Site = anonymous.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    with app_site.database.write() as session:
        session.add(Account(email=ADMIN, password_hash=password_hash, role=Role.ADMIN))
        session.add(Account(email=EDITOR, password_hash=password_hash, role=Role.EDITOR))
    return app_site


@pytest.fixture
def client(anonymous: TestClient, site: Site) -> TestClient:
    """A client with an admin's token."""
    return _logged_in(anonymous, ADMIN)


@pytest.fixture
def editor(anonymous: TestClient, site: Site) -> TestClient:
    """A client with an editor's token, beside the other clients."""
    return _logged_in(TestClient(anonymous.app), EDITOR)


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what another thread or process does, which asking all the time would hold up."""
    deadline = time.monotonic() + seconds
    pause_seconds = 0.01
    while not is_so():
        assert time.monotonic() < deadline, f"it is not so after {seconds} seconds"
        time.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 1.2, 0.1)


def lasting_paths(folder: Path) -> set[Path]:
    """All that is in a data folder but what a server has there by itself: SQLite's, locks, jobs, logs."""
    passing = {"app.db-wal", "app.db-shm", ".lock", ".receiving", ".trash_lock", ".verifying_lock", ".jobs"}
    passing |= {".upkeep", "history.db", "history.db-journal", "activity.db", "activity.db-journal"}
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {path for path in found if passing.isdisjoint(path.parts)}


def _logged_in(client: TestClient, email: str) -> TestClient:
    answer = client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB in a private mount: the place where disks fill up."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    options = f"size=2m,uid={os.getuid()},mode=700"
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*AS_ROOT, "umount", folder], check=True)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """SeaweedFS, one for all tests of a worker: keep to a folder of your own in its bucket."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with fake_gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with azurite(tmp_path_factory.mktemp("azure")) as server:
        yield server
