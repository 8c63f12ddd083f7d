"""Whatever is done to a backup's bytes: it is refused, or it is the same backup."""

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.progress import ignore_progress
from fastcms.errors import ArchiveError
from tests.hostile.grafting import Graft

MANIFEST = BackupManifest("a", "2025-01-15T10:00:00Z", "0.1.0", "0001", {"files": 2}, 1, 2)
ENTRIES = {
    "database.db": b"a small database" * 10,
    "files/a.txt": b"text " * 100,
    "files/deep/日本.txt": b"\0\1\2\3" * 8,
    "metadata.json": MANIFEST.to_json(),
    "checksums.sha256": b"",
}
EXPECTED = {"database.db", "files/a.txt", "files/deep/日本.txt"}
FEW = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
INTERESTING = [
    0,
    1,
    8,
    0x14,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
]


def valid() -> bytes:
    graft = Graft(ENTRIES)
    graft.part("files/a.txt").method = 0
    return graft.build(zip64={})


VALID = valid()


def refused_or_the_same(path: Path, content: bytes) -> bool:
    """Whether the archive was refused; fails when it was accepted with other bytes, or broke the reader."""
    path.write_bytes(content)
    out = path.with_suffix(".out")
    out.mkdir(exist_ok=True)
    for left_over in sorted(out.rglob("*"), reverse=True):
        left_over.rmdir() if left_over.is_dir() else left_over.unlink()
    try:
        with open_archive(path) as archive:
            extract_archive(
                archive,
                database_path=out / "database.db",
                files_dir=out / "files",
                on_progress=ignore_progress,
            )
    except ArchiveError:
        return True
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert found == {name: ENTRIES[name] for name in EXPECTED}
    return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


def test_the_archive_itself_is_accepted(path: Path) -> None:
    assert not refused_or_the_same(path, VALID)


def test_every_single_byte_changed(path: Path) -> None:
    flips = random.Random(0)
    for offset in range(len(VALID)):
        value = flips.choice([VALID[offset] ^ 0xFF, VALID[offset] ^ 1, 0, flips.randrange(256)])
        refused_or_the_same(path, VALID[:offset] + bytes([value]) + VALID[offset + 1 :])


def test_every_length_shorter_than_the_archive_is_refused(path: Path) -> None:
    for length in range(len(VALID)):
        assert refused_or_the_same(path, VALID[:length])


numbers = st.one_of(st.sampled_from(INTERESTING), st.integers(0, 2**32 - 1), st.integers(0, len(VALID)))
places = st.integers(0, len(VALID))
SIGNED = [i for i in range(len(VALID)) if VALID.startswith((b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6"), i)]


@FEW
@given(st.sampled_from(SIGNED), st.integers(4, 46), numbers, st.sampled_from(["<H", "<L", "<Q"]))
def test_a_header_field_with_another_number(
    path: Path, header: int, offset: int, number: int, size: str
) -> None:
    width = struct.calcsize(size)
    value = struct.pack(size, number % 2 ** (8 * width))
    start = header + offset
    refused_or_the_same(path, VALID[:start] + value + VALID[start + width :])


@FEW
@given(places, places, places)
def test_a_piece_of_the_archive_copied_into_it(path: Path, start: int, end: int, to: int) -> None:
    piece = VALID[min(start, end) : max(start, end)]
    assert not piece or refused_or_the_same(path, VALID[:to] + piece + VALID[to:])


@FEW
@given(places, places)
def test_a_piece_cut_out(path: Path, start: int, end: int) -> None:
    start, end = min(start, end), max(start, end)
    assert start == end or refused_or_the_same(path, VALID[:start] + VALID[end:])


@FEW
@given(places, st.binary(max_size=60))
def test_other_bytes_over_the_archives(path: Path, start: int, other: bytes) -> None:
    refused_or_the_same(path, VALID[:start] + other + VALID[start + len(other) :])


fields = st.fixed_dictionaries(
    {},
    optional={
        "flags": st.integers(0, 0xFFFF),
        "method": st.sampled_from([0, 8, 14, 99]),
        "crc": numbers,
        "packed_bytes": numbers,
        "size_bytes": numbers,
        "extra": st.binary(max_size=24)
        | st.integers(0, 3).map(lambda count: struct.pack("<HH", 1, 8 * count) + bytes(8 * count)),
        "name": st.sampled_from([b"files/a.txt", b"files/b.txt", b"../x", b"database.db"])
        | st.binary(max_size=9),
    },
)


@FEW
@given(fields, fields, st.data())
def test_headers_of_any_content(
    path: Path, local: dict[str, object], central: dict[str, object], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(ENTRIES) - 1))
    graft = Graft(ENTRIES)
    graft.parts[index].local = local
    graft.parts[index].central = data.draw(st.sampled_from([local, central]))
    options: dict[str, Any] = {
        name: data.draw(st.binary(max_size=30) | st.just(b""), name)
        for name in ("prefix", "after_entries", "after_directory", "suffix")
        if data.draw(st.integers(0, 5)) == 0
    }
    refused_or_the_same(path, graft.build(**options))


@FEW
@given(st.binary(max_size=400))
def test_any_bytes_at_all(path: Path, content: bytes) -> None:
    assert refused_or_the_same(path, content)
