"""What clouds answer, and no server here does: answers as documented, from a server that gives them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fastcms.backups.stores.clouds import Patience, Spot
from fastcms.backups.stores.objects import ObjectStore
from fastcms.errors import StoreError, StoreMissingError

SECRET = "kept-by-nobody-else"
CREDENTIALS = {
    "s3": {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET},
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": "a2VwdC1ieS1ub2JvZHktZWxzZQ==",
    },
}
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
DENIED_BY_AWS = f"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>The signature we calculated does not match.</Message>
<AWSAccessKeyId>key</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 {SECRET}</StringToSign>
<SignatureProvided>{SECRET}</SignatureProvided></Error>"""
TOO_OLD_FOR_AZURE = """<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code>
<Message>Server failed to authenticate the request.</Message>
<AuthenticationErrorDetail>Request date header too old: 'Mon, 23 Nov 2026 10:00:00 GMT'
</AuthenticationErrorDetail></Error>"""

OBJECT = {"Last-Modified": "Wed, 15 Jan 2025 10:00:00 GMT", "ETag": '"1"'}


def error_of(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>"


@contextmanager
def answering(status: int, body: str, headers: dict[str, str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, text in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names are http.server's

        def log_message(self, *_: Any) -> None:
            """Nothing: what is tested must be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def store_at(endpoint: str, scheme: str = "s3") -> ObjectStore:
    spot = Spot(scheme, "bucket", "folder", {"endpoint": endpoint}, CREDENTIALS[scheme])
    return ObjectStore(f"{scheme}://bucket/folder", spot, Patience(retries=0, silence=timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("scheme", "status", "body", "code", "words"),
    [
        (
            "s3",
            403,
            DENIED_BY_AWS,
            "store_denied",
            "secret does not fit the key ID (it answered 403 SignatureDoesNotMatch)",
        ),
        ("s3", 403, error_of("InvalidAccessKeyId"), "store_denied", "knows no such access key ID"),
        ("s3", 403, error_of("AccessDenied"), "store_denied", "does not allow this"),
        ("s3", 400, error_of("ExpiredToken"), "store_denied", "does not accept the credentials"),
        ("s3", 403, error_of("RequestTimeTooSkewed"), "store_clock_wrong", "clock"),
        ("az", 403, TOO_OLD_FOR_AZURE, "store_clock_wrong", "clock"),
        ("s3", 404, error_of("NoSuchBucket"), "store_missing", "no such bucket"),
        ("s3", 404, "<html>There is no such page.</html>", "store_missing", "no such bucket"),
        ("s3", 507, error_of("XMinioStorageFull"), "store_full", "no space"),
        ("s3", 403, error_of("QuotaExceeded"), "store_full", "no space"),
        ("s3", 400, error_of("AuthorizationHeaderMalformed"), "store_failed", "another region"),
        ("s3", 301, error_of("PermanentRedirect"), "store_failed", "another region"),
        ("s3", 503, error_of("SlowDown"), "store_unreachable", "at the moment (it answered 503"),
        ("s3", 502, "<html>Bad gateway</html>", "store_unreachable", "at the moment (it answered 502)"),
        ("s3", 418, "I am a teapot", "store_failed", "it answered 418"),
    ],
)
def test_an_answer_is_told_in_our_words(scheme: str, status: int, body: str, code: str, words: str) -> None:
    with answering(status, body, {}) as endpoint:
        store = store_at(endpoint, scheme)
        for act in (store.list, store.check, lambda: store.put("x", [b"x"], 1), lambda: store.find("x")):
            with pytest.raises(StoreError) as caught:
                act()
    error = caught.value
    assert error.code == code
    assert words in error.message
    assert error.hint
    for unwanted in (SECRET, "Debug", "<", "\n"):
        assert unwanted not in error.message + error.hint


def test_a_server_that_takes_everything_and_keeps_nothing_is_no_store() -> None:
    with answering(200, "<html>Welcome to your new router</html>", {}) as endpoint:
        store = store_at(endpoint)
        for act in (store.check, lambda: store.put("x", [b"x"], 1)):
            with pytest.raises(StoreError):
                act()


@pytest.mark.parametrize("odd", ["folder//x", "folder/&#10;", "folder/../x", "folder/sub/./x"])
def test_an_odd_name_of_somebody_else_does_not_stop_an_upload_and_a_listing_tells_of_it(odd: str) -> None:
    contents = (
        "<Contents><Key>{}</Key><LastModified>2025-01-15T10:00:00Z</LastModified><Size>1</Size></Contents>"
    )
    keys = contents.format("folder/x") + contents.format(odd)
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>"
    with answering(404, listing, {}) as elsewhere, answering(200, listing, OBJECT) as endpoint:
        with pytest.raises(StoreError, match="whose name cannot be read"):
            store_at(endpoint).list()
        assert store_at(endpoint).put("x", [listing.encode()], len(listing)).stored.name == "x"
        with pytest.raises(StoreMissingError):
            store_at(elsewhere).put("x", [b"x"], 1)


def test_no_credentials_at_all_are_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of Amazon's would be asked for its own; this one has none."""
    for name in CREDENTIALS["s3"]:
        monkeypatch.delenv(name, raising=False)
    with answering(404, "", {}) as endpoint:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", endpoint)
        store = ObjectStore(
            "s3://bucket", Spot("s3", "bucket", "", {"endpoint": endpoint}, {}), Patience(retries=0)
        )
        with pytest.raises(StoreError) as caught:
            store.list()
    assert caught.value.code == "store_denied"
    assert caught.value.message == "No credentials were given for s3://bucket."


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:99999", "http://[::::]", "https://xn--"])
def test_what_makes_obstore_panic_is_an_error_of_the_store(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment, nobody has looked at it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StoreError, match="s3://bucket cannot be asked") as caught:
        ObjectStore(
            "s3://bucket", Spot("s3", "bucket", "", {}, CREDENTIALS["s3"]), Patience(retries=0)
        ).list()
    assert "endpoint" in caught.value.hint
    with pytest.raises(StoreError):
        store_at(endpoint, "az").list()


def test_a_server_that_sends_other_sizes_than_it_says_is_not_believed() -> None:
    with answering(200, "short", {**OBJECT, "Content-Length": "100"}) as endpoint:
        store = store_at(endpoint)
        with pytest.raises(StoreError) as caught:
            list(store.read("x"))
    assert caught.value.code == "store_unreachable"
