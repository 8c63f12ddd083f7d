"""One store of each kind, empty, at a real server."""

import secrets
from pathlib import Path

import pytest

from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.backups.stores.base import BackupStore
from tests.object_servers import ObjectServer

KINDS = ("folder", "s3", "gcs", "azure")
CLOUDS = KINDS[1:]


def open_at(server: ObjectServer, folder: str) -> BackupStore:
    return open_store(parse_address(server.address(folder)), server.credentials)


def open_folder(folder: Path) -> BackupStore:
    return open_store(parse_address(folder.as_uri()), {})


@pytest.fixture
def folder() -> str:
    """Where no other test keeps anything."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, folder: str) -> BackupStore:
    if request.param == "folder":
        return open_folder(tmp_path)
    return open_at(request.getfixturevalue(f"{request.param}_server"), folder)


@pytest.fixture(params=CLOUDS)
def server(request: pytest.FixtureRequest) -> ObjectServer:
    found: ObjectServer = request.getfixturevalue(f"{request.param}_server")
    return found
