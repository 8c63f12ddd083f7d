"""The file that records are imported from: opened as often as needed, and as UTF-8."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, TextIO

from fastcms.errors import InvalidInputError, NotFoundError

_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Source:
    """A regular file, and what the person who named it calls it."""

    path: Path
    name: str

    def open(self) -> BinaryIO:
        """Open it for reading.

        Raises: NotFoundError; InvalidInputError when it cannot be read, or is visibly not UTF-8.
        """
        file = _open(self.path)
        start = file.read(4)
        file.seek(0)
        if start.startswith(_UTF16_BOMS) or b"\0" in start:
            file.close()
            raise self.not_utf8("UTF-16", 1)
        return file

    def open_text(self) -> TextIO:
        return io.TextIOWrapper(self.open(), encoding="utf-8-sig", newline="")

    def malformed(self, line: int, problem: str, hint: str = "") -> InvalidInputError:
        return InvalidInputError(
            f"{self.name}, line {line}: {problem}.",
            hint=hint or "Nothing was imported. Correct the file and try again.",
            code="file_malformed",
        )

    def is_empty(self) -> InvalidInputError:
        return InvalidInputError(
            f"{self.name} is empty.", hint="Nothing was imported.", code="file_malformed"
        )

    def not_utf8(self, encoding: str, line: int | None = None) -> InvalidInputError:
        """What to say of a file in another encoding; `encoding` is the likeliest."""
        return self.malformed(
            line or self._first_undecodable_line(),
            "is not UTF-8",
            "Nothing was imported. In a spreadsheet program save it as `CSV UTF-8`, or convert it: "
            f"iconv -f {encoding} -t UTF-8 {self.name} > converted",
        )

    def _first_undecodable_line(self) -> int:
        """Found by reading again: text is decoded far ahead of the line that is being read."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if "\N{REPLACEMENT CHARACTER}" in line.decode(errors="replace"):
                    return number
        return 1


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """A source that can be read several times: what comes from a pipe is first copied to a temporary file.

    Raises: NotFoundError; InvalidInputError.
    """
    if path.is_file():
        yield Source(path, str(path))
        return
    with NamedTemporaryFile() as copy:
        try:
            with _open(path) as piped:
                shutil.copyfileobj(piped, copy)
            copy.flush()
        except OSError as error:
            raise _unreadable(path, error) from error
        yield Source(Path(copy.name), str(path))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.", code="file_not_found") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"{path} cannot be read: {error.strerror}.")
