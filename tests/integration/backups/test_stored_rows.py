"""What a destination keeps, beside what this machine has and knows of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from fastcms.backups import copying, encryption, service
from fastcms.backups.destinations import add_destination
from fastcms.backups.stored_rows import find_row, list_page
from fastcms.config import Settings
from fastcms.site import Site

KEY = Identity.generate()


@pytest.fixture
def destination(site: Site, far: Path) -> str:
    return add_destination(site, far.as_uri(), {}).id


def with_key_file(site: Site, path: Path) -> Site:
    return replace(
        site, settings=Settings(_env_file=None, data_dir=site.settings.data_dir, backup_identity=path)
    )


def test_a_copy_is_ours_and_here_until_it_is_altered_there_and_deleted_here(
    site: Site, far: Path, destination: str
) -> None:
    backup = service.create_backup(site)
    copying.copy_missing(site)
    (row,) = list_page(site, destination, 1).rows
    assert (row.is_ours, row.is_here, row.needs_key, row.problem) == (True, True, False, None)
    assert row.checked == "read_back"
    (far / backup.filename).write_bytes(Path(backup.path).read_bytes() + b"!")
    altered = find_row(site, destination, backup.filename)
    assert altered.problem is not None
    assert "somebody has changed it" in altered.problem
    assert not altered.is_here
    Path(backup.path).unlink()
    assert not find_row(site, destination, backup.filename).is_here


def test_a_key_is_asked_for_where_the_server_has_none_that_can_be_read(
    site: Site, far: Path, destination: str, tmp_path: Path
) -> None:
    with encryption.encrypted([b"PK\x03\x04"], 4, [KEY.to_public()]) as stream:
        (far / "backup_20250115_100000.zip.age").write_bytes(b"".join(stream.chunks))
    key_file = tmp_path / "key.txt"
    gone = with_key_file(site, key_file)
    assert [row.needs_key for row in list_page(gone, destination, 1).rows] == [True]
    key_file.write_text(str(KEY))
    key_file.chmod(0o600)
    found = list_page(with_key_file(site, key_file), destination, 1).rows
    assert [(row.needs_key, row.is_ours) for row in found] == [(False, False)]


def test_many_are_shown_page_by_page(site: Site, far: Path, destination: str) -> None:
    for number in range(101):
        (far / f"backup_20250115_10{number // 60:02}{number % 60:02}.zip").write_bytes(b"PK\x03\x04")
    first, second = list_page(site, destination, 1), list_page(site, destination, 2)
    assert (len(first.rows), first.total, first.page_count, first.size_bytes) == (100, 101, 2, 404)
    assert [row.stored.object_name for row in second.rows] == ["backup_20250115_100000.zip"]
    assert list_page(site, destination, 9).page == 2
