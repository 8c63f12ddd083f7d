"""Deleted files and their trash."""

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
