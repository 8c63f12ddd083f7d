"""A name stands for one backup, here and elsewhere: no other one passes for what was copied."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine

from fastcms.backups import copying, deletion, receiving, service
from fastcms.backups.copies import CopyState, list_copies, save_copies
from fastcms.backups.schemas import Backup, describe_list
from fastcms.backups.whereabouts import copies_of
from fastcms.config import Settings
from fastcms.content import service as content
from fastcms.site import Site, new_site
from fastcms.startup import serve_site

NIGHT = datetime(2026, 11, 1, 2, tzinfo=UTC)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as servers:
        yield servers


@pytest.fixture
def site(opened: ExitStack, tmp_path: Path) -> Site:
    """A site whose server does nothing by itself, with a folder to copy to."""
    (tmp_path / "far").mkdir()
    return open_site(opened, tmp_path / "data", destination=tmp_path / "far")


@pytest.fixture
def copied(site: Site, tmp_path: Path) -> Backup:
    """A backup that was copied and is deleted here; its archive is kept as brought.zip."""
    backup = back_up_at_night(site)
    copying.copy_missing(site)
    shutil.copy(backup.path, tmp_path / "brought.zip")
    deletion.delete_backup(site, backup.filename, "somebody")
    return backup


def open_site(opened: ExitStack, folder: Path, *, destination: Path | None = None) -> Site:
    address = f"file://{destination}" if destination else ""
    site = new_site(Settings(_env_file=None, data_dir=folder, backup_destinations=address))
    opened.enter_context(serve_site(site))
    return site


def back_up_at_night(site: Site) -> Backup:
    with time_machine.travel(NIGHT, tick=True):
        return service.create_backup(site)


def back_up_of_another_site(opened: ExitStack, folder: Path) -> Backup:
    """One of the same second, with other bytes."""
    other = open_site(opened, folder)
    with other.database.write() as session:
        content.create_collection(session, "posts", [{"name": "title", "type": "text"}])
    return back_up_at_night(other)


def states_shown(site: Site, filename: str) -> list[str]:
    """What the list and the details say of a backup's copies."""
    backups = service.list_backups(site)
    listed = describe_list(backups, copies_of(site, backups)).items
    (copies,) = [item["copies"] for item in listed if item["filename"] == filename]
    assert copies == service.describe_backup(site, filename).copies
    return [copy["state"] for copy in copies]


def test_an_archive_of_another_site_has_no_copies_whatever_its_name(
    site: Site, copied: Backup, opened: ExitStack, tmp_path: Path
) -> None:
    other = back_up_of_another_site(opened, tmp_path / "other")
    assert other.filename == copied.filename
    brought = receiving.import_archive(site, Path(other.path), "somebody")
    assert brought.filename == "backup_20261101_020001.zip"
    assert states_shown(site, brought.filename) == []


def test_not_even_where_nobody_knows_what_the_copy_holds(
    site: Site, copied: Backup, opened: ExitStack, tmp_path: Path
) -> None:
    """Of an encrypted copy that was found at the destination, only the name is known."""
    (copy,) = list_copies(site)
    save_copies(site, [copy._replace(archive_sha256=None)])
    other = back_up_of_another_site(opened, tmp_path / "other")
    brought = receiving.import_archive(site, Path(other.path), "somebody")
    assert states_shown(site, brought.filename) == []


def test_the_very_archive_has_its_copies_again(site: Site, copied: Backup, tmp_path: Path) -> None:
    brought = receiving.import_archive(site, tmp_path / "brought.zip", "somebody")
    assert brought.filename == copied.filename
    assert states_shown(site, brought.filename) == [CopyState.COPIED]


def test_a_clock_that_was_set_back_gives_no_name_twice(site: Site, copied: Backup, tmp_path: Path) -> None:
    again = back_up_at_night(site)
    assert again.filename != copied.filename
    assert states_shown(site, again.filename) == []
    copying.copy_missing(site)
    assert states_shown(site, again.filename) == [CopyState.COPIED]
    assert len(list((tmp_path / "far").glob("backup_*.zip"))) == 2
