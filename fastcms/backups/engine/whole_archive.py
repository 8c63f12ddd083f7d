"""An archive as one stream of bytes.

The checksums of its entries leave out what stands around them: times, attributes, the last bits of a deflated
stream. The CRC-32 of the whole file finds every byte that has changed, wherever it is. It costs next to
nothing, and can be put together from those of parts, in any order: a large file's header is written last.
"""

import os
from collections.abc import Callable, Iterator

from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.progress import Work
from fastcms.errors import CorruptArchiveError

# Gets what an archive says of itself and the CRC-32 of its file, when all else of it was found to be sound.
# Raises an ArchiveError to refuse it.
OnWhole = Callable[[BackupManifest, int], None]

_READ_AT_ONCE_BYTES = 1024**2


def accept_whole(_manifest: BackupManifest, _crc32: int) -> None:
    """For callers to whom an archive is as good as its entries."""


class WholeCheck:
    """Refuses an archive whose file has not the CRC-32 that is known of it, and remembers what it gets."""

    def __init__(self, known_crc32: int | None = None) -> None:
        self.manifest: BackupManifest | None = None
        self.crc32 = 0
        self._known_crc32 = known_crc32

    def __call__(self, manifest: BackupManifest, crc32: int) -> None:
        self.manifest, self.crc32 = manifest, crc32
        if self._known_crc32 not in (None, crc32):
            raise CorruptArchiveError(
                "What it holds is undamaged, but around that a byte of the file is not as it was written: "
                f"its CRC-32 is {crc32:08x}, not {self._known_crc32:08x}.",
                code="archive_changed",
                hint="It can still be restored. But unless somebody has exchanged the file, something "
                "changes files on this disk: look at its health, and make a new backup.",
            )


def read_whole(descriptor: int, work: Work) -> Iterator[memoryview]:
    """The bytes of an open archive, in pieces, each good until the next; another may have its name by now."""
    buffer = memoryview(bytearray(_READ_AT_ONCE_BYTES))
    offset = 0
    while read_bytes := os.preadv(descriptor, [buffer], offset):
        yield buffer[:read_bytes]
        offset += read_bytes
        work.add(0)
