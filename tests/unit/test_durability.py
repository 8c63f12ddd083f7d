"""Writing what must not be lost."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcms.durability import append_durably, new_file, require_free_space, sync, write_durably
from fastcms.errors import NotEnoughSpaceError
from tests.unit.backups.engine.layouts import mounted


def test_a_new_file_appears_whole_and_private(tmp_path: Path) -> None:
    with new_file(tmp_path / "a") as file:
        file.write(b"half")
        file.flush()
        assert not (tmp_path / "a").exists()
        file.write(b" and half")
    assert (tmp_path / "a").read_bytes() == b"half and half"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_after_an_error_the_old_file_stays_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    write_durably(tmp_path / "a", b"old")
    with pytest.raises(TypeError), new_file(tmp_path / "a") as file:
        file.write("no bytes")  # type: ignore[call-overload]
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_fsync_fails_for_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_durably(tmp_path / "a", b"lost")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_shorter_than_what_was_written_is_no_success(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w+b") as file:
        file.write(b"all of it")
        file.flush()
        os.truncate(tmp_path / "a", 3)
        with pytest.raises(OSError, match="3 bytes are there of 9 written"):
            sync(file)


def test_a_line_after_an_unfinished_one_is_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\nunfin")
    append_durably(tmp_path / "a", b"two\n")
    assert (tmp_path / "a").read_bytes() == b"one\nunfin\ntwo\n"


def test_a_line_that_the_disk_cannot_take_is_taken_back(small_disk: Path) -> None:
    path = small_disk / "a"
    path.write_bytes(b"one\n")
    with pytest.raises(OSError, match="No space left"):
        append_durably(path, bytes(3_000_000) + b"\n")
    assert path.read_bytes() == b"one\n"


def test_bytes_that_a_disk_does_not_have_are_named_with_both_numbers(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1, "A test")
    with pytest.raises(
        NotEnoughSpaceError, match=r"A test needs [\d,.]+ MB in .*, but only [\d,.]+ MB are free"
    ):
        require_free_space(tmp_path, 2**60, "A test")


@pytest.fixture
def few_files(tmp_path: Path) -> Iterator[Path]:
    """A disk with space enough, but with room for a thousand files only."""
    folder = tmp_path / "few files"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", f"size=60m,nr_inodes=1000,uid={os.getuid()}", "tmpfs"):
        yield folder


def test_files_that_a_disk_cannot_take_are_named_with_both_numbers(few_files: Path) -> None:
    with pytest.raises(NotEnoughSpaceError, match=r"needs [\d,]+ files and folders .* only [\d,]+ more"):
        require_free_space(few_files, 1, "A test", needed_files=2000)
