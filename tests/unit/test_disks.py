"""Writing very many files, and making them durable together."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcms import disks
from fastcms.disks import Disks, WriteBehind

SIZES = [0, 1, 64 * 1024 - 1, 64 * 1024, 20 * 1024**2 + 7]


def pieces(size_bytes: int, piece_bytes: int = 300_001) -> Iterator[bytes]:
    content = bytes(range(256)) * (size_bytes // 256 + 1)
    for start in range(0, size_bytes, piece_bytes):
        yield content[start : min(start + piece_bytes, size_bytes)]


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("keeps_memory", [False, True])
def test_files_of_all_sizes_are_whole_and_private_and_nothing_stays_open(
    tmp_path: Path, *, keeps_memory: bool
) -> None:
    before = open_descriptors()
    folder = os.open(tmp_path, os.O_RDONLY)
    with Disks(tmp_path) as written_disks:
        with WriteBehind(keeps_memory=keeps_memory) as written:
            for size_bytes in SIZES:
                written.write_file(f"{size_bytes}", pieces(size_bytes), folder)
        written_disks.sync()
    os.close(folder)
    for size_bytes in SIZES:
        path = tmp_path / str(size_bytes)
        assert path.read_bytes() == b"".join(pieces(size_bytes))
        assert path.stat().st_mode & 0o777 == 0o600
    assert open_descriptors() == before


def test_many_files_keep_few_descriptors_open(tmp_path: Path) -> None:
    before = len(open_descriptors())
    with WriteBehind() as written:
        for number in range(200):
            written.write_file(tmp_path / str(number), pieces(64 * 1024))
        assert len(open_descriptors()) < before + 100
    assert len(open_descriptors()) == before


def test_an_error_among_the_pieces_is_raised_and_closes_everything(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield from pieces(9 * 1024**2)
        raise ValueError("broken")

    before = open_descriptors()
    with WriteBehind() as written:
        written.write_file(tmp_path / "whole", pieces(1024**2))
        with pytest.raises(ValueError, match="broken"):
            written.write_file(tmp_path / "part", broken())
    assert open_descriptors() == before


def test_what_is_there_is_neither_replaced_nor_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError), WriteBehind() as written:
            written.write_file(tmp_path / name, pieces(1))
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_where_one_call_cannot_be_trusted_each_file_and_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    (tmp_path / "deep" / "er").mkdir(parents=True)
    paths = [tmp_path, tmp_path / "deep", tmp_path / "deep/er", tmp_path / "deep/er/file", tmp_path / "one"]
    for path in paths[3:]:
        path.write_text("x")
    monkeypatch.setattr(disks, "_SYNCFS_TYPES", set())
    monkeypatch.setattr(disks, "fsync_file", synced.append)
    monkeypatch.setattr(disks, "fsync_folder", synced.append)
    with Disks(tmp_path, tmp_path / "deep") as few:
        few.sync()
    assert sorted(synced) == paths


def test_a_kernel_that_hides_errors_of_syncfs_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    (tmp_path / "one").write_text("x")
    monkeypatch.setattr(disks, "_SYNCFS_KERNEL", (99, 0))
    monkeypatch.setattr(disks, "fsync_file", synced.append)
    with Disks(tmp_path) as old:
        old.sync()
    assert synced == [tmp_path / "one"]


def test_a_sync_that_fails_is_an_error(tmp_path: Path) -> None:
    with Disks(tmp_path) as closed:
        pass
    with pytest.raises(OSError, match=r"syncfs|Bad file descriptor"):
        closed.sync()
