"""The page of backups."""

import time
from io import BytesIO
from pathlib import Path

from httpx2 import Response
from sqlalchemy import text

from fastcms.backups import receiving, restoring, service
from fastcms.backups.folder import alone, data_paths
from fastcms.backups.job_files import find_job
from fastcms.media import service as media
from fastcms.site import Site
from tests.conftest import PASSWORD
from tests.integration.admin.conftest import Browser


def create(browser: Browser, site: Site) -> str:
    """Click the button, and follow the job to its end; return the page that says how it ended."""
    begun = browser.send("/backups/create", {}, page="/backups")
    return browser.client.get(ended(site, begun).url).text


def ended(site: Site, begun: Response) -> Response:
    """Wait until the job has ended that an answer has led to."""
    job_id = begun.url.params["job"]
    while find_job(site, job_id).is_running:
        time.sleep(0.02)
    return begun


def test_a_backup_is_created_listed_downloaded_and_deleted(admin_browser: Browser, site: Site) -> None:
    assert "No backups yet" in admin_browser.open("/backups").text
    made = create(admin_browser, site)
    (backup,) = service.list_backups(site)
    assert f"Created {backup.filename}." in made
    part = admin_browser.client.get(
        f"/admin/backups/{backup.filename}/download", headers={"Range": "bytes=0-3"}
    )
    assert part.status_code == 206
    assert part.content == b"PK\x03\x04"
    whole = admin_browser.client.get(f"/admin/backups/{backup.filename}/download")
    assert len(whole.content) == backup.size_bytes
    assert backup.filename in whole.headers["content-disposition"]
    gone = admin_browser.send(f"/backups/{backup.filename}/delete", {"confirm": backup.name})
    assert f"Deleted {backup.filename}." in gone.text
    assert service.list_backups(site) == []


def test_a_restore_is_explained_staged_and_cancelled(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    path = f"/backups/{backup.filename}/restore"
    assert "What will happen" in admin_browser.open(path).text
    assert restoring.restore_status(site).state == "none"
    staged = admin_browser.send(path, {})
    assert "Staged: restart the server to complete" in staged.text
    assert "start it the way you always do" in staged.text
    assert restoring.restore_status(site).requested_by == "admin@example.com"
    assert "A restore is waiting for a restart" in admin_browser.open("/").text
    twice = admin_browser.send(path, {})
    assert "already staged" in twice.text
    cancelled = admin_browser.send("/backups/restore/cancel", {}, page="/backups")
    assert "The site stays as it is." in cancelled.text
    assert "A restore is waiting" not in admin_browser.open("/").text
    assert restoring.restore_status(site).state == "none"
    nothing = admin_browser.send("/backups/restore/cancel", {}, page="/backups")
    assert nothing.status_code == 200
    assert "alert-danger" in nothing.text


def test_what_was_wrong_with_a_backup_is_said_before_the_button(admin_browser: Browser, site: Site) -> None:
    whole = service.create_backup(site)
    file = media.add_file(site, BytesIO(b"a picture"), "picture.txt")
    stored = site.settings.files_dir / file.path
    stored.unlink()
    lacking = service.create_backup(site)
    stored.write_bytes(b"a picture")
    with site.database.write() as session:
        session.execute(text("CREATE TABLE strange (x INTEGER)"))
    refused = service.create_backup(site)
    pages = {
        backup: admin_browser.open(f"/backups/{backup.filename}/restore").text
        for backup in (whole, lacking, refused)
    }
    assert "This backup" not in pages[whole]
    assert "This backup lacks something" in pages[lacking]
    assert f"files/{file.path} is missing on disk" in pages[lacking]
    assert "This backup will be refused" in pages[refused]
    for backup in (lacking, refused):
        assert pages[backup].index("alert-danger") < pages[backup].index("Prepare this restore")


def test_a_backup_that_is_not_there_is_a_message_and_no_error(admin_browser: Browser, site: Site) -> None:
    service.create_backup(site)
    for name in ("backup_20200101_000000.zip", "app.db", ".restore_pending", "..%2Fapp.db"):
        for action in ("download", "restore"):
            page = admin_browser.open(f"/backups/{name}/{action}")
            assert page.status_code in {200, 404}, (name, action)
            assert "PK" not in page.text[:2]
        deleted = admin_browser.send(f"/backups/{name}/delete", {}, page="/backups")
        assert deleted.status_code in {200, 404, 405}
    assert len(service.list_backups(site)) == 1


def test_a_damaged_backup_is_refused_in_words(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    with open(backup.path, "r+b") as archive:  # noqa: PTH123 - a text path
        archive.truncate(backup.size_bytes // 2)
    refused = admin_browser.send(f"/backups/{backup.filename}/restore", {})
    assert refused.status_code == 200
    assert "alert-danger" in refused.text
    assert restoring.restore_status(site).state == "none"


def test_a_backup_while_another_runs_is_refused_in_words(admin_browser: Browser, site: Site) -> None:
    with alone(data_paths(site), "creating a backup"):
        refused = admin_browser.send("/backups/create", {}, page="/backups")
    assert refused.status_code == 200
    assert "alert-danger" in refused.text


def test_an_uploaded_backup_is_marked_and_asks_for_the_password(
    admin_browser: Browser, site: Site, tmp_path: Path
) -> None:
    made = Path(service.create_backup(site).path).rename(tmp_path / "elsewhere.zip")
    assert ">uploaded</span>" not in admin_browser.open("/backups").text
    backup = receiving.import_archive(site, made, "somebody@example.org")
    assert ">uploaded</span>" in admin_browser.open("/backups").text
    assert "Waiting for the first backup" in admin_browser.open("/").text
    path = f"/backups/{backup.filename}/restore"
    page = admin_browser.open(path).text
    assert "comes from another machine" in page
    assert "somebody@example.org" in page
    assert "admin@example.com<br>" in page
    for password in ("", "wrong"):
        refused = admin_browser.send(path, {"password": password})
        assert refused.status_code == 200
        assert "alert-danger" in refused.text
        assert 'name="password"' in refused.text
        assert restoring.restore_status(site).state == "none"
    staged = admin_browser.send(path, {"password": PASSWORD})
    assert "Staged: restart the server to complete" in staged.text


def test_a_backup_made_here_asks_for_no_password(admin_browser: Browser, site: Site) -> None:
    backup = service.create_backup(site)
    assert 'name="password"' not in admin_browser.open(f"/backups/{backup.filename}/restore").text
