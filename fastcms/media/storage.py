"""Files on the disk: how they come in, and how they go.

`files/<path>` holds the bytes of a row, `files/.upload-<random>` what is still coming in, and
`files/.trash/<path>` what was deleted. Both renames are done with the database's write lock in hand, so that
whoever holds it sees files and rows agree. A crash leaves at most: an unlocked `.upload-` file, which the
next start removes; a file in the trash that still has its row, which the next start puts back; a stored
file without a row, which harms nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from fastcms.incoming import UPLOAD_PREFIX

TRASH_NAME = ".trash"
# `.restore/` is where restores work when this folder is a mount of its own, `.restore_id` is their mark.
_RESTORE_PREFIX = ".restore"
# Held by a backup while it may still need deleted files; shared, for a moment, by whoever removes some.
# Not the lock of backups itself: a deletion must not make a backup look busy.
TRASH_LOCK_NAME = ".trash_lock"


def move_to_trash(files_dir: Path, path: str) -> None:
    """Rename a deleted file out of the way; at every moment its bytes are in one of the two places."""
    trash = files_dir / TRASH_NAME
    trash.mkdir(mode=0o700, exist_ok=True)
    (files_dir / path).rename(trash / path)


def take_from_trash(files_dir: Path, path: str) -> None:
    """Put a file back that was not deleted after all."""
    (files_dir / TRASH_NAME / path).rename(files_dir / path)


def list_trash(files_dir: Path) -> list[str]:
    trash = files_dir / TRASH_NAME
    if not trash.is_dir():
        return []
    with os.scandir(trash) as entries:
        return [entry.name for entry in entries if entry.is_file()]


def remove_from_trash(files_dir: Path, path: str) -> None:
    (files_dir / TRASH_NAME / path).unlink(missing_ok=True)


def list_files_on_disk(files_dir: Path) -> Iterator[str]:
    """Every regular file below data/files, relative, in no order.

    Only folders are read, which know the kind of each entry: no file is looked at.
    Left out are unfinished uploads, deleted files, and what restores keep there.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(files_dir / folder) as entries:
            for entry in entries:
                if not folder and entry.name.startswith(_RESTORE_PREFIX):
                    continue
                if entry.is_file(follow_symlinks=False):
                    if not entry.name.startswith(UPLOAD_PREFIX):
                        yield folder + entry.name
                elif entry.is_dir(follow_symlinks=False) and (folder or entry.name != TRASH_NAME):
                    folders.append(f"{folder}{entry.name}/")
