"""Archives: what standard tools make of ours, and what ours makes of a stranger's."""

import io
import os
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from fastcms.backups.engine.archive import ArchiveWriter, extract_archive, open_archive, open_regular_file
from fastcms.backups.engine.progress import Progress, ignore_progress
from fastcms.errors import CorruptArchiveError, UnsafeArchiveError
from tests.unit.backups.engine.conftest import Rewrite

START = Progress("writing", 0, 1)


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


def test_what_does_not_shrink_is_stored_and_text_is_deflated(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(os.urandom(200_000))
    (tmp_path / "text").write_bytes(b"the same words " * 10_000)
    with ArchiveWriter(tmp_path / "a.zip") as writer:
        for name in ("photo", "text"):
            with (tmp_path / name).open("rb") as source:
                writer.add_file(f"files/{name}", source, ignore_progress, START)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.getinfo("files/photo").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("files/text").compress_size < 10_000


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 * 1024**2 + 1))
    seen: list[Progress] = []
    with ArchiveWriter(tmp_path / "a.zip") as writer, (tmp_path / "big").open("rb") as source:
        writer.add_file("files/big", source, seen.append, Progress("writing", 10, 99))
    assert [p.done_bytes - 10 for p in seen] == [1024**2, 2 * 1024**2, 3 * 1024**2, 3 * 1024**2 + 1]


def test_a_link_is_not_followed_and_a_fifo_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    assert open_regular_file([tmp_path / "link", tmp_path / "fifo", tmp_path / "absent"]) is None
    found = open_regular_file([tmp_path / "absent", tmp_path / "secret"])
    assert found is not None
    with found:
        assert found.read() == b"secret"


def test_extraction_gives_the_same_bytes_and_private_files(archive_path: Path, tmp_path: Path) -> None:
    with open_archive(archive_path) as archive:
        extract_archive(archive, tmp_path / "out", ignore_progress)
    assert (tmp_path / "out/files/deep/日本語.txt").read_text() == "名前"
    assert (tmp_path / "out/files/one.txt").stat().st_mode & 0o777 == 0o600


def extract(path: Path, target_dir: Path) -> None:
    with open_archive(path) as archive:
        extract_archive(archive, target_dir, ignore_progress)


def test_a_changed_byte_is_found(archive_path: Path, tmp_path: Path) -> None:
    content = bytearray(archive_path.read_bytes())
    position = content.index(b"new picture")
    content[position] ^= 1
    archive_path.write_bytes(content)
    with pytest.raises(CorruptArchiveError):
        extract(archive_path, tmp_path / "out")


def test_changed_content_with_a_right_crc_is_found_by_its_checksum(rewrite: Rewrite, tmp_path: Path) -> None:
    path = rewrite(lambda info, data: (info, b"changed" if info.filename == "files/one.txt" else data))
    with pytest.raises(CorruptArchiveError, match=r"files/one\.txt in the backup differs"):
        extract(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["database.db", "metadata.json", "checksums.sha256", "files/one.txt"])
def test_a_missing_entry_is_named(rewrite: Rewrite, tmp_path: Path, name: str) -> None:
    path = rewrite(lambda info, data: None if info.filename == name else (info, data))
    with pytest.raises(CorruptArchiveError, match=name.replace(".", r"\.")):
        extract(path, tmp_path / "out")


def test_an_entry_without_a_checksum_is_refused(archive_path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive_path, "a") as archive:
        archive.writestr("files/extra.txt", "extra")
    with pytest.raises(CorruptArchiveError, match=r"files/extra\.txt is not in its checksums"):
        extract(archive_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../outside", "leads out of its folder"),
        ("/outside", "is absolute"),
        ("files/..\\..\\outside", "backslash"),
        ("files/ONE.txt", "collides with"),
        ("files/one.txt/below", "lies below a file"),
        ("app.db", "is not part of a backup"),
    ],
)
def test_hostile_names_are_refused_and_nothing_is_written(
    archive_path: Path, tmp_path: Path, name: str, reason: str
) -> None:
    with zipfile.ZipFile(archive_path, "a") as archive:
        archive.writestr(name, "hostile")
    with pytest.raises(UnsafeArchiveError, match=reason):
        extract(archive_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFREG | stat.S_ISUID])
def test_links_fifos_and_setuid_files_are_refused(archive_path: Path, tmp_path: Path, mode: int) -> None:
    info = zipfile.ZipInfo("files/special")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(archive_path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeArchiveError, match="files/special"):
        extract(archive_path, tmp_path / "out")


def test_an_unusual_compression_method_is_refused(archive_path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive_path, "a") as archive:
        archive.writestr("files/x", "x", zipfile.ZIP_LZMA)
    with pytest.raises(UnsafeArchiveError, match="unusual method 14"):
        extract(archive_path, tmp_path / "out")


@pytest.mark.parametrize("size_bytes", [0, 1, 21, 22, 500])
def test_a_truncated_archive_is_a_clear_error(archive_path: Path, tmp_path: Path, size_bytes: int) -> None:
    archive_path.write_bytes(archive_path.read_bytes()[:size_bytes])
    with pytest.raises(CorruptArchiveError, match=r"backup_20250115_100000\.zip is damaged"):
        extract(archive_path, tmp_path / "out")


def test_any_damaged_byte_gives_an_archive_error_or_the_same_content(
    archive_path: Path, tmp_path: Path
) -> None:
    original = archive_path.read_bytes()
    extract(archive_path, tmp_path / "right")
    for position in range(0, len(original), 37):
        damaged = bytearray(original)
        damaged[position] ^= 0xFF
        archive_path.write_bytes(damaged)
        out = tmp_path / str(position)
        try:
            extract(archive_path, out)
        except (CorruptArchiveError, UnsafeArchiveError):
            continue
        for path in (tmp_path / "right").rglob("*"):
            if path.is_file():
                assert (out / path.relative_to(tmp_path / "right")).read_bytes() == path.read_bytes()


def test_an_archive_of_the_standard_library_can_be_opened(archive_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_path.read_bytes())) as archive:
        assert archive.testzip() is None
