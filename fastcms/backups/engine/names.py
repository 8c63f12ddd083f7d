"""Which names an archive may hold."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from fastcms.backups.engine.manifest import CHECKSUMS_NAME, DATABASE_NAME, FILES_PREFIX, METADATA_NAME

_LONGEST_PART_BYTES = 255
_LONGEST_NAME_BYTES = 1024
_DEEPEST = 64
_FIRST_PRINTABLE = 0x20
_DELETE = 0x7F
# What nearly all uploads are called; none of the faults below holds for it.
_ORDINARY = re.compile(rf"{FILES_PREFIX}[A-Za-z0-9_][A-Za-z0-9_.-]{{0,200}}")
_FOREIGN_HINT = (
    "If you have zipped this backup yourself: zip what is in its folder, not the folder, and nothing else."
)


@dataclass(frozen=True)
class NameFault:
    """Why an entry of this name is refused."""

    reason: str
    code: str
    holds: Callable[[str], bool]
    hint: str = ""


def unsafe_reason(name: str) -> str | None:
    """Say why an entry of this name is refused; None when it is fine."""
    fault = find_fault(name)
    return None if fault is None else fault.reason


def find_fault(name: str) -> NameFault | None:
    """The first thing that is wrong with an entry's name; None when it is fine.

    A folder's name ends with a slash. What is judged is the name as stored, before anything cleans it.
    """
    if _ORDINARY.fullmatch(name):
        return None
    return next((fault for fault in _FAULTS if fault.holds(name)), None)


def collision_key(name: str) -> str:
    """Two names with the same key are one file on some file system."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _parts(name: str) -> list[str]:
    return name.removesuffix("/").split("/")


def _is_control(character: str) -> bool:
    return ord(character) < _FIRST_PRINTABLE or ord(character) == _DELETE


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


_FAULTS = (
    NameFault("holds a NUL character", code="archive_name_nul", holds=lambda name: "\0" in name),
    NameFault(
        "holds a control character",
        code="archive_name_control",
        holds=lambda name: not name.isprintable() and any(map(_is_control, name)),
    ),
    NameFault("holds a backslash", code="archive_name_backslash", holds=lambda name: "\\" in name),
    NameFault("is absolute", code="archive_name_absolute", holds=lambda name: name.startswith("/")),
    NameFault("names a drive", code="archive_name_drive", holds=lambda name: name[1:2] == ":"),
    NameFault("leads out of its folder", code="archive_name_parent", holds=lambda name: ".." in _parts(name)),
    NameFault(
        "has an empty or a dot part",
        code="archive_name_empty_part",
        holds=lambda name: not {"", "."}.isdisjoint(_parts(name)),
    ),
    NameFault(
        "is too long",
        code="archive_name_too_long",
        holds=lambda name: (
            _size(name) > _LONGEST_NAME_BYTES
            or any(_size(part) > _LONGEST_PART_BYTES for part in _parts(name))
        ),
    ),
    NameFault(
        "lies too deep in folders",
        code="archive_name_too_deep",
        holds=lambda name: name.count("/") > _DEEPEST,
    ),
    NameFault(
        "is not valid Unicode",
        code="archive_name_encoding",
        holds=lambda name: (
            not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name)
        ),
    ),
    # Where FastCMS keeps unfinished uploads and deleted files.
    NameFault(
        "is hidden",
        code="archive_name_hidden",
        holds=lambda name: name.startswith(f"{FILES_PREFIX}."),
        hint=_FOREIGN_HINT,
    ),
    NameFault(
        "is not part of a backup",
        code="archive_name_foreign",
        holds=lambda name: (
            name not in {DATABASE_NAME, METADATA_NAME, CHECKSUMS_NAME} and not name.startswith(FILES_PREFIX)
        ),
        hint=_FOREIGN_HINT,
    ),
)
