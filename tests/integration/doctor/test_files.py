"""The doctor on the uploaded files."""

import os
import re
import shutil
from collections.abc import Callable

import pytest

from fastcms.site import Site
from tests.e2e.conftest import REPOSITORY
from tests.integration.doctor.conftest import (
    add_private_file,
    backup_path,
    data,
    examine_unchanged,
    found,
    overwrite,
    upload_path,
)

FILES: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "missing": (lambda site: upload_path(site).unlink(), {"file_missing"}),
    "shorter": (lambda site: os.truncate(upload_path(site), 3), {"file_damaged"}),
    "without a row": (lambda site: add_private_file(data(site, "files/by hand.txt")), {"file_without_row"}),
    "an upload broken off": (
        lambda site: add_private_file(data(site, "files/.upload-0123")),
        {"upload_left_over"},
    ),
    "folder gone": (lambda site: shutil.rmtree(site.settings.files_dir), {"files_missing"}),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_the_files_is_found(stopped: Site, name: str) -> None:
    breaks, expected = FILES[name]
    breaks(stopped)
    assert found(stopped) == expected


def test_a_changed_byte_in_a_file_or_a_backup_is_found_by_reading_everything(stopped: Site) -> None:
    overwrite(upload_path(stopped), 0, b"O")
    archive = backup_path(stopped)
    # Of the upload, which is too short to be worth compressing.
    overwrite(archive, archive.read_bytes().index(b"one two three"), b"O")
    assert found(stopped) == set()
    assert found(stopped, is_deep=True) == {"file_damaged", "backup_damaged"}


def test_a_file_that_is_missing_leads_to_how_to_get_it_back(stopped: Site) -> None:
    name = upload_path(stopped).name
    upload_path(stopped).unlink()
    finding = next(f for f in examine_unchanged(stopped).findings if f.code == "file_missing")
    assert finding.message == f"1 uploaded file is missing: {name}."
    section = re.search("'(.+)'", finding.hint)
    assert section is not None
    assert f"\n## {section[1]}\n" in (REPOSITORY / "docs/disaster-recovery.md").read_text()


def test_a_file_of_a_deletion_that_was_broken_off_is_not_missing(stopped: Site) -> None:
    trash = data(stopped, "files/.trash")
    trash.mkdir(mode=0o700, exist_ok=True)
    upload_path(stopped).rename(trash / upload_path(stopped).name)
    assert found(stopped) == {"trash_not_empty"}
