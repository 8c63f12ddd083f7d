"""Deleted files and their trash."""

import os
from pathlib import Path

import pytest

from fastcms.media.storage import (
    list_files_on_disk,
    list_trash,
    move_to_trash,
    remove_from_trash,
    take_from_trash,
)


@pytest.fixture
def files_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def test_a_deleted_file_goes_to_the_trash_and_can_come_back(files_dir: Path) -> None:
    assert list_trash(files_dir) == []
    (files_dir / "a.txt").write_bytes(b"a")
    move_to_trash(files_dir, "a.txt")
    assert list_trash(files_dir) == ["a.txt"]
    assert list(list_files_on_disk(files_dir)) == []
    take_from_trash(files_dir, "a.txt")
    assert list(list_files_on_disk(files_dir)) == ["a.txt"]
    move_to_trash(files_dir, "a.txt")
    remove_from_trash(files_dir, "a.txt")
    assert list_trash(files_dir) == []


def test_files_are_listed_at_every_depth_and_nothing_else_is(files_dir: Path) -> None:
    wanted = ["a.txt", "deep/b.txt", "deep/deeper/c.txt", "deep/.trash/kept.txt", "deep/.restore/kept.txt"]
    unwanted = [
        ".upload-half",
        "deep/.upload-half",
        ".trash/gone.txt",
        ".restore_id",
        ".restore/staging/a.txt",
    ]
    for name in (*wanted, *unwanted):
        path = files_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (files_dir / "link.txt").symlink_to("a.txt")
    (files_dir / "linked").symlink_to("deep", target_is_directory=True)
    os.mkfifo(files_dir / "pipe")
    assert sorted(list_files_on_disk(files_dir)) == sorted(wanted)


def test_a_folder_that_cannot_be_read_is_an_error_and_not_empty(files_dir: Path) -> None:
    (files_dir / "deep").mkdir()
    (files_dir / "a.txt").write_bytes(b"")
    listing = list_files_on_disk(files_dir)
    assert next(listing) == "a.txt"
    (files_dir / "deep").rmdir()
    with pytest.raises(FileNotFoundError, match="deep"):
        list(listing)
