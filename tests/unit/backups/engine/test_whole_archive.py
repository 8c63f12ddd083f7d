"""One changed byte anywhere in an archive is found, also where no reader of ZIP files looks."""

import os
import random
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_check import check_archive_whole
from fastcms.backups.engine.archive_writer import ArchiveWriter
from fastcms.backups.engine.whole_archive import WholeCheck
from fastcms.durability import new_file
from fastcms.errors import ArchiveError, CorruptArchiveError
from tests.unit.backups.engine.conftest import REVISIONS


def check(path: Path, known_crc32: int | None = None) -> int:
    """Check an archive, as a light verification does; return its CRC-32."""
    check_whole, database_path = WholeCheck(known_crc32), path.with_name("checked.db")
    database_path.unlink(missing_ok=True)
    check_archive_whole(
        path,
        database_path=database_path,
        known_revisions=REVISIONS,
        check_contents=lambda _path: None,
        check_whole=check_whole,
    )
    return check_whole.crc32


@pytest.fixture(params=["as it was written", "zipped again", "zipped again with ZIP64"])
def archive(request: pytest.FixtureRequest, archive_path: Path, tmp_path: Path) -> Path:
    """An archive with stored and deflated entries; zipped again, with extra fields of other programs."""
    if request.param == "as it was written":
        return archive_path
    again = tmp_path / "again.zip"
    with zipfile.ZipFile(archive_path) as old:
        if request.param == "zipped again":
            old.extractall(tmp_path / "unzipped")
            (tmp_path / "unzipped/files/empty folder").mkdir()
            subprocess.run(["zip", "-qr", again, "."], cwd=tmp_path / "unzipped", check=True)
            return again
        with zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                with new.open(info.filename, "w", force_zip64=True) as entry:
                    entry.write(old.read(info))
    return again


def test_one_changed_byte_is_found_wherever_it_is(archive: Path) -> None:
    known_crc32 = check(archive)
    assert known_crc32 == zlib.crc32(archive.read_bytes())
    content = archive.read_bytes()
    only_by_the_whole = 0
    descriptor = os.open(archive, os.O_RDWR)
    for offset in range(len(content)):
        os.pwrite(descriptor, bytes([content[offset] ^ 1 << offset % 8]), offset)
        with pytest.raises(ArchiveError) as raised:
            check(archive, known_crc32)
        only_by_the_whole += raised.value.code == "archive_changed"
        os.pwrite(descriptor, content[offset : offset + 1], offset)
    os.close(descriptor)
    assert check(archive, known_crc32) == known_crc32
    # Times, attributes, versions: what readers pass over. It is why the whole file has a checksum.
    assert only_by_the_whole > 20


@pytest.mark.parametrize("field", [4, 10, 12], ids=["version needed", "time", "date"])
def test_what_readers_pass_over_does_no_harm_where_no_checksum_is_known(
    archive_path: Path, field: int
) -> None:
    known_crc32 = check(archive_path)
    content = bytearray(archive_path.read_bytes())
    content[field] ^= 1  # of the first entry's header
    archive_path.write_bytes(content)
    assert check(archive_path) == zlib.crc32(content)
    with pytest.raises(CorruptArchiveError, match="around that a byte of the file is not as it was written"):
        check(archive_path, known_crc32)


def test_the_writer_knows_the_checksum_of_what_it_has_written(tmp_path: Path) -> None:
    chance = random.Random(1)
    sources = {"stored": chance.randbytes(3 * 1024**2 + 5), "deflated": b"word " * 10**6, "empty": b""}
    with new_file(tmp_path / "a.zip") as file, ArchiveWriter(file, tmp_path) as writer:
        writer.add_folder("files/", 0)
        for name, content in sources.items():
            (tmp_path / name).write_bytes(content)
            with (tmp_path / name).open("rb") as source:
                writer.add_file(f"files/{name}", source, lambda _: None)
        writer.add_text("metadata.json", b"{}", 0)
    assert writer.crc32 == zlib.crc32((tmp_path / "a.zip").read_bytes())
