"""What is in a backup: metadata.json and checksums.sha256."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fastcms.errors import CorruptArchiveError, UnsupportedVersionError

FORMAT_VERSION = 1
DATABASE_NAME = "database.db"
METADATA_NAME = "metadata.json"
CHECKSUMS_NAME = "checksums.sha256"
FILES_PREFIX = "files/"

_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


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
        if values["format_version"] > FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"The backup has format {values['format_version']}; FastCMS reads up to {FORMAT_VERSION}.",
                hint="Install a newer FastCMS.",
            )
        return BackupManifest(
            backup_name=str(values["backup_name"]),
            timestamp=str(values["timestamp"]),
            app_version=str(values["app_version"]),
            schema_revision=str(values["schema_revision"]),
            counts={str(name): int(count) for name, count in values["counts"].items()},
            database_size_bytes=int(values["database_size_bytes"]),
            files_size_bytes=int(values["files_size_bytes"]),
            problems=[str(problem) for problem in values.get("problems", [])],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArchiveError(
            f"{METADATA_NAME} in the backup is damaged: {type(error).__name__} {error}.",
            hint="Use another backup.",
        ) from error


def format_checksums(checksums: Iterable[tuple[str, str]]) -> bytes:
    """The lines that `sha256sum -c` reads, from (name, SHA-256 in hex)."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in checksums).encode()


def parse_checksums(content: bytes) -> dict[str, str]:
    """Name -> SHA-256. Raises: CorruptArchiveError."""
    checksums: dict[str, str] = {}
    try:
        # Not splitlines(): a file's name may hold U+2028, which it would split at.
        for line in content.decode().removesuffix("\n").split("\n"):
            match = _CHECKSUM_LINE.fullmatch(line)
            if match is None or match[2] in checksums:
                raise CorruptArchiveError(
                    f"{CHECKSUMS_NAME} in the backup has a wrong or a repeated line: {line[:100]!r}.",
                    hint="Use another backup.",
                )
            checksums[match[2]] = match[1]
    except UnicodeDecodeError as error:
        raise CorruptArchiveError(
            f"{CHECKSUMS_NAME} in the backup is not text.", hint="Use another backup."
        ) from error
    return checksums
