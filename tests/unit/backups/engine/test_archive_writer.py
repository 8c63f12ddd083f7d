"""Archives: what standard tools make of ours."""

import io
import os
import subprocess
import zipfile
from pathlib import Path

from fastcms.backups.engine.archive_writer import ArchiveWriter, open_regular_file
from fastcms.backups.engine.progress import Progress, ignore_progress
from fastcms.durability import new_file

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
    with new_file(tmp_path / "a.zip") as file, ArchiveWriter(file) as writer:
        for name in ("photo", "text"):
            with (tmp_path / name).open("rb") as source:
                writer.add_file(f"files/{name}", source, ignore_progress, START)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.getinfo("files/photo").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("files/text").compress_size < 10_000


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 * 1024**2 + 1))
    seen: list[Progress] = []
    with (
        new_file(tmp_path / "a.zip") as file,
        ArchiveWriter(file) as writer,
        (tmp_path / "big").open("rb") as source,
    ):
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


def test_an_archive_of_the_standard_library_can_be_opened(archive_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_path.read_bytes())) as archive:
        assert archive.testzip() is None
