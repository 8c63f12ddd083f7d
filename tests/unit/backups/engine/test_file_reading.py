"""Reading the files of a site."""

import errno
import os
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_writer import PackedFile
from fastcms.backups.engine.file_reading import (
    NotRead,
    in_batches,
    open_folder,
    open_regular_file,
    read_batch,
)
from fastcms.backups.engine.file_rows import FileRow


def test_a_link_is_not_followed_and_a_fifo_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    with open_folder(tmp_path) as folder:
        assert open_regular_file(folder, ["link", "fifo", "absent"]) is None
        found = open_regular_file(folder, ["absent", "secret"])
        assert found is not None
        with found:
            assert found.read() == b"secret"


def test_a_file_that_was_deleted_meanwhile_is_read_from_the_trash(tmp_path: Path) -> None:
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash/gone").write_bytes(b"deleted")
    (tmp_path / "large").write_bytes(bytes(2 * 1024**2))
    rows = [FileRow(name, 7, "") for name in ("gone", "large", "never")]
    with open_folder(tmp_path) as folder:
        (_, gone), (_, large), (_, never) = read_batch(folder, ".trash", rows)
    assert isinstance(gone, PackedFile)
    assert (gone.entry.name, gone.entry.size_bytes) == (b"files/gone", 7)
    assert (large, never) == (NotRead.LARGE, NotRead.MISSING)


def test_a_file_that_cannot_be_read_to_its_end_is_an_error_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_up_to_a_bad_block(descriptor: int, size_bytes: int, offset: int) -> bytes:
        if offset >= 4096:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, min(size_bytes, 4096), offset)

    read = os.pread
    (tmp_path / "a").write_bytes(bytes(10_000))
    monkeypatch.setattr(os, "pread", read_up_to_a_bad_block)
    with open_folder(tmp_path) as folder, pytest.raises(OSError, match="Input/output error: 'a'"):
        read_batch(folder, ".trash", [FileRow("a", 10_000, "")])


def test_batches_hold_all_files_in_order_and_none_grows_too_large() -> None:
    rows = [FileRow(f"{number:05}", 10_000 * (number % 300), "") for number in range(5_000)] + [
        FileRow("z", 1, "")
    ] * 250
    batches = list(in_batches(rows))
    assert [row for batch in batches for row in batch] == rows
    assert max(len(batch) for batch in batches) == 200
    assert max(sum(row.size_bytes for row in batch[:-1]) for batch in batches) < 2 * 1024**2
