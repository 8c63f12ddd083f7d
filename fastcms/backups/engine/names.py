"""Which names an archive may hold."""

import unicodedata

from fastcms.backups.engine.manifest import CHECKSUMS_NAME, DATABASE_NAME, FILES_PREFIX, METADATA_NAME

_LONGEST_PART_BYTES = 255
_LONGEST_NAME_BYTES = 1024
_FIRST_PRINTABLE = 0x20
_DELETE = 0x7F


def unsafe_reason(name: str) -> str | None:
    """Say why an entry of this name is refused; None when it is fine.

    A folder's name ends with a slash. What is judged is the name as stored, before anything cleans it.
    """
    parts = name.removesuffix("/").split("/")
    checks = {
        "holds a control character": any(ord(c) < _FIRST_PRINTABLE or ord(c) == _DELETE for c in name),
        "holds a backslash": "\\" in name,
        "is absolute": name.startswith("/"),
        "names a drive": len(name) > 1 and name[1] == ":",
        "leads out of its folder": ".." in parts,
        "has an empty or a dot part": "" in parts or "." in parts,
        "is too long": len(name.encode(errors="surrogatepass")) > _LONGEST_NAME_BYTES
        or any(len(part.encode(errors="surrogatepass")) > _LONGEST_PART_BYTES for part in parts),
        "is not valid Unicode": any(0xD800 <= ord(c) <= 0xDFFF for c in name),  # noqa: PLR2004 - surrogates
        # Where FastCMS keeps unfinished uploads and deleted files.
        "is hidden": name.startswith(f"{FILES_PREFIX}."),
        "is not part of a backup": name not in {DATABASE_NAME, METADATA_NAME, CHECKSUMS_NAME}
        and not name.startswith(FILES_PREFIX),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def collision_key(name: str) -> str:
    """Two names with the same key are one file on some file system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
