"""Addresses are taken apart, and never hold or repeat a secret."""

import pytest

from fastcms.backups.stores.addresses import open_store, parse_address, parse_size
from fastcms.backups.stores.clouds import CREDENTIAL_NAMES
from fastcms.errors import FastCMSError, InvalidInputError, StoreDeniedError

SECRET = "S3cr3tThatNobodyMaySee"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        (" s3://my.bucket-1/a//b/ ", "s3://my.bucket-1/a/b"),
        ("s3://bucket/a%20b/%25/ü+&=", "s3://bucket/a%20b/%25/ü+&="),
        ("s3://bucket/a?region=eu-central-1&keep_last=3&limit=5MB", "s3://bucket/a"),
        ("s3://b1c/a?keep_daily=7&endpoint=http://[::1]:8333", "s3://b1c/a?endpoint=http://[::1]:8333"),
        ("s3://b1c?endpoint=https://S3.Example.com:443/", "s3://b1c?endpoint=https://s3.example.com"),
        ("s3://b1c?endpoint=http://s3.example.com:443", "s3://b1c?endpoint=http://s3.example.com:443"),
        ("s3://b1c?endpoint=http://h:080//", "s3://b1c?endpoint=http://h"),
        ("gs://b1c?endpoint=https://h/Way/", "gs://b1c?endpoint=https://h/Way"),
        ("s3://b1c?endpoint=https://xn--bcher-kva.de", "s3://b1c?endpoint=https://xn--bcher-kva.de"),
        ("s3://b1c?endpoint=http://my_nas:65535", "s3://b1c?endpoint=http://my_nas:65535"),
        ("s3://b1c?endpoint=http://10.0.0.1:9000", "s3://b1c?endpoint=http://10.0.0.1:9000"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a?account=mine1", "az://container/a?account=mine1"),
        ("file:///mnt/nas/my%20backups/", "file:///mnt/nas/my%20backups"),
        ("file:///mnt/nas?max_total_size=1.5GiB", "file:///mnt/nas"),
    ],
)
def test_an_address_names_one_place_in_one_form(text: str, place: str) -> None:
    address = parse_address(text)
    assert address.place == place
    assert parse_address(place).place == place


def test_an_address_is_taken_apart() -> None:
    address = parse_address("s3://bucket/a%20b/c?keep_last=3&limit=5MB&endpoint=https://s3.example.com")
    assert (address.scheme, address.bucket, address.path) == ("s3", "bucket", "a b/c")
    assert address.options == {"keep_last": "3", "limit": "5MB", "endpoint": "https://s3.example.com"}
    assert parse_address("file:///mnt/%C3%BC").path == "/mnt/ü"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bucket",
        SECRET,
        f"/mnt/{SECRET}",
        f"https://{SECRET}.example.com/bucket",
        f"ftp://user:{SECRET}@host/x",
        f"s3://key:{SECRET}@bucket/x",
        f"s3://key:{SECRET}/x@bucket",
        f"s3://{SECRET}@bucket",
        f"s3://[{SECRET}",
        f"s3://bucket/x?secret_access_key={SECRET}",
        f"s3://bucket/x?{SECRET}",
        f"s3://bucket/x?endpoint=https://key:{SECRET}@host",
        f"s3://bucket/x?endpoint=host/{SECRET}",
        f"s3://bucket/x?endpoint=https://host?key={SECRET}",
        f"s3://bucket/x?region={SECRET}",
        f"s3://bucket/x#{SECRET}",
        "s3://bucket/x#",
        "s3:///x",
        "s3://b/x",
        f"s3://bucket/{SECRET}/../x",
        "s3://bucket/x%00y",
        "s3://bucket/x%0Ay",
        "s3://bucket/%FF",
        "s3://bucket?account=mine",
        "gs://bucket?region=eu",
        f"az://container?account={SECRET}",
        "s3://bucket?keep_last=-1",
        "s3://bucket?keep_last=many",
        "s3://bucket?keep_last=1&keep_last=2",
        "s3://bucket?limit=0",
        "s3://bucket?limit=1",
        "s3://bucket?limit=fast",
        "s3://bucket?limit=",
        f"s3://bucket?limit={'9' * 400}",
        f"file:///mnt?max_total_size={'9' * 400}",
        *(
            f"s3://bucket?endpoint={endpoint}"
            for endpoint in (
                "http://127.0.0.1:99999",
                "http://127.0.0.1:0",
                "http://[::::]",
                "http://[1::2::3]",
                "https://xn--",
                "https://xn--a.example.com",
                "https://1.2.3.999",
                "https://1.2.3.4.5",
                "https://0x7fffffffff",
                "https://a..b",
                f"https://{'a' * 64}.example.com",
            )
        ),
        "file://mnt/nas",
        "file:///",
        "file:nas",
        "file:///mnt/../etc",
        f"file:///mnt?endpoint=https://{SECRET}",
    ],
)
def test_what_cannot_be_an_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_address(text)
    assert caught.value.hint
    assert SECRET not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("500", 500),
        ("5MB", 5_000_000),
        ("5 mb", 5_000_000),
        ("1.5GiB", 1_610_612_736),
        ("2k", 2000),
        ("1TB", 10**12),
    ],
)
def test_a_size_is_understood(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "1,5GB", "5 apples", "9" * 400])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": SECRET}),
        ("s3://bucket", {"AWS_SECRET_ACCESS_KEY": SECRET}),
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": f"{SECRET}\nx", "AWS_SECRET_ACCESS_KEY": SECRET}),
        ("gs://bucket", {"GOOGLE_SERVICE_ACCOUNT_KEY": f'{{"private_key": "{SECRET}"'}),
        ("az://container?account=abc", {"AZURE_STORAGE_ACCOUNT_KEY": f"{SECRET} !"}),
        ("az://container", {"AZURE_STORAGE_ACCOUNT_KEY": SECRET}),
        ("s3://bucket", {SECRET: SECRET}),
        ("file:///mnt", {"AWS_ACCESS_KEY_ID": SECRET}),
    ],
)
def test_credentials_that_cannot_be_are_refused_without_being_repeated(
    text: str, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises((InvalidInputError, StoreDeniedError)) as caught:
        open_store(parse_address(text), credentials)
    error: FastCMSError = caught.value
    assert SECRET not in error.message + error.hint
    assert (
        any(name in error.hint for names in CREDENTIAL_NAMES.values() for name in names)
        or "no cred" in error.hint
    )


def test_blanks_around_pasted_credentials_do_no_harm() -> None:
    pasted = {"AWS_ACCESS_KEY_ID": " key\n", "AWS_SECRET_ACCESS_KEY": "\tsecret\n", "AWS_SESSION_TOKEN": " "}
    assert open_store(parse_address("s3://bucket"), pasted).place == "s3://bucket"
