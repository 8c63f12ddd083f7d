"""The page of backups."""

from pathlib import Path

from httpx2 import Response

from fastcms.backups import receiving, service
from fastcms.backups.folder import alone, data_paths
from fastcms.backups.job_files import find_job
from fastcms.site import Site
from tests.conftest import wait_until
from tests.integration.admin.conftest import Browser


def create(browser: Browser, site: Site) -> str:
    """Click the button, and follow the job to its end; return the page that says how it ended."""
    begun = browser.send("/backups/create", {}, page="/backups")
    return browser.client.get(ended(site, begun).url).text


def ended(site: Site, begun: Response) -> Response:
    """Wait until the job has ended that an answer has led to."""
    job_id = begun.url.params["job"]
    wait_until(lambda: not find_job(site, job_id).is_running)
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


def test_a_backup_while_another_runs_is_refused_in_words(admin_browser: Browser, site: Site) -> None:
    with alone(data_paths(site), "creating a backup"):
        refused = admin_browser.send("/backups/create", {}, page="/backups")
    assert refused.status_code == 200
    assert "alert-danger" in refused.text


def test_an_uploaded_backup_is_marked(admin_browser: Browser, site: Site, tmp_path: Path) -> None:
    made = Path(service.create_backup(site).path).rename(tmp_path / "elsewhere.zip")
    assert ">uploaded</span>" not in admin_browser.open("/backups").text
    receiving.import_archive(site, made, "somebody@example.org")
    assert ">uploaded</span>" in admin_browser.open("/backups").text
    assert "Waiting for the first backup" in admin_browser.open("/").text
