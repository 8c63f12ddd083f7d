"""Uploaded files in the dashboard."""

from io import BytesIO

from fastcms.media import service
from fastcms.site import Site
from tests.integration.admin.conftest import Browser

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def test_a_file_is_uploaded_with_the_session_listed_and_deleted(editor_browser: Browser, site: Site) -> None:
    assert "No files yet" in editor_browser.open("/files").text
    answer = editor_browser.client.post(
        "/api/v1/files", files={"file": ("日本.txt", b"hello")}, headers=SAME_ORIGIN
    )
    assert answer.status_code == 201
    page = editor_browser.open("/files").text
    assert "日本.txt" in page
    assert "5 Bytes" in page
    gone = editor_browser.send("/files/delete", {"id": answer.json()["id"]}, page="/files")
    assert "Deleted 日本.txt." in gone.text
    assert "No files yet" in gone.text


def test_another_site_cannot_upload_with_a_visitors_cookie(editor_browser: Browser) -> None:
    answer = editor_browser.client.post(
        "/api/v1/files", files={"file": ("x.txt", b"x")}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403


def test_files_are_searched_and_paged(editor_browser: Browser, site: Site) -> None:
    for number in range(30):
        service.add_file(site, BytesIO(b"x"), f"file {number:02}.txt")
    first, second = editor_browser.open("/files").text, editor_browser.open("/files?page=2").text
    assert "file 29.txt" in first
    assert "Page 1 of 2" in first
    assert "file 00.txt" in second
    assert "file 29.txt" not in second
    found = editor_browser.open("/files?search=le+07").text
    assert "file 07.txt" in found
    assert "file 08.txt" not in found
    for text in ("page=x", "page=0", "page=99999999999999", "search=" + "x" * 3000):
        assert editor_browser.open(f"/files?{text}").status_code == 200


def test_deleting_a_file_that_is_not_there_is_a_message(editor_browser: Browser) -> None:
    for form in ({"id": "nothing"}, {}):
        assert "alert-danger" in editor_browser.send("/files/delete", form, page="/files").text
