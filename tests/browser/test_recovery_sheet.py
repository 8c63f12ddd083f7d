"""The recovery sheet on paper: one page of A4, also with as much on it as there can be."""

import re
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser
from pydantic import SecretStr
from pyrage.x25519 import Identity

from fastcms.backups.recovery_sheet import describe_sheet, render_sheet
from fastcms.config import Settings
from fastcms.site import new_site

PLACES = (
    "s3://my-backups/site?endpoint=https://s3.eu-central-1.example.com file:///mnt/nas/my-backups "
    "gs://my-backups-in-another-cloud/site"
)
_WIDTH_PIXELS, _HEIGHT_PIXELS = 794, 1123  # of A4


def test_a_sheet_with_a_secret_and_three_places_is_one_page(chromium: Browser, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", backup_destinations=SecretStr(PLACES))
    identity = Identity.generate()
    sheet = describe_sheet(new_site(settings), [str(identity.to_public())], str(identity))
    sheet = replace(
        sheet, machine="a-machine-with-a-long-name.example.com", data_dir=Path("/srv/fastcms/data")
    )
    page = chromium.new_page(viewport={"width": _WIDTH_PIXELS, "height": _HEIGHT_PIXELS})
    page.set_content(render_sheet(sheet))
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == 1
    page.emulate_media(media="print")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    words = {word.inner_text(): word.bounding_box() for word in page.locator("pre span").all()}
    assert {"backup-key.txt", '"${NEWEST:?no'} <= set(words)
    heights = [box["height"] for box in words.values() if box]
    assert max(heights) < 1.5 * min(heights)  # no word is on two lines
    code = page.locator("svg").bounding_box()
    assert code is not None
    assert code["width"] > 70
    page.close()
