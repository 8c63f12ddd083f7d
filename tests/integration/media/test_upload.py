"""Uploads over HTTP: what is stored, what is refused, and that a refusal leaves nothing behind."""

import hashlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from fastapi.testclient import TestClient
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from fastcms.accounts import service as accounts
from fastcms.accounts.schemas import Scope
from fastcms.config import Settings
from fastcms.errors import FastCMSError, InvalidInputError, NotEnoughSpaceError, TooLargeError
from fastcms.main import create_app
from fastcms.media import service
from fastcms.media.api import receive_file
from fastcms.media.models import MediaFile
from fastcms.site import Site
from fastcms.sqlite import sqlite3

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
BOUNDARY = "multipart/form-data; boundary=XX"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", max_upload_size="2MiB")


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client that may upload, on a site that the tables of cases share."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("media"), max_upload_size="2MiB")
    with TestClient(create_app(settings)) as client:
        site = _site_of(client)
        with site.database.write() as session:
            token, _ = accounts.create_token(session, "writer", [Scope.CONTENT_WRITE], None)
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def _site_of(client: TestClient) -> Site:
    site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    return site


def _form(disposition: str, content: bytes = b"hello", end: bytes = b"--XX--\r\n") -> bytes:
    head = f"--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n" + end


def _files(site: Site) -> list[str]:
    """What is left on the disk and in the table."""
    with site.database.read() as session:
        rows = [file.path for file in service.list_files(session)[0]]
    return rows + [path.name for path in site.settings.files_dir.iterdir() if path.name not in rows]


def test_an_upload_is_stored_with_its_hash_and_served(editor: TestClient, site: Site) -> None:
    answer = editor.post("/api/v1/files", files={"file": ("日本語.PNG", PNG, "text/html")})
    assert answer.status_code == 201
    info = answer.json()
    assert info["filename"] == "日本語.PNG"
    assert info["size"] == len(PNG)
    assert info["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert info["content_type"] == "image/png"
    assert info["created"].endswith("Z")
    assert info["url"] == f"/files/{info['id']}/%E6%97%A5%E6%9C%AC%E8%AA%9E.PNG"
    assert editor.get(f"/api/v1/files/{info['id']}").json() == info
    assert editor.get(info["url"]).content == PNG
    assert _files(site) == [f"日本語_{info['id'][:16]}.png"]


@pytest.mark.parametrize(
    "filename",
    [
        "../../etc/passwd",
        "CON.txt",
        "x" * 300 + ".txt",
        "🎉.txt",
        "a\u202etxt.exe",
        "a/b\\c.txt",
        "..",
        "?#%",
    ],
)
def test_any_name_can_be_uploaded_fetched_and_deleted(writer: TestClient, filename: str) -> None:
    site = _site_of(writer)
    before = _files(site)
    body = _form(f'name="file"; filename="{filename}"'.replace("\\", "\\\\"))
    answer = writer.post("/api/v1/files", content=body, headers={"Content-Type": BOUNDARY})
    assert answer.status_code == 201
    (name,) = set(_files(site)) - set(before)
    assert (site.settings.files_dir / name).read_bytes() == b"hello"
    assert writer.get(answer.json()["url"]).content == b"hello"
    assert writer.delete(f"/api/v1/files/{answer.json()['id']}").status_code == 204
    assert name not in _files(site)


@pytest.mark.parametrize(
    ("sent", "name"),
    [("a%22b.txt", 'a"b.txt'), ("a%0D%0Ab.txt", "ab.txt"), ("100%25 %41.txt", "100%25 %41.txt")],
)
def test_a_name_is_read_as_browsers_write_it(writer: TestClient, sent: str, name: str) -> None:
    body = _form(f'name="file"; filename="{sent}"')
    answer = writer.post("/api/v1/files", content=body, headers={"Content-Type": BOUNDARY})
    assert answer.json()["filename"] == name
    assert writer.delete(f"/api/v1/files/{answer.json()['id']}").status_code == 204


def test_a_name_used_twice_gives_two_files(client: TestClient, site: Site) -> None:
    for content in (b"one", b"two"):
        assert client.post("/api/v1/files", files={"file": ("A.txt", content)}).status_code == 201
    assert len(_files(site)) == 2


def test_an_empty_file_is_a_file(client: TestClient) -> None:
    answer = client.post("/api/v1/files", files={"file": ("empty.txt", b"")})
    assert (answer.status_code, answer.json()["size"]) == (201, 0)
    assert client.get(answer.json()["url"]).content == b""


def test_the_limit_itself_is_taken_and_one_byte_more_is_not(client: TestClient, site: Site) -> None:
    assert client.post("/api/v1/files", files={"file": ("a", bytes(2 * 1024**2))}).status_code == 201
    answer = client.post("/api/v1/files", files={"file": ("b", bytes(2 * 1024**2 + 1))})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "too_large"
    assert "2.0MiB (2097152 bytes)" in answer.json()["detail"]
    assert len(_files(site)) == 1


def test_a_chunked_upload_over_the_limit_leaves_no_file(client: TestClient, site: Site) -> None:
    def body() -> Iterator[bytes]:
        yield _form('name="file"; filename="a"', bytes(100), end=b"")[:-2]
        for _ in range(60):
            yield bytes(100_000)

    answer = client.post("/api/v1/files", content=body(), headers={"Content-Type": BOUNDARY})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert _files(site) == []


FILE = 'name="file"; filename="a.txt"'


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", "", "not_multipart"),
        (b"{}", "application/json", "not_multipart"),
        (b"a=b", "application/x-www-form-urlencoded", "not_multipart"),
        (_form(FILE), "multipart/form-data", "not_multipart"),
        (_form(FILE), "multipart/mixed; boundary=XX", "not_multipart"),
        (_form(FILE), f"multipart/form-data; boundary={'X' * 5000}", "multipart_malformed"),
        (b"", BOUNDARY, "multipart_malformed"),
        (b"no form at all", BOUNDARY, "multipart_malformed"),
        (_form(FILE)[:-9], BOUNDARY, "multipart_malformed"),
        (_form(FILE, bytes(10**6))[: 5 * 10**5], BOUNDARY, "multipart_malformed"),
        (_form('name="file"; filename="é"').replace("é".encode(), b"\xe9"), BOUNDARY, "multipart_malformed"),
        (_form(f'name="file"; filename="{"x" * 10**6}"'), BOUNDARY, "multipart_malformed"),
        (_form('name="other"; filename="a.txt"'), BOUNDARY, "file_missing"),
        (_form('name="file"'), BOUNDARY, "file_missing"),
        (_form('name="file"; filename=""'), BOUNDARY, "file_missing"),
        (_form(FILE, end=b"") + _form(FILE), BOUNDARY, "invalid_input"),
        (_form('name="other"', bytes(1024**2), end=b"") + _form(FILE), BOUNDARY, "too_large"),
    ],
)
def test_what_is_not_one_whole_file_is_refused_and_leaves_none(
    writer: TestClient, body: bytes, content_type: str, code: str
) -> None:
    before = _files(_site_of(writer))
    answer = writer.post("/api/v1/files", content=body, headers={"Content-Type": content_type})
    assert answer.status_code in (413, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["hint"]
    assert _files(_site_of(writer)) == before


@pytest.mark.parametrize(
    "body",
    [
        _form('name="note"', b"before", end=b"") + _form(FILE),
        _form(FILE, end=b"") + _form('name="note"', b"after"),
        _form(FILE) + b"what follows the last boundary",
        b"\r\n" + _form(FILE),
    ],
)
def test_other_fields_do_not_disturb(writer: TestClient, body: bytes) -> None:
    answer = writer.post("/api/v1/files", content=body, headers={"Content-Type": BOUNDARY})
    assert answer.status_code == 201
    assert writer.get(answer.json()["url"]).content == b"hello"


def _receive(site: Site, messages: list[Message], **headers: str) -> MediaFile:
    """Hand an upload to the route's function message by message, as a server would."""
    rest = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(rest)

    named = {"content-type": BOUNDARY} | headers
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    request = Request({"type": "http", "method": "POST", "headers": raw}, receive)
    return anyio.run(receive_file, request, site)


@given(
    content=st.lists(st.sampled_from([b"\r\n", b"--XX", b"--", b"\r", b"a", b"\0\xff", b"\r\n--X"])).map(
        b"".join
    ),
    cuts=st.lists(st.integers(0, 200)),
)
def test_any_content_arrives_unchanged_however_the_network_cuts_it(
    writer: TestClient, content: bytes, cuts: list[int]
) -> None:
    site = _site_of(writer)
    assume(b"\r\n--XX" not in b"\r\n" + content)  # no client may send its own boundary as content
    body = _form(FILE, content)
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    messages: list[Message] = [
        {"type": "http.request", "body": body[start:end], "more_body": end < len(body)}
        for start, end in itertools.pairwise(edges)
    ]
    file = _receive(site, messages)
    assert service.file_path(site.settings, file).read_bytes() == content
    assert file.sha256 == hashlib.sha256(content).hexdigest()


def test_a_client_that_goes_away_half_way_leaves_no_file(site: Site) -> None:
    half = _form(FILE, bytes(1_500_000))[:-20]
    with pytest.raises(InvalidInputError, match="went away"):
        _receive(site, [{"type": "http.request", "body": half, "more_body": True}])
    assert _files(site) == []


def test_an_announced_size_is_checked_before_anything_is_read(site: Site) -> None:
    with pytest.raises(TooLargeError):
        _receive(site, [], content_length=str(4 * 1024**2), expect="100-continue")


def test_a_file_that_the_disk_cannot_hold_is_refused_before_it_is_sent(site: Site) -> None:
    roomy = site.settings.model_copy(update={"max_upload_size": 2**61})
    with pytest.raises(NotEnoughSpaceError, match="MB are free"):
        _receive(Site(roomy, site.database), [], content_length=str(2**60))


def test_a_row_that_cannot_be_committed_takes_its_file_with_it(site: Site) -> None:
    connection = sqlite3.connect(site.settings.database_path)
    connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )
    connection.close()
    with pytest.raises(Exception, match="refused"):
        service.add_file(site, io.BytesIO(b"hello"), "a.txt")
    assert list(site.settings.files_dir.iterdir()) == []


def test_programs_store_files_by_the_same_rules(site: Site) -> None:
    file = service.add_file(site, io.BytesIO(PNG), "../pic\ture.png")
    assert (file.filename, file.content_type, file.size_bytes) == ("picure.png", "image/png", len(PNG))
    with pytest.raises(FastCMSError, match=r"limit of 2\.0MiB"):
        service.add_file(site, io.BytesIO(bytes(3 * 1024**2)), "big")
    assert _files(site) == [file.path]


def test_openapi_describes_the_multipart_body(anonymous: TestClient) -> None:
    operation = anonymous.get("/openapi.json").json()["paths"]["/api/v1/files"]["post"]
    schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["file"]
    assert schema["properties"]["file"]["format"] == "binary"
