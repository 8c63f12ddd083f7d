"""What the pages say of a site that was restored on an empty machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts import service as accounts
from fastcms.backups import fetching, receiving, restoring, service
from fastcms.backups.status import SafetyState, describe_status
from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.config import Settings
from fastcms.main import create_app
from fastcms.site import new_site
from fastcms.startup import serve_site
from tests.conftest import ADMIN, PASSWORD
from tests.integration.admin.conftest import Browser


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A folder with the backup of a site that is lost."""
    lost = new_site(Settings(_env_file=None, data_dir=tmp_path / "lost"))
    with serve_site(lost):
        with lost.database.write() as session:
            accounts.create_account(session, ADMIN, PASSWORD)
        folder = Path(service.create_backup(lost).path).parent
    return folder.rename(tmp_path / "far")


@pytest.fixture
def restored(far: Path, tmp_path: Path) -> Iterator[Browser]:
    settings = Settings(_env_file=None, data_dir=tmp_path / "new")
    with serve_site(site := new_site(settings)):
        pass
    (archive,) = far.glob("backup_*.zip")
    source = fetching.Source(open_store(parse_address(far.as_uri()), {}))
    fetching.receive(site, source, archive.name, "root", lambda _progress: None)
    origin = receiving.find_origin(site, archive.name)
    restoring.stage_restore(site, archive.name, "root", approved=origin)
    with TestClient(create_app(settings)) as client:
        browser = Browser(client)
        browser.log_in(ADMIN)
        yield browser


def test_what_it_was_restored_from_counts_until_there_is_a_backup_of_its_own(
    restored: Browser, far: Path
) -> None:
    site = restored.client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    status = describe_status(site)
    assert (status.is_safe, status.state) == (True, SafetyState.OK)
    assert status.last_success is not None
    assert status.verified is not None
    page = restored.open("/backups").text
    assert "Waiting for the first backup" not in page
    assert ">fetched<" in page
    assert f"Fetched from {far}" in page
    assert "on this machine only" not in page.replace("New backups will be on this machine only", "").lower()
    one = restored.open(f"/backups/{status.last_success.filename}").text
    assert "fetched from there" in one
    (brought,) = service.list_backups(site)
    service.create_backup(site)
    status = describe_status(site)
    assert status.last_success is not None
    assert status.last_success.filename != brought.filename


def test_there_is_no_way_back_to_nothing(restored: Browser) -> None:
    page = restored.open("/backups/restore").text
    assert "There was no site before" in page
    assert "undo-restore" not in page
    assert "discard-safety-copy" in page
