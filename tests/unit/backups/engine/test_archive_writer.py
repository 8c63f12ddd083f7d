"""Archives: what standard tools make of ours."""

import io
import os
import random
import subprocess
import zipfile
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_writer import AddedFile, ArchiveWriter, pack
from fastcms.durability import new_file


def write(path: Path, source_path: Path, name: str = "files/a") -> AddedFile:
    """Make an archive of one file that is read in segments."""
    with (
        new_file(path) as file,
        ArchiveWriter(file, path.parent) as writer,
        source_path.open("rb") as source,
    ):
        return writer.add_file(name, source, lambda _: None)


def test_unzip_sha256sum_7z_and_bsdtar_agree_with_an_archive(archive_path: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    subprocess.run(["unzip", "-q", archive_path, "-d", unpacked], check=True)
    subprocess.run(["sha256sum", "--check", "--strict", "checksums.sha256"], cwd=unpacked, check=True)
    assert (unpacked / "files/deep/日本語.txt").read_text() == "名前"
    subprocess.run(["7z", "t", archive_path], check=True, stdout=subprocess.DEVNULL)
    listing = subprocess.run(["bsdtar", "-tf", archive_path], check=True, capture_output=True, text=True)
    assert "files/one.txt" in listing.stdout


def test_an_archive_is_private_and_has_sizes_in_its_local_headers(archive_path: Path) -> None:
    assert archive_path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(archive_path) as archive:
        assert all(not info.flag_bits & 0x8 for info in archive.infolist())
        assert {info.compress_type for info in archive.infolist()} <= {
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        }


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 200_000])
def test_what_is_packed_whole_is_deflated_if_it_shrinks_and_comes_out_as_it_went_in(size: int) -> None:
    random_bytes = random.Random(size).randbytes(size)
    for content, method in ((random_bytes, zipfile.ZIP_STORED), (b"word " * size, zipfile.ZIP_DEFLATED)):
        packed = pack("files/a", content, 1_000_000_000)
        assert packed.entry.method == (method if content and size > 1 else zipfile.ZIP_STORED)
        with io.BytesIO() as file:
            _write_alone(file, packed.header + packed.data, content, packed.entry.method)


def _write_alone(file: io.BytesIO, entry: bytes, content: bytes, method: int) -> None:
    """Compare with what the standard library writes: the same header up to the data."""
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("files/a", (2001, 9, 9, 1, 46, 40))
        archive.writestr(info, content, method)
    own, others = entry[:14], file.getvalue()[:14]
    assert own == others
    assert int.from_bytes(entry[14:18], "little") == int.from_bytes(file.getvalue()[14:18], "little")


@pytest.mark.parametrize("size", [0, 1, 1024**2 - 1, 1024**2, 1024**2 + 1, 5 * 1024**2 + 7])
@pytest.mark.parametrize("is_text", [True, False])
def test_a_file_read_in_segments_comes_out_as_it_went_in(tmp_path: Path, size: int, is_text: bool) -> None:
    chance = random.Random(size)
    content = (b"%d words, " % size * (size // 3 + 1))[:size] if is_text else chance.randbytes(size)
    (tmp_path / "source").write_bytes(content)
    added = write(tmp_path / "a.zip", tmp_path / "source")
    assert added.size_bytes == size
    assert not added.has_changed
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("files/a") == content
        assert archive.testzip() is None
        is_deflated = archive.getinfo("files/a").compress_type == zipfile.ZIP_DEFLATED
        assert is_deflated == (is_text and size > 1)
        assert archive.read("checksums.sha256").decode() == f"{added.sha256}  files/a\n"


def test_a_file_that_is_cut_off_while_it_is_read_is_said_to_have_changed(tmp_path: Path) -> None:
    source_path = tmp_path / "log"
    source_path.write_bytes(os.urandom(20 * 1024**2))
    seen: list[int] = []

    def cut_off(done_bytes: int) -> None:
        seen.append(done_bytes)
        os.truncate(source_path, 5)

    with (
        new_file(tmp_path / "a.zip") as file,
        ArchiveWriter(file, tmp_path) as writer,
        source_path.open("rb") as source,
    ):
        added = writer.add_file("files/log", source, cut_off)
    assert added.has_changed
    assert sum(seen) == added.size_bytes
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None


def test_every_byte_is_reported(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 * 1024**2 + 1))
    seen: list[int] = []
    with (
        new_file(tmp_path / "a.zip") as file,
        ArchiveWriter(file, tmp_path) as writer,
        (tmp_path / "big").open("rb") as source,
    ):
        writer.add_file("files/big", source, seen.append)
    assert seen == [1024**2, 1024**2, 1024**2, 1]


def test_what_fails_in_the_pool_fails_the_archive_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(number: int) -> int:
        if number == 30:
            raise OSError("the disk is broken")
        return number

    def write_all() -> list[int]:
        with new_file(tmp_path / "a.zip") as file, ArchiveWriter(file, tmp_path) as writer:
            return list(writer.in_order(fail, range(100)))

    with pytest.raises(OSError, match="broken"):
        write_all()
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_is_not_written_whole_fails_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_at = os.pwrite
    (tmp_path / "source").write_bytes(b"content")
    monkeypatch.setattr(os, "pwrite", lambda file, content, offset: write_at(file, content[:9], offset))
    with pytest.raises(OSError, match="header of 'files/a' was not written whole"):
        write(tmp_path / "a.zip", tmp_path / "source")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
