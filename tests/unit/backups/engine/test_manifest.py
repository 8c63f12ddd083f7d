"""metadata.json and checksums.sha256."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcms.backups.engine.manifest import (
    BackupManifest,
    format_checksum,
    parse_checksums,
    parse_manifest,
)
from fastcms.errors import CorruptArchiveError, UnsupportedVersionError

MANIFEST = BackupManifest(
    "backup_20250115_100000", "2025-01-15T10:00:00Z", "0.1.0", "0001", {"files": 2}, 10, 20
)


def test_a_manifest_survives_writing_and_reading() -> None:
    assert parse_manifest(MANIFEST.to_json()) == MANIFEST


def test_a_newer_format_is_refused_as_too_new() -> None:
    newer = json.loads(MANIFEST.to_json()) | {"format_version": 2}
    with pytest.raises(UnsupportedVersionError, match="format 2"):
        parse_manifest(json.dumps(newer).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000])
def test_a_damaged_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptArchiveError):
        parse_manifest(content)


@given(st.binary())
def test_any_bytes_are_a_manifest_or_a_clear_error(content: bytes) -> None:
    with pytest.raises((CorruptArchiveError, UnsupportedVersionError)):
        parse_manifest(content)


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@given(st.dictionaries(names, st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1))
def test_checksums_survive_writing_and_reading(checksums: dict[str, str]) -> None:
    lines = [format_checksum(name.encode(), sha256) for name, sha256 in checksums.items()]
    assert parse_checksums(b"".join(lines)) == checksums


@pytest.mark.parametrize("line", ["abc  name", "0" * 64 + " name", "0" * 64 + "  a\n" + "0" * 64 + "  a"])
def test_wrong_or_repeated_checksum_lines_are_refused(line: str) -> None:
    with pytest.raises(CorruptArchiveError):
        parse_checksums(f"{line}\n".encode())
