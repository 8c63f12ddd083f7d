"""The names of one archive's entries: each one sound, and no two of them one file on any system."""

import re
from collections.abc import Iterator

from fastcms.backups.engine.names import collision_key, find_fault
from fastcms.backups.engine.refusals import unsafe
from fastcms.errors import UnsafeArchiveError

# What uploads are called: nothing that `find_fault` looks for fits in here.
_USUAL = re.compile(r"files/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}").fullmatch


class EntryNames:
    """Takes the names one by one; refuses those that could not be unpacked beside the others."""

    def __init__(self) -> None:
        self._entries: dict[str, str] = {}
        # Hashes of key and path: names with very many folders in them would fill the memory otherwise.
        self._folders: dict[int, int] = {}
        self._latest_folder = ""

    def add(self, name: str) -> None:
        """Raises: UnsafeArchiveError."""
        fault = None if _USUAL(name) else find_fault(name)
        if fault is not None:
            raise unsafe(
                f"The archive holds an entry that no FastCMS backup has: {name!r} {fault.reason}.",
                code=fault.code,
                hint=fault.hint,
            )
        path = name.removesuffix("/")
        key = collision_key(path)
        taken = self._entries.get(key)
        if taken is not None:
            raise _taken(name, taken)
        self._entries[key] = key if key == name else name  # one string, not two
        folder = path if name.endswith("/") else path.rpartition("/")[0]
        if folder != self._latest_folder:
            self._latest_folder = folder
            self._add_folders(folder)

    def __iter__(self) -> Iterator[str]:
        """The names in the order in which they came."""
        return iter(self._entries.values())

    def finish(self) -> int:
        """Refuse files that are folders to other entries; return how many files and folders there are.

        Raises: UnsafeArchiveError.
        """
        file_count = 0
        for key, name in self._entries.items():
            if not name.endswith("/"):
                file_count += 1
                if hash(key) in self._folders:
                    raise _file_is_folder(name)
        return file_count + len(self._folders)

    def _add_folders(self, folder: str) -> None:
        """Remember a folder and those around it, up to one that is known with everything around it."""
        while folder:
            key = hash(collision_key(folder))
            known = self._folders.get(key)
            if known == hash(folder):
                return
            if known is not None:
                raise unsafe(
                    f"The archive's folder {folder!r} is the same as another one to some systems: their "
                    "names differ only in case or in how accents are written.",
                    code="archive_name_collision",
                )
            self._folders[key] = hash(folder)
            folder = folder.rpartition("/")[0]


def _taken(name: str, taken: str) -> UnsafeArchiveError:
    if name == taken:
        return unsafe(f"The archive holds {name!r} twice.", code="archive_duplicate")
    if name.removesuffix("/") == taken.removesuffix("/"):
        return _file_is_folder(name.removesuffix("/"))
    return unsafe(
        f"{name!r} and {taken!r} in the archive are one file to some systems: their names differ only in "
        "case or in how accents are written.",
        code="archive_name_collision",
    )


def _file_is_folder(name: str) -> UnsafeArchiveError:
    return unsafe(f"{name!r} in the archive is both a file and a folder.", code="archive_file_is_folder")
