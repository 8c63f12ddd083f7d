"""The pages of one backup: what is in it, how its verification went, and its files."""

import io
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from fastcms.backups import backup_notes, jobs, one_backup, pinning, restoring, service, tasks
from fastcms.backups.job_files import JobState, list_jobs
from fastcms.content import service as content
from fastcms.errors import ArchiveError
from fastcms.media import service as media
from fastcms.site import Site
from tests.integration.admin.conftest import Browser

NAME = "Größe & <b>Höhe<b> 100%?#.html"
CONTENT = b"<html><script>alert(1)</script>"


@pytest.fixture
def filename(site: Site) -> str:
    with site.database.write() as session:
        posts = content.create_collection(session, "posts", [{"name": "title", "type": "text"}])
        content.create_record(session, posts, {"title": "T"})
    media.add_file(site, io.BytesIO(CONTENT), NAME)
    return jobs.run(site, tasks.creation(site, "me")).filename


def damage(site: Site, filename: str) -> Path:
    """Cut the end off an archive."""
    path = site.settings.backups_dir / filename
    path.write_bytes(path.read_bytes()[:-30])
    return path


def test_the_page_says_what_is_in_a_backup_and_what_the_site_has_now(
    admin_browser: Browser, site: Site, filename: str
) -> None:
    pinning.pin(site, filename, "anna@example.com")
    page = admin_browser.open(f"/backups/{filename}").text
    assert "posts" in page
    assert "Yes, as it is: its database has the same form as now (schema 0001)." in page
    assert "anna@example.com wants it kept" in page
    assert "It was not verified so far." in page
    assert f"{site.settings.backups_dir}/{filename}" in page
    assert f"{backup_notes.read_notes(site, filename)[filename].crc32:08x}" in page
    assert "&lt;b&gt;Höhe&lt;b&gt;" in page
    assert "<b>Höhe" not in page
    for action in ("restore", "download", "unpin", "delete", "verify"):
        assert f"/admin/backups/{filename}/{action}" in page


def test_the_report_of_a_verification_is_told_in_words(
    admin_browser: Browser, site: Site, filename: str
) -> None:
    jobs.run(site, tasks.verifying(site, filename, "me", level=backup_notes.VerificationLevel.LIGHT))
    page = admin_browser.open(f"/backups/{filename}").text
    assert "Every byte is as it was written" in page
    assert "It was not restored as a test." in page
    jobs.run(site, tasks.verifying(site, filename, "me"))
    page = admin_browser.open(f"/backups/{filename}").text
    assert "It can be restored" in page
    assert "with 1 of its files" in page
    for step in ("Unpacking it", "Checking the database", "Starting FastCMS on it", "Reading the site"):
        assert step in page


def test_a_damaged_backup_has_a_page_with_the_reason_and_what_to_do(
    admin_browser: Browser, site: Site, filename: str
) -> None:
    damage(site, filename)
    with pytest.raises(ArchiveError):
        jobs.run(site, tasks.verifying(site, filename, "me"))
    page = admin_browser.open(f"/backups/{filename}")
    assert page.status_code == 200
    assert "What is in this backup cannot be shown" in page.text
    assert "The archive is damaged: its end is missing." in page.text
    assert "It did not pass" in page.text
    assert "its database has the same form" not in page.text
    assert "Do not rely on this backup." in page.text
    assert f"/admin/backups/{filename}/delete" in page.text
    assert admin_browser.open(f"/backups/{filename}/files").status_code == 422


def test_an_uploaded_backup_says_where_it_comes_from_and_whom_it_would_let_in(
    admin_browser: Browser, site: Site, filename: str, tmp_path: Path
) -> None:
    path = tmp_path / "from elsewhere.zip"
    (site.settings.backups_dir / filename).rename(path)
    uploaded = jobs.run(site, tasks.importing(site, path, "bert"))
    page = admin_browser.open(f"/backups/{uploaded.filename}").text
    assert "another machine: bert brought it" in page
    assert "the admins are admin@example.com" in page
    assert uploaded.sha256 is not None
    assert uploaded.sha256 in page


def test_a_staged_restore_is_named_on_its_backups_page(
    admin_browser: Browser, site: Site, filename: str
) -> None:
    restoring.stage_restore(site, filename, "me")
    assert "waits for a restart of the server" in admin_browser.open(f"/backups/{filename}").text


def test_work_that_goes_on_with_a_backup_is_shown_on_its_page(
    admin_browser: Browser, site: Site, filename: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.run(site, tasks.verifying(site, filename, "me", level=backup_notes.VerificationLevel.LIGHT))
    [job, *others] = list_jobs(site)
    goes_on = job.model_copy(update={"state": JobState.RUNNING, "finished": None})
    monkeypatch.setattr(one_backup, "list_jobs", lambda _site: [goes_on, *others])
    page = admin_browser.open(f"/backups/{filename}").text
    assert f'data-job-id="{job.id}"' in page
    assert f'data-job-done="http://testserver/admin/backups/{filename}"' in page


def test_files_are_searched_and_a_single_one_is_downloaded(
    admin_browser: Browser, site: Site, filename: str
) -> None:
    for number in range(60):
        media.add_file(site, io.BytesIO(b"%d" % number), f"photo {number}.jpg")
    filename = service.create_backup(site).filename
    page = admin_browser.open(f"/backups/{filename}/files")
    assert "61 files, newest first" in page.text
    assert "Page 1 of 2" in page.text
    assert "Größe" in admin_browser.open(f"/backups/{filename}/files?page=2").text
    found = admin_browser.open(f"/backups/{filename}/files?search={quote('100%')}").text
    assert "1 file found" in found
    with site.database.read() as session:
        [file], _total = media.list_files(session, search="Höhe")
    address = f"/admin/backups/{filename}/files/{quote(file.path)}"
    assert address in found
    sent = admin_browser.client.get(address)
    assert sent.content == CONTENT
    assert sent.headers["content-type"] == "application/octet-stream"
    assert sent.headers["content-disposition"] == f"attachment; filename*=utf-8''{quote(NAME, safe='')}"
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert "no longer on the site" not in found
    media.delete_file(site, file.id)
    found = admin_browser.open(f"/backups/{filename}/files?search={quote('100%')}").text
    assert "no longer on the site" in found


def test_what_is_not_there_is_said_calmly(admin_browser: Browser, site: Site, filename: str) -> None:
    for query, words in (
        ("?search=nothing+like+it", "Nothing found"),
        ("?search=%00%FF", "Nothing found"),
        ("?page=99", "There are no more files"),
        ("?page=0", "1 file, newest first"),
    ):
        page = admin_browser.open(f"/backups/{filename}/files{query}")
        assert (page.status_code, words in page.text) == (200, True), query
    missing = "/backups/backup_20200101_000000.zip"
    for path, status in (
        (missing, 404),
        (f"{missing}/files", 404),
        (f"{missing}/files/a.txt", 404),
        (f"/backups/{filename}/files/no/such.txt", 404),
        ("/backups/nonsense", 422),
    ):
        page = admin_browser.open(path)
        assert (page.status_code, "Go to the first page" in page.text) == (status, True), path


def test_a_backup_without_files_says_so(admin_browser: Browser, site: Site) -> None:
    filename = service.create_backup(site).filename
    assert "No files in this backup" in admin_browser.open(f"/backups/{filename}/files").text
    assert "Nothing had been uploaded" in admin_browser.open(f"/backups/{filename}").text


def test_editors_do_not_see_what_is_in_backups(editor_browser: Browser, filename: str) -> None:
    for path in ("", "/files", "/files/a.txt"):
        assert editor_browser.open(f"/backups/{filename}{path}").status_code == 403


def test_names_that_are_lost_with_the_database_are_explained(admin_browser: Browser, site: Site) -> None:
    media.add_file(site, io.BytesIO(os.urandom(5000)), "a.bin")
    filename = service.create_backup(site).filename
    path = site.settings.backups_dir / filename
    data = bytearray(path.read_bytes())
    start = data.index(b"database.db")
    data[start + 200 : start + 400] = bytes(200)
    path.write_bytes(data)
    for address in ("", "/files"):
        page = admin_browser.open(f"/backups/{filename}{address}").text
        assert "The names that people gave their files are not known" in page
