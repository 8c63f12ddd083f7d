"""Copies at a real server of object storage, with credentials that are stored beside the site."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from fastapi.testclient import TestClient
from pyrage.x25519 import Identity

from fastcms.backups import service
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.copies import Checked, CopyState, list_copies
from fastcms.backups.copying import copy_missing
from fastcms.backups.status import describe_status
from fastcms.site import Site
from tests.object_servers import ObjectServer

DESTINATIONS = "/api/v1/backups/destinations"


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def test_copies_are_encrypted_checked_by_the_store_and_removed_by_its_policy(
    client: TestClient, site: Site, s3_server: ObjectServer, folder: str
) -> None:
    change_settings(site, {"encrypt_to": [str(Identity.generate().to_public())]})
    address = f"{s3_server.address(folder)}&keep_last=2"
    added = client.post(
        DESTINATIONS, json={"address": address, "credentials": dict(s3_server.credentials)}
    ).json()
    assert client.post(f"{DESTINATIONS}/{added['id']}/test").status_code == 200
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in (3, 2, 1):
        with time_machine.travel(now - timedelta(hours=hours), tick=True):
            service.create_backup(site)
    copy_missing(site)
    copies = [copy for copy in list_copies(site) if copy.state == CopyState.COPIED]
    assert [(copy.checked, copy.is_encrypted) for copy in copies] == [(Checked.FAR_SIDE, True)] * 2
    service.create_backup(site)
    copy_missing(site)
    left = s3_server.rclone("lsf", f"far:backups/{folder}").split()
    newest = [backup.filename for backup in service.list_backups(site)][:2]
    assert sorted(left, reverse=True) == [f"{name}.age" for name in newest]


def test_wrong_credentials_are_told_at_once_and_what_is_mended_is_copied(
    client: TestClient, site: Site, s3_server: ObjectServer, folder: str
) -> None:
    wrong = {**s3_server.credentials, "AWS_SECRET_ACCESS_KEY": "wrong"}
    added = client.post(
        DESTINATIONS, json={"address": s3_server.address(folder), "credentials": wrong}
    ).json()
    service.create_backup(site)
    copy_missing(site)
    (reason,) = [reason for reason in describe_status(site).reasons if reason.code == "copy_refused"]
    assert folder in reason.message
    client.delete(f"{DESTINATIONS}/{added['id']}")
    right = {"address": s3_server.address(folder), "credentials": dict(s3_server.credentials)}
    assert client.post(DESTINATIONS, json=right).status_code == 200
    copy_missing(site)
    (copy,) = list_copies(site)
    assert (copy.state, copy.checked) == (CopyState.COPIED, Checked.FAR_SIDE)
