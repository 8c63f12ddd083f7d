"""What `make screenshots` is made of works: a month that is lived, and pictures in each look."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from fastcms.backups import history, service
from fastcms.backups.history import RunKind
from tests.browser.conftest import SharedSite
from tests.browser.month import live_a_month
from tests.browser.screenshots import Photographer
from tests.browser.visiting import open_site


def test_a_page_is_photographed_in_each_look(
    chromium: Browser, shared_site: SharedSite, tmp_path: Path
) -> None:
    photographer = Photographer(chromium, shared_site.server.url, tmp_path)
    photographer.log_in(shared_site.token)
    photographer.take("backups", "/backups")
    photographer.close()
    sizes = {path.stem: Image.open(BytesIO(path.read_bytes())).width for path in tmp_path.iterdir()}
    assert sizes == {
        "backups-desktop-light": 1280,
        "backups-desktop-dark": 1280,
        "backups-phone-light": 390,
        "backups-phone-dark": 390,
    }


def test_a_night_is_lived_for_each_day(tmp_path: Path) -> None:
    live_a_month(tmp_path, days=2)
    with open_site(tmp_path) as site:
        made = [run for run in history.list_runs(site) if run.kind is RunKind.CREATE]
        assert [run.backup_filename for run in made] == [
            backup.filename for backup in service.list_backups(site)
        ]
        assert len(made) == 2
