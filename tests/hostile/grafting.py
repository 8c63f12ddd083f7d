"""Build ZIP archives byte by byte, with every field of every header free to lie."""

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from fastcms.backups.engine.manifest import CHECKSUMS_NAME, DATABASE_NAME, METADATA_NAME

UTF8 = 1 << 11
UNIX = 3 << 8
_LOCAL_FORMAT = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL_FORMAT = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END_FORMAT = struct.Struct("<4sHHHHLLH")
_RECORD_FORMAT = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR_FORMAT = struct.Struct("<4sLQL")
_LOCAL_KEYS = ("signature", "needs", "flags", "method", "time", "date", "crc", "packed_bytes", "size_bytes")


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@dataclass
class Part:
    """An entry. What stands in `local` or `central` replaces that field in this header only."""

    name: bytes
    content: bytes = b""
    method: int = 8
    flags: int = UTF8
    attributes: int | None = None  # those of a plain file or folder
    packed: bytes | None = None
    gap: bytes = b""  # before its local header
    extra: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    def data(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflate(self.content) if self.method == 8 else self.content

    def plain_attributes(self) -> int:
        return (0o40755 if self.name.endswith(b"/") else 0o100644) << 16

    def fields(self, changes: dict[str, Any]) -> dict[str, Any]:
        own = {
            "signature": b"PK\x03\x04",
            "made_by": UNIX | 20,
            "needs": 20,
            "flags": self.flags,
            "method": self.method,
            "time": 0,
            "date": 0x21,
            "crc": zlib.crc32(self.content),
            "packed_bytes": len(self.data()),
            "size_bytes": len(self.content),
            "name": self.name,
            "extra": self.extra,
            "comment": b"",
            "disk": 0,
            "internal": 0,
            "attributes": self.plain_attributes() if self.attributes is None else self.attributes,
        }
        return own | changes

    def local_header(self) -> bytes:
        f = self.fields(self.local)
        lengths = (f.get("name_bytes", len(f["name"])), f.get("extra_bytes", len(f["extra"])))
        return bytes(_LOCAL_FORMAT.pack(*(f[key] for key in _LOCAL_KEYS), *lengths) + f["name"] + f["extra"])

    def central_header(self, offset: int) -> bytes:
        f = {"offset": offset, **self.fields({"signature": b"PK\x01\x02"} | self.central)}
        keys = [*_LOCAL_KEYS, "name", "extra", "comment", "disk", "internal", "attributes", "offset"]
        keys.insert(1, "made_by")
        values = [len(f[key]) if key in ("name", "extra", "comment") else f[key] for key in keys]
        return bytes(_CENTRAL_FORMAT.pack(*values) + f["name"] + f["extra"] + f["comment"])


class Graft:
    """A copy of a valid backup, to be changed in one place."""

    def __init__(self, entries: dict[str, bytes]) -> None:
        self.parts = [Part(name.encode(), content) for name, content in entries.items()]
        self.checksums: bytes | None = None  # those of the parts, unless they are to lie

    def add(self, name: str | bytes, content: bytes = b"grafted", **changes: Any) -> Part:
        """Add an entry, before the checksums, in which it will be."""
        part = Part(name.encode() if isinstance(name, str) else name, content, **changes)
        self.parts.insert(-1, part)
        return part

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name.encode())

    @property
    def database(self) -> Part:
        return self.part(DATABASE_NAME)

    @property
    def metadata(self) -> Part:
        return self.part(METADATA_NAME)

    @property
    def file(self) -> Part:
        return next(p for p in self.parts if p.name.startswith(b"files/") and not p.name.endswith(b"/"))

    def remove(self, name: str) -> None:
        self.parts.remove(self.part(name))

    def build(
        self,
        *,
        prefix: bytes = b"",
        after_entries: bytes = b"",
        after_directory: bytes = b"",
        suffix: bytes = b"",
        unlisted: Part | None = None,
        end: dict[str, Any] | None = None,
        zip64: dict[str, Any] | None = None,
        zip64_gap: bytes = b"",
    ) -> bytes:
        self._fill_in_checksums()
        content = bytearray(prefix)
        directory = b""
        for part in self.parts:
            content += part.gap
            directory += b"" if part is unlisted else part.central_header(len(content))
            content += part.local_header() + part.data()
        content += after_entries
        count = len(self.parts) - (unlisted is not None)
        truth = {"disk": 0, "directory_disk": 0, "here": count, "count": count}
        truth |= {"size": len(directory), "offset": len(content)}
        content += directory + after_directory
        if zip64 is not None:
            content += _zip64_records(truth | zip64, len(content), zip64_gap)
        values = truth | {"comment": 0} | (end or {})
        return bytes(content) + _END_FORMAT.pack(b"PK\x05\x06", *values.values()) + suffix

    def _fill_in_checksums(self) -> None:
        lines = self.checksums
        if lines is None:
            lines = b"".join(
                hashlib.sha256(part.content).hexdigest().encode() + b"  " + part.name + b"\n"
                for part in self.parts
                if not part.name.endswith(b"/") and part.name != CHECKSUMS_NAME.encode()
            )
        for part in self.parts:
            if part.name == CHECKSUMS_NAME.encode():
                part.content = lines


def _zip64_records(values: dict[str, Any], offset: int, gap: bytes) -> bytes:
    numbers = [values[key] for key in ("disk", "directory_disk", "here", "count", "size", "offset")]
    record = _RECORD_FORMAT.pack(
        values.get("signature", b"PK\x06\x06"), values.get("rest", 44), 45, 45, *numbers
    )
    locator = _LOCATOR_FORMAT.pack(
        b"PK\x06\x07", values.get("locator_disk", 0), values.get("at", offset), values.get("disks", 1)
    )
    return record + gap + locator
