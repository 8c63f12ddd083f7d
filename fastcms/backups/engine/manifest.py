"""What is in a backup: metadata.json and checksums.sha256."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fastcms.backups.engine.refusals import corrupt
from fastcms.errors import UnsupportedVersionError

FORMAT_VERSION = 1
DATABASE_NAME = "database.db"
METADATA_NAME = "metadata.json"
CHECKSUMS_NAME = "checksums.sha256"
FILES_PREFIX = "files/"

_CHECKSUM_LINE = re.compile(rb"([0-9a-f]{64})  ([^\n]+)\n?")
_INT64 = 2**63


@dataclass(frozen=True)
class BackupManifest:
    """metadata.json. `problems` names files that were missing or damaged when the backup was made."""

    backup_name: str
    timestamp: str
    app_version: str
    schema_revision: str
    counts: Mapping[str, int]
    database_size_bytes: int
    files_size_bytes: int
    problems: list[str] = field(default_factory=list)
    format_version: int = FORMAT_VERSION

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False).encode() + b"\n"


def parse_manifest(content: bytes) -> BackupManifest:
    """Read metadata.json; unknown keys are ignored.

    Raises: CorruptArchiveError; UnsupportedVersionError.
    """
    try:
        values: dict[str, Any] = json.loads(content)
        version = _number(values["format_version"])
        if version > FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"The backup has format {version}; FastCMS reads up to {FORMAT_VERSION}.",
                hint="Install a newer FastCMS.",
            )
        return BackupManifest(
            backup_name=_text(values["backup_name"]),
            timestamp=_text(values["timestamp"]),
            app_version=_text(values["app_version"]),
            schema_revision=_text(values["schema_revision"]),
            counts={_text(name): _number(count) for name, count in values["counts"].items()},
            database_size_bytes=_number(values["database_size_bytes"]),
            files_size_bytes=_number(values["files_size_bytes"]),
            problems=[_text(problem) for problem in values.get("problems", [])],
        )
    except RecursionError as error:
        raise corrupt(f"{METADATA_NAME} is nested too deeply.", code="archive_json_too_deep") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(
            f"{METADATA_NAME} is damaged: {type(error).__name__} {str(error)[:200]}.",
            code="archive_metadata",
        ) from error


def _text(value: object) -> str:
    """A text that can be shown: JSON can also name half a character, which UTF-8 has not."""
    if not isinstance(value, str):
        raise TypeError("text expected")
    value.encode()
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a whole number expected")
    if not 0 <= value < _INT64:
        raise ValueError("a number out of range")
    return value


def format_checksum(name: bytes, sha256: str) -> bytes:
    """A line that `sha256sum -c` reads."""
    return b"%s  %s\n" % (sha256.encode(), name)


def parse_checksums(content: bytes) -> dict[str, str]:
    """Name -> SHA-256. Raises: CorruptArchiveError."""
    checksums: dict[str, str] = {}
    for line in io.BytesIO(content):  # one after the other: a large site has hundreds of thousands
        match = _CHECKSUM_LINE.fullmatch(line)
        name = None if match is None else _decode(match[2])
        if match is None or name is None or name in checksums:
            raise corrupt(
                f"{CHECKSUMS_NAME} has a wrong or a repeated line: {line[:100]!r}.",
                code="archive_checksum_line",
            )
        checksums[name] = match[1].decode()
    return checksums


def _decode(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None
