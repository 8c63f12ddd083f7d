"""Files over HTTP: serving, listing, deleting, and who may."""

import hashlib
import io
import random
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from fastcms.accounts import service as accounts
from fastcms.accounts.schemas import Scope
from fastcms.config import Settings
from fastcms.locks import FileLock
from fastcms.main import create_app
from fastcms.media import service
from fastcms.media.models import MediaFile
from fastcms.media.storage import move_to_trash
from fastcms.site import Site

CONTENT = b"0123456789"
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


def _add(site: Site, content: bytes = CONTENT, filename: str = "digits.txt") -> MediaFile:
    return service.add_file(site, io.BytesIO(content), filename)


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client without a token, on a site that the tests of reading share."""
    with TestClient(
        create_app(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("media")))
    ) as client:
        yield client


@pytest.fixture(scope="module")
def shared_site(visitor: TestClient) -> Site:
    site: Site = visitor.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
    return site


@pytest.fixture(scope="module")
def url(shared_site: Site) -> str:
    return service.file_url(_add(shared_site))


def test_everyone_who_knows_the_url_may_read_the_file(visitor: TestClient, url: str) -> None:
    answer = visitor.get(url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == ETAG
    assert answer.headers["content-length"] == "10"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-disposition"] == 'inline; filename="digits.txt"'
    assert "last-modified" in answer.headers


def test_head_tells_what_get_would(visitor: TestClient, url: str) -> None:
    got, head = visitor.get(url), visitor.head(url, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "last-modified", "content-disposition"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    ("wanted", "content", "content_range"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=0-", CONTENT, "bytes 0-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", CONTENT, "bytes 0-9/10"),
        ("Bytes= 2-4", b"234", "bytes 2-4/10"),
    ],
)
def test_a_range_is_answered_with_its_bytes(
    visitor: TestClient, url: str, wanted: str, content: bytes, content_range: str
) -> None:
    answer = visitor.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["content-range"] == content_range
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["etag"] == ETAG


def test_a_range_of_several_megabytes_is_answered_with_its_bytes(
    visitor: TestClient, shared_site: Site
) -> None:
    content = random.Random(1).randbytes(3 * 1024**2 + 1)
    url = service.file_url(_add(shared_site, content))
    whole, part = visitor.get(url), visitor.get(url, headers={"Range": "bytes=999-3000000"})
    assert whole.content == content
    assert part.content == content[999:3_000_001]


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_beyond_the_file_is_refused_with_its_size(visitor: TestClient, url: str, wanted: str) -> None:
    answer = visitor.get(url, headers={"Range": wanted})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */10"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=5-2",
        "bytes=-",
        "bytes=a-b",
        "lines=1-2",
        "bytes",
        "bytes=0-1,3-4",
        f"bytes={'9' * 5000}-",
        "٣-٤",
    ],
)
def test_a_range_that_makes_no_sense_is_ignored(visitor: TestClient, url: str, wanted: str) -> None:
    answer = visitor.get(url, headers={b"Range": wanted.encode()})
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_of_an_empty_file_is_refused(visitor: TestClient, shared_site: Site) -> None:
    answer = visitor.get(service.file_url(_add(shared_site, b"")), headers={"Range": "bytes=0-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


def test_if_range_gives_the_whole_file_unless_it_is_the_same(visitor: TestClient, url: str) -> None:
    modified = visitor.head(url).headers["last-modified"]
    for condition, status in ((ETAG, 206), (modified, 206), ('"other"', 200), (f"W/{ETAG}", 200)):
        answer = visitor.get(url, headers={"Range": "bytes=0-1", "If-Range": condition})
        assert answer.status_code == status
    answer = visitor.get(url, headers={"Range": "bytes=99-", "If-Range": '"other"'})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("condition", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
def test_a_client_that_has_the_bytes_gets_none(visitor: TestClient, url: str, condition: str) -> None:
    answer = visitor.get(url, headers={"If-None-Match": condition, "Range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == ETAG
    assert "immutable" in answer.headers["cache-control"]


def test_another_etag_gets_the_bytes(visitor: TestClient, url: str) -> None:
    assert visitor.get(url, headers={"If-None-Match": '"other"'}).content == CONTENT


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        (b"<!doctype html><script>alert(1)</script>", "pic.png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "pic.svg"),
        (b"<?xml version='1.0'?><a/>", "a.xml"),
        (b"%PDF-1.7", "a.pdf"),
        (b"\x00\x01", "Übung.bin"),
    ],
)
def test_risky_types_are_offered_for_download_only(
    visitor: TestClient, shared_site: Site, content: bytes, filename: str
) -> None:
    answer = visitor.get(service.file_url(_add(shared_site, content, filename)))
    assert answer.headers["content-disposition"].startswith("attachment; filename")


def test_a_name_in_any_language_reaches_the_browser(visitor: TestClient, shared_site: Site) -> None:
    answer = visitor.get(service.file_url(_add(shared_site, filename='日本"語.txt')))
    assert (
        answer.headers["content-disposition"] == "inline; filename*=utf-8''%E6%97%A5%E6%9C%AC%22%E8%AA%9E.txt"
    )


def test_missing_bytes_have_their_own_code(
    anonymous: TestClient, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    file = _add(site)
    service.file_path(site.settings, file).unlink()
    answer = anonymous.get(service.file_url(file))
    assert (answer.status_code, answer.json()["code"]) == (404, "file_bytes_missing")
    assert file.path in caplog.text


def test_an_unknown_file_is_not_found(client: TestClient) -> None:
    for method, path in (("GET", "/files/x/y"), ("GET", "/api/v1/files/x"), ("DELETE", "/api/v1/files/x")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")


def test_the_list_is_newest_first_in_pages_and_searchable(client: TestClient, site: Site) -> None:
    for number in range(5):
        _add(site, filename=f"50%_off {number}.txt")
    _add(site, filename="other.txt")
    page = client.get("/api/v1/files", params={"per_page": 2, "page": 2}).json()
    assert (page["total"], page["page"], page["per_page"]) == (6, 2, 2)
    assert [item["filename"] for item in page["items"]] == ["50%_off 3.txt", "50%_off 2.txt"]
    assert client.get("/api/v1/files", params={"search": "%_OFF"}).json()["total"] == 5
    assert client.get("/api/v1/files", params={"search": "%o"}).json()["total"] == 0
    assert client.get("/api/v1/files", params={"page": 10**9}).json()["items"] == []


@pytest.mark.parametrize("query", ["page=0", "page=10000000000", "per_page=0", "per_page=501", "page=x"])
def test_impossible_pages_are_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/api/v1/files?{query}").status_code == 422


def test_the_list_is_read_from_an_index(site: Site) -> None:
    with site.database.read() as session:
        plan = session.execute(
            sa.text("EXPLAIN QUERY PLAN SELECT * FROM files ORDER BY created DESC, id DESC LIMIT 30")
        ).all()
    assert "USING INDEX ix_files_created" in plan[0].detail
    assert len(plan) == 1


def test_strangers_may_not_list_upload_or_delete(anonymous: TestClient, site: Site) -> None:
    file = _add(site)
    for method, path in (
        ("GET", "/api/v1/files"),
        ("POST", "/api/v1/files"),
        ("GET", f"/api/v1/files/{file.id}"),
        ("DELETE", f"/api/v1/files/{file.id}"),
    ):
        assert anonymous.request(method, path, headers={"Authorization": ""}).status_code == 401
    assert service.file_path(site.settings, file).exists()


def test_a_token_that_may_only_read_may_not_upload_or_delete(anonymous: TestClient, site: Site) -> None:
    file = _add(site)
    with site.database.write() as session:
        token, _ = accounts.create_token(session, "reader", [Scope.CONTENT_READ], None)
    headers = {"Authorization": f"Bearer {token}"}
    assert anonymous.get("/api/v1/files", headers=headers).status_code == 200
    assert anonymous.post("/api/v1/files", headers=headers, files={"file": ("a", b"")}).status_code == 403
    assert anonymous.delete(f"/api/v1/files/{file.id}", headers=headers).status_code == 403


def test_a_deleted_file_is_gone_at_once(client: TestClient, site: Site) -> None:
    file = _add(site)
    assert client.delete(f"/api/v1/files/{file.id}").status_code == 204
    assert client.get(service.file_url(file)).status_code == 404
    assert client.delete(f"/api/v1/files/{file.id}").status_code == 404
    assert [path for path in site.settings.files_dir.rglob("*") if path.is_file()] == []


def test_bytes_deleted_during_a_backup_stay_for_it_and_go_with_the_next_deletion(
    client: TestClient, site: Site
) -> None:
    file, other = _add(site), _add(site)
    trash = site.settings.files_dir / ".trash"
    with FileLock(site.settings.backups_dir / service.TRASH_LOCK_NAME).hold(purpose="creating a backup"):
        assert client.delete(f"/api/v1/files/{file.id}").status_code == 204
        assert client.get(service.file_url(file)).status_code == 404
        assert (trash / file.path).read_bytes() == CONTENT
    assert client.delete(f"/api/v1/files/{other.id}").status_code == 204
    assert list(trash.iterdir()) == []


def test_of_the_trash_only_what_is_still_known_comes_back(site: Site) -> None:
    files_dir = site.settings.files_dir
    deleted, kept = [_add(site) for _ in range(5)], _add(site)
    with FileLock(site.settings.backups_dir / service.TRASH_LOCK_NAME).hold(purpose="creating a backup"):
        for file in deleted:
            service.delete_file(site, file.id)
    move_to_trash(files_dir, kept.path)  # a crash has broken off its deletion
    service.empty_trash(site)
    assert [path.name for path in files_dir.rglob("*") if path.is_file()] == [kept.path]


def test_files_put_there_by_hand_are_found_among_many_uploads(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PATHS_AT_ONCE", 3)
    for _ in range(10):
        _add(site)
    by_hand = ['deep/it\'s "quoted".txt', "no utf-8 \udcff.txt", "notes.txt"]
    for name in by_hand:
        path = site.settings.files_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"by hand")
    assert service.find_files_without_row(site) == by_hand


def test_neither_uploads_nor_deletions_under_way_are_taken_for_files_put_there_by_hand(site: Site) -> None:
    stop = threading.Event()

    def upload_and_delete() -> None:
        while not stop.is_set():
            service.delete_file(site, _add(site).id)

    clients = [threading.Thread(target=upload_and_delete) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        assert [service.find_files_without_row(site) for _ in range(200)] == [[]] * 200
    finally:
        stop.set()
        for client in clients:
            client.join()


def test_a_file_whose_bytes_are_missing_can_be_deleted(client: TestClient, site: Site) -> None:
    file = _add(site)
    service.file_path(site.settings, file).unlink()
    assert client.delete(f"/api/v1/files/{file.id}").status_code == 204
