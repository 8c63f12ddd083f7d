"""What must not be refused: backups that somebody unzipped and zipped again, and large ones."""

import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.archive_writer import ArchiveWriter
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.manifest import METADATA_NAME, BackupManifest
from fastcms.backups.engine.progress import Progress, ignore_progress
from tests.hostile.grafting import Graft

JAPANESE = "files/深い/日本語.txt"


def extract(path: Path, target: Path) -> dict[str, bytes]:
    target.mkdir()
    with open_archive(path) as archive:
        extract_archive(
            archive,
            database_path=target / "database.db",
            files_dir=target / "files",
            on_progress=ignore_progress,
        )
    return contents(target)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def unzipped(graft: Graft, tmp_path: Path) -> Path:
    """A backup, with a name beyond ASCII in it, as `unzip` leaves it."""
    graft.add(JAPANESE, b"deep")
    folder = tmp_path / "unzipped"
    graft.build()
    for part in graft.parts:
        path = folder / part.name.decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part.content)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["zip", "-qr", "../again.zip", "."],
        ["zip", "-qr0", "../again.zip", "."],
        ["7z", "a", "-tzip", "../again.zip", "."],
        ["7z", "a", "-tzip", "-mx=9", "../again.zip", "."],
    ],
    ids=" ".join,
)
def test_a_backup_that_was_zipped_again_is_accepted(
    unzipped: Path, tmp_path: Path, command: list[str]
) -> None:
    subprocess.run(command, cwd=unzipped, check=True, capture_output=True)
    found = extract(tmp_path / "again.zip", tmp_path / "out")
    expected = contents(unzipped)
    assert {name: expected[name] for name in found} == found
    assert expected.keys() - found.keys() == {"metadata.json", "checksums.sha256"}
    assert JAPANESE in found


def test_a_backup_that_pythons_zipfile_zipped_again_is_accepted(unzipped: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "again.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(unzipped.rglob("*")):
            archive.write(path, path.relative_to(unzipped))
    assert extract(tmp_path / "again.zip", tmp_path / "out")[JAPANESE] == b"deep"


def test_a_zip64_record_that_agrees_is_accepted(graft: Graft, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    sentinels = {"here": 0xFFFF, "count": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    for number, end in enumerate([{}, sentinels]):
        path.write_bytes(graft.build(zip64={}, end=end))
        extract(path, tmp_path / str(number))


def test_sizes_in_zip64_fields_are_accepted(graft: Graft, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    part = graft.file
    sizes = struct.pack("<HHQQ", 1, 16, len(part.content), len(part.data()))
    for header in (part.local, part.central):
        header |= {"extra": sizes, "size_bytes": 0xFFFFFFFF, "packed_bytes": 0xFFFFFFFF}
    part.central["needs"] = 45
    path.write_bytes(graft.build())
    assert extract(path, tmp_path / "out")[part.name.decode()] == part.content


def test_a_file_that_is_checked_is_not_written(graft: Graft, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(graft.build())
    seen: list[Progress] = []
    with open_archive(path) as archive:
        extract_archive(archive, database_path=tmp_path / "x.db", files_dir=None, on_progress=seen.append)
        assert seen[-1].done_bytes == archive.total_bytes == sum(len(part.content) for part in graft.parts)
        assert archive.database_bytes == len(graft.database.content)
        assert archive.files_bytes == len(graft.file.content)
        assert archive.entry_count == len(graft.parts) + 1  # the folder `files`
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "x.db"}


def test_room_for_zip64_that_was_not_needed_is_accepted(graft: Graft, tmp_path: Path) -> None:
    """As Python's zipfile, and so FastCMS, leaves it in entries of nearly 2 GB."""
    graft.build()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part in graft.parts:
            with archive.open(zipfile.ZipInfo(part.name.decode()), "w", force_zip64=True) as entry:
                entry.write(part.content)
    assert extract(path, tmp_path / "out")[graft.file.name.decode()] == graft.file.content


def test_an_entry_over_4_gb_and_one_that_begins_behind_it_are_accepted(graft: Graft, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    hole = graft.part("database.db")
    hole.content, hole.method = b"", 0
    size_bytes = 2**32 + 7
    for header in (hole.local, hole.central):
        extra = struct.pack("<HHQQ", 1, 16, size_bytes, size_bytes)
        header |= {"extra": extra, "size_bytes": 0xFFFFFFFF, "packed_bytes": 0xFFFFFFFF}
    graft.build()
    directory = b""
    with path.open("wb") as file:
        for part in graft.parts:
            offset = file.tell()
            if offset > 0xFFFFFFFF:
                part.central["extra"] = struct.pack("<HHQ", 1, 8, offset)
                offset = 0xFFFFFFFF
            directory += part.central_header(offset)
            file.write(part.local_header() + part.data())
            if part is hole:
                file.truncate(file.seek(size_bytes, 1))
        at = file.tell()
        count = len(graft.parts)
        file.write(directory)
        file.write(struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), at))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1))
        file.write(struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, count, count, len(directory), 0xFFFFFFFF, 0))
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("database.db").file_size == size_bytes
        assert archive.read("metadata.json") == graft.metadata.content
    with open_archive(path) as checked:
        assert checked.database_bytes == size_bytes


@pytest.mark.parametrize("count", [65_535, 65_536])
def test_as_many_entries_as_the_end_record_can_count_and_one_more_are_accepted(
    tmp_path: Path, count: int
) -> None:
    path = tmp_path / "a.zip"
    manifest = BackupManifest("a", "2025-01-15T10:00:00Z", "0.1.0", "0001", {}, 1, 2)
    with path.open("w+b") as target, ArchiveWriter(target, tmp_path) as writer:
        writer.add_text("database.db", b"database", 0)
        for number in range(count - 4):
            writer.add_folder(f"files/{number}/", 0)
        writer.add_folder("files/last/", 0)
        writer.add_text(METADATA_NAME, manifest.to_json(), 0)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == count
    with open_archive(path) as checked:
        assert checked.entry_count == count + 1  # the folder `files`
