"""Names of uploaded files: what people see, and what stands on the disk."""

import unicodedata

from pathvalidate import sanitize_filename

_MAX_BYTES = 255  # what ext4, APFS and NTFS take in one path component
_MAX_CHARACTERS = 255
_MAX_SUFFIX_CHARACTERS = 16
_ID_CHARACTERS = 16
_NAMELESS = "file"
# Format characters hide or reorder text (U+202E shows "gpj.exe" as "exe.jpg"), except the two joiners that
# Persian, Indic scripts and emoji are written with.
_JOINERS = "\u200c\u200d"
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Code points without a meaning that all file systems agree on; APFS refuses some of them.
_UNPORTABLE = {"Co", "Cn"}


def clean_filename(filename: str) -> str:
    """The name an uploader gave, without folders and invisible characters, at most 255 characters."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    visible = "".join(c for c in last if c in _JOINERS or unicodedata.category(c) not in _INVISIBLE)
    name = unicodedata.normalize("NFC", visible).strip()
    if not name.strip("." + _JOINERS):
        return _NAMELESS  # "." and ".." would mean a folder in a URL
    stem, dot, suffix = name.rpartition(".")
    if len(suffix) > _MAX_SUFFIX_CHARACTERS:
        stem, dot, suffix = name, "", ""
    return stem[: _MAX_CHARACTERS - len(dot + suffix)] + dot + suffix


def stored_name(filename: str, file_id: str) -> str:
    """`<stem>_<part of id><.suffix>`: a readable name for every file system, never the same twice.

    The id's part keeps two names apart where case does not count, and keeps the stem from being one that
    Windows reserves.
    """
    stem, dot, suffix = clean_filename(filename).rpartition(".")
    suffix = unicodedata.normalize("NFC", suffix.lower())
    if not dot or not stem or not suffix.isalnum() or len(suffix) > _MAX_SUFFIX_CHARACTERS:
        stem, suffix = f"{stem}{dot}{suffix}", ""
    ending = f"_{file_id[:_ID_CHARACTERS]}" + (f".{suffix}" if suffix else "")
    room = _MAX_BYTES - len(ending.encode())
    return _safe_stem(stem).encode()[:room].decode(errors="ignore").rstrip() + ending


def _safe_stem(stem: str) -> str:
    plain = "".join("_" if unicodedata.category(c) in _UNPORTABLE else c for c in stem)
    portable = sanitize_filename(plain, replacement_text="_", platform="universal")
    # No dot inside: Windows takes CON.anything.txt for the device CON.
    cleaned = unicodedata.normalize("NFC", portable.replace(".", "_")).strip(" _-~" + _JOINERS)
    return cleaned or _NAMELESS
