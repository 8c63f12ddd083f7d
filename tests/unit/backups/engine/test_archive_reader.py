"""Archives: what FastCMS makes of a stranger's."""

import os
import stat
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.progress import ignore_progress
from fastcms.backups.engine.zip_headers import NewEntry, central_header, end_records, local_header
from fastcms.errors import CorruptArchiveError, UnsafeArchiveError
from tests.unit.backups.engine.conftest import Rewrite


def test_extraction_gives_the_same_bytes_and_private_files(archive_path: Path, tmp_path: Path) -> None:
    extract(archive_path, tmp_path / "out")
    assert (tmp_path / "out/files/deep/日本語.txt").read_text() == "名前"
    assert (tmp_path / "out/files/one.txt").stat().st_mode & 0o777 == 0o600


def extract(path: Path, target_dir: Path) -> None:
    with open_archive(path) as archive:
        target_dir.mkdir()
        extract_archive(
            archive,
            database_path=target_dir / "database.db",
            files_dir=target_dir / "files",
            on_progress=ignore_progress,
        )


def test_a_changed_byte_is_found(archive_path: Path, tmp_path: Path) -> None:
    content = bytearray(archive_path.read_bytes())
    position = content.index(b"new picture")
    content[position] ^= 1
    archive_path.write_bytes(content)
    with pytest.raises(CorruptArchiveError):
        extract(archive_path, tmp_path / "out")


def test_changed_content_with_a_right_crc_is_found_by_its_checksum(rewrite: Rewrite, tmp_path: Path) -> None:
    path = rewrite(lambda info, data: (info, b"changed" if info.filename == "files/one.txt" else data))
    with pytest.raises(CorruptArchiveError, match=r"'files/one\.txt' differs"):
        extract(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["database.db", "metadata.json", "checksums.sha256", "files/one.txt"])
def test_a_missing_entry_is_named(rewrite: Rewrite, tmp_path: Path, name: str) -> None:
    path = rewrite(lambda info, data: None if info.filename == name else (info, data))
    with pytest.raises(CorruptArchiveError, match=name.replace(".", r"\.")):
        extract(path, tmp_path / "out")


def test_an_entry_without_a_checksum_is_refused(archive_path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive_path, "a") as archive:
        archive.writestr("files/extra.txt", "extra")
    with pytest.raises(CorruptArchiveError, match=r"'files/extra\.txt' is not in the archive's checksums"):
        extract(archive_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../outside", "leads out of its folder"),
        ("/outside", "is absolute"),
        ("files/..\\..\\outside", "backslash"),
        ("files/ONE.txt", "are one file to some systems"),
        ("files/one.txt/below", "both a file and a folder"),
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
    with pytest.raises(
        CorruptArchiveError, match=r"backup_20250115_100000\.zip: .*(damaged|cut off|missing)"
    ):
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


def test_a_directory_that_goes_on_for_ever_is_refused_without_reading_it(tmp_path: Path) -> None:
    entry = NewEntry(b"database.db", 0, (0, 0), 0, 0, 0)
    header = local_header(entry)
    directory_bytes = 2 * 1024**3
    with (tmp_path / "a.zip").open("wb") as file:
        file.write(header + central_header(entry, 0))
        file.truncate(len(header) + directory_bytes)
        file.seek(0, os.SEEK_END)
        file.write(end_records(1, directory_bytes, len(header)))
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeArchiveError, match="goes on"), open_archive(tmp_path / "a.zip"):
            pass
        assert tracemalloc.get_traced_memory()[1] < 10 * 1024**2
    finally:
        tracemalloc.stop()
