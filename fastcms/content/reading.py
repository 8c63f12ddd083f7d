"""Rows of a file that is to be imported, one at a time: the file is never in memory as a whole."""

import csv
import io
import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import ijson

from fastcms.content.fields import MAX_EDITOR_LENGTH
from fastcms.errors import InvalidInputError, NotFoundError

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t"
_MAX_DEPTH = 200


class FileFormat(StrEnum):
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def format_of(path: Path, given: FileFormat | None = None) -> FileFormat:
    """The format that was asked for, or else the one that the file's name says."""
    if given is not None:
        return given
    suffix = path.suffix.lower().lstrip(".")
    try:
        return FileFormat("jsonl" if suffix == "ndjson" else suffix)
    except ValueError as error:
        raise InvalidInputError(
            f"The name of {path} does not say what it contains.", hint="Add --format json, jsonl or csv."
        ) from error


def read_rows(path: Path, file_format: FileFormat) -> Iterator[dict[str, Any] | str]:
    """Read a file's rows; a string in place of a row says why that one cannot be a record.

    The values of a CSV file are text, and None where a cell is empty.

    Raises: NotFoundError; InvalidInputError, naming the line at which the file stops making sense.
    """
    readers = {FileFormat.JSON: _read_json, FileFormat.JSONL: _read_jsonl, FileFormat.CSV: _read_csv}
    return readers[file_format](path)


def _read_json(path: Path) -> Iterator[dict[str, Any] | str]:
    with _open(path) as file:
        lines = _Lines(file)
        if not lines.starts_with_array():
            raise InvalidInputError(
                f"{path} does not start with [.", hint="A JSON file to import is an array of objects."
            )
        try:
            for item in _array_items(ijson.basic_parse(lines, use_float=True)):
                yield _as_row(item)
        except ijson.JSONError as error:
            reason = (
                error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            )
            first_line = reason.splitlines()[0].strip()
            raise _malformed(path, max(lines.count, 1), f"is not valid JSON: {first_line}") from error


def _array_items(events: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    """The items of an array, each built as it is read.

    Not ijson.items: its memory grows with the square of the nesting.
    """
    builder, depth = ijson.ObjectBuilder(), 0
    for event, value in events:
        depth += event.startswith("start_")
        depth -= event.startswith("end_")
        if depth > _MAX_DEPTH:
            raise ijson.JSONError(f"nested more than {_MAX_DEPTH} levels deep")
        if depth == 0 or (depth == 1 and event == "start_array"):
            continue  # the array itself
        builder.event(event, value)
        if depth == 1:
            yield builder.value
            builder = ijson.ObjectBuilder()


class _Lines:
    """Hands a file to the parser line by line, so that an error has a line number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def starts_with_array(self) -> bool:
        """Whether the first character is [; the file is then read from there on."""
        if self._file.read(len(_BOM)) != _BOM:
            self._file.seek(0)
        start = self._file.tell()
        first = b""
        while not first and (line := self._file.readline(65536)):
            first = line.strip()[:1]
        self._file.seek(start)
        return first == b"["

    def read(self, size_bytes: int) -> bytes:
        line = self._file.readline(size_bytes)
        self.count += bool(line)
        return line


def _read_jsonl(path: Path) -> Iterator[dict[str, Any] | str]:
    with _open_text(path) as file:
        number = 0
        try:
            for line in file:
                number += 1
                if line.strip():
                    yield _as_row(json.loads(line))
        except UnicodeDecodeError as error:
            raise _malformed(path, _first_undecodable_line(path), "is not UTF-8") from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise _malformed(path, number, f"is not valid JSON: {error}") from error


def _read_csv(path: Path) -> Iterator[dict[str, Any] | str]:
    csv.field_size_limit(2 * MAX_EDITOR_LENGTH)
    with _open_text(path) as file:
        number = 0
        try:
            header = file.readline()
            file.seek(0)
            delimiter = max(_DELIMITERS, key=header.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_header(path, names)
            number = reader.line_num
            for cells in reader:
                number = reader.line_num
                if cells:
                    yield _csv_row(names, cells)
        except UnicodeDecodeError as error:
            raise _malformed(path, _first_undecodable_line(path), "is not UTF-8") from error
        except csv.Error as error:
            raise _malformed(path, number + 1, f"is not valid CSV: {error}") from error


def _check_header(path: Path, names: list[str]) -> None:
    if not names or "" in names:
        raise _malformed(path, 1, "does not name every column")
    if len({name.lower() for name in names}) < len(names):
        raise _malformed(path, 1, "names a column twice")


def _csv_row(names: list[str], cells: list[str]) -> dict[str, Any] | str:
    if len(cells) > len(names):
        return f"it has {len(cells)} values for {len(names)} columns"
    values = [cell or None for cell in cells] + [None] * (len(names) - len(cells))
    return dict(zip(names, values, strict=True))


def _as_row(item: Any) -> dict[str, Any] | str:
    return item if isinstance(item, dict) else "it is not a JSON object"


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.", code="file_not_found") from error
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error


def _open_text(path: Path) -> TextIO:
    return io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="")


def _first_undecodable_line(path: Path) -> int:
    """Found by reading again: text is decoded far ahead of the line that is being read."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if "\N{REPLACEMENT CHARACTER}" in line.decode(errors="replace"):
                return number
    return 1


def _malformed(path: Path, line: int, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path}, line {line}: {problem}.",
        hint="Nothing was imported. Correct the file and try again.",
        code="file_malformed",
    )
