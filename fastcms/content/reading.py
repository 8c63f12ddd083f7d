"""Rows of a file that is to be imported, one at a time: the file is never in memory as a whole."""

import csv
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import ijson

from fastcms.content.fields import MAX_EDITOR_LENGTH
from fastcms.content.sources import Source
from fastcms.errors import InvalidInputError

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')
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


def read_rows(source: Source, file_format: FileFormat) -> Iterator[dict[str, Any] | str]:
    """Read a file's rows; a string in place of a row says why that one cannot be a record.

    The values of a CSV file are text, and None where a cell is empty.

    Raises: NotFoundError; InvalidInputError, naming the line at which the file stops making sense.
    """
    readers = {FileFormat.JSON: _read_json, FileFormat.JSONL: _read_jsonl, FileFormat.CSV: _read_csv}
    return readers[file_format](source)


def read_columns(source: Source, file_format: FileFormat) -> list[str]:
    """The columns that a CSV file's first line names; the other formats name them in every row."""
    if file_format is not FileFormat.CSV:
        return []
    with source.open_text() as file:
        return next(_csv_lines(source, file))


def _read_json(source: Source) -> Iterator[dict[str, Any] | str]:
    with source.open() as file:
        lines = _Lines(file)
        first = lines.first_character()
        if not first:
            raise source.is_empty()
        if first != b"[":
            raise InvalidInputError(
                f"{source.name} does not start with [.", hint="A JSON file to import is an array of objects."
            )
        try:
            for item in _array_items(ijson.basic_parse(lines, use_float=True)):
                yield _as_row(item)
        except ijson.JSONError as error:
            reason = (
                error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            )
            first_line = reason.splitlines()[0].strip()
            if "UTF8" in first_line:
                raise source.not_utf8("ISO-8859-1") from error
            raise source.malformed(max(lines.count, 1), f"is not valid JSON: {first_line}") from error


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

    def first_character(self) -> bytes:
        """The first character that is not white space; reading then begins at the file's start."""
        if self._file.read(len(_BOM)) != _BOM:
            self._file.seek(0)
        start = self._file.tell()
        first = b""
        while not first and (line := self._file.readline(65536)):
            first = line.strip()[:1]
        self._file.seek(start)
        return first

    def read(self, size_bytes: int) -> bytes:
        line = self._file.readline(size_bytes)
        self.count += bool(line)
        return line


def _read_jsonl(source: Source) -> Iterator[dict[str, Any] | str]:
    with source.open_text() as file:
        number = 0
        try:
            for line in file:
                number += 1
                if line.strip():
                    yield _as_row(json.loads(line))
        except UnicodeDecodeError as error:
            raise source.not_utf8("ISO-8859-1") from error
        except (ValueError, RecursionError) as error:
            raise source.malformed(number, f"is not valid JSON: {json_problem(error)}") from error


def json_problem(error: ValueError | RecursionError) -> str:
    """Why a text could not be read as JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it has a number of too many digits"  # Python reads 4300, against attacks


def _read_csv(source: Source) -> Iterator[dict[str, Any] | str]:
    with source.open_text() as file:
        lines = _csv_lines(source, file)
        names = next(lines)
        for cells in lines:
            if cells:
                yield _csv_row(names, cells)


def _csv_lines(source: Source, file: TextIO) -> Iterator[list[str]]:
    """The cells of each line; those of the first are the columns' names."""
    csv.field_size_limit(2 * MAX_EDITOR_LENGTH)
    number = 0
    try:
        header = _QUOTED.sub("", file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=max(_DELIMITERS, key=header.count), strict=True)
        names = _column_names(source, next(reader, []))
        number = reader.line_num
        yield names
        for cells in reader:
            number = reader.line_num
            yield cells
    except UnicodeDecodeError as error:
        raise source.not_utf8("ISO-8859-1") from error
    except csv.Error as error:
        raise source.malformed(number + 1, f"is not valid CSV: {error}") from error


def _column_names(source: Source, header: list[str]) -> list[str]:
    if not any(header):
        raise source.malformed(1, "does not name the columns") if header else source.is_empty()
    # Programs that write a table's index leave the first name out.
    names = [name.strip() or f"column_{number}" for number, name in enumerate(header, start=1)]
    if len({name.lower() for name in names}) < len(names):
        raise source.malformed(1, "names a column twice")
    return names


def _csv_row(names: list[str], cells: list[str]) -> dict[str, Any] | str:
    if len(cells) > len(names):
        return f"it has {len(cells)} values for {len(names)} columns"
    values = [cell or None for cell in cells] + [None] * (len(names) - len(cells))
    return dict(zip(names, values, strict=True))


def _as_row(item: Any) -> dict[str, Any] | str:
    return item if isinstance(item, dict) else "it is not a JSON object"
