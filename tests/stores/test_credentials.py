"""Credentials come with the address, or from each cloud's environment variables; what is given wins."""

import pytest

from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.backups.stores.clouds import CREDENTIAL_NAMES, ENDPOINT_NAMES
from tests.object_servers import BUCKET, ObjectServer

WRONG = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "wrong",
    "AWS_SESSION_TOKEN": "wrong",
    "AZURE_STORAGE_ACCOUNT_NAME": "somebody",
    "AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc=",
    "AZURE_STORAGE_SAS_TOKEN": "sig=wrong",
    "GOOGLE_SERVICE_ACCOUNT_KEY": "{}",
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in (*CREDENTIAL_NAMES.values(), *ENDPOINT_NAMES.values()):
        for name in names:
            monkeypatch.delenv(name, raising=False)


def test_the_environment_is_enough(
    server: ObjectServer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT_NAMES[server.scheme][0], server.endpoint)
    for name, text in server.credentials.items():
        monkeypatch.setenv(name, text)
    store = open_store(parse_address(f"{server.scheme}://{BUCKET}/{folder}"), {})
    store.check()
    assert store.place == f"{server.scheme}://{BUCKET}/{folder}"


def test_what_is_given_wins_over_the_environment(
    server: ObjectServer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIAL_NAMES[server.scheme]:
        monkeypatch.setenv(name, WRONG[name])
    for name in ENDPOINT_NAMES[server.scheme]:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    open_store(parse_address(server.address(folder)), server.credentials).check()


def test_the_server_verifies_a_checksum_with_each_part_if_that_is_wanted(
    s3_server: ObjectServer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "SHA256")
    store = open_store(parse_address(s3_server.address(folder)), s3_server.credentials)
    for size_bytes in (5, 9 * 1024**2):
        assert store.put("x", [bytes(size_bytes)], size_bytes).is_checked


def test_the_account_of_azure_may_stand_in_the_address(azure_server: ObjectServer, folder: str) -> None:
    account = azure_server.credentials["AZURE_STORAGE_ACCOUNT_NAME"]
    key = {"AZURE_STORAGE_ACCOUNT_KEY": azure_server.credentials["AZURE_STORAGE_ACCOUNT_KEY"]}
    open_store(parse_address(f"{azure_server.address(folder)}&account={account}"), key).check()
