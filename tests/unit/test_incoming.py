"""Files on their way in."""

import hashlib
import resource
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastcms.errors import ConflictError, NotEnoughSpaceError, TooLargeError
from fastcms.incoming import IncomingFile, fill_incoming, remove_stale_uploads


@pytest.fixture
def files_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def test_a_kept_file_has_its_bytes_size_and_hash(files_dir: Path) -> None:
    with IncomingFile(files_dir, 100) as incoming:
        incoming.write(b"one ")
        incoming.write(b"two")
        incoming.keep(files_dir / "a.txt")
    assert [path.name for path in files_dir.iterdir()] == ["a.txt"]
    assert (files_dir / "a.txt").read_bytes() == b"one two"
    assert (files_dir / "a.txt").stat().st_mode & 0o777 == 0o600
    assert incoming.size_bytes == 7
    assert incoming.sha256 == hashlib.sha256(b"one two").hexdigest()
    assert incoming.head == b"one two"


def test_a_file_that_is_not_kept_leaves_nothing(files_dir: Path) -> None:
    with IncomingFile(files_dir, 100) as incoming:
        incoming.write(b"one")
        assert [path.name[:8] for path in files_dir.iterdir()] == [".upload-"]
    assert list(files_dir.iterdir()) == []


def test_a_taken_name_is_never_overwritten(files_dir: Path) -> None:
    (files_dir / "a.txt").write_bytes(b"first")
    with IncomingFile(files_dir, 100) as incoming, pytest.raises(ConflictError):
        incoming.keep(files_dir / "a.txt")
    assert (files_dir / "a.txt").read_bytes() == b"first"
    assert len(list(files_dir.iterdir())) == 1


def test_the_limit_is_the_largest_size_that_is_taken(files_dir: Path) -> None:
    with IncomingFile(files_dir, 3) as incoming:
        incoming.write(b"abc")
        with pytest.raises(TooLargeError, match="3 bytes"):
            incoming.write(b"d")


@contextmanager
def _largest_file(size_bytes: int) -> Iterator[None]:
    """The kernel refuses more, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_a_clear_error_and_leaves_nothing(files_dir: Path) -> None:
    with _largest_file(4096), IncomingFile(files_dir, 10**6) as incoming:
        incoming.write(bytes(4000))
        with pytest.raises(NotEnoughSpaceError, match="does not fit"):
            incoming.write(bytes(4000))
    assert list(files_dir.iterdir()) == []


def test_only_uploads_that_nobody_writes_are_stale(files_dir: Path) -> None:
    (files_dir / ".upload-dead").write_bytes(b"half")
    (files_dir / "a.txt").write_bytes(b"whole")
    with IncomingFile(files_dir, 100) as incoming:
        remove_stale_uploads(files_dir)
        assert len(list(files_dir.glob(".upload-*"))) == 1
        incoming.keep(files_dir / "b.txt")
    assert sorted(path.name for path in files_dir.iterdir()) == ["a.txt", "b.txt"]


def test_a_file_that_is_filled_is_whole_or_not_there(files_dir: Path) -> None:
    def chunks(*, is_whole: bool) -> Generator[bytes]:
        yield b"one "
        yield b"two"
        if not is_whole:
            raise ConflictError("no more")

    with fill_incoming(files_dir, chunks(is_whole=True)) as incoming:
        assert incoming.path.read_bytes() == b"one two"
    with pytest.raises(ConflictError, match="no more"):
        fill_incoming(files_dir, chunks(is_whole=False))
    assert list(files_dir.iterdir()) == []
