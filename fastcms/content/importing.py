"""Import records from a file.

The file is read twice: once to see that it is sound, and to infer fields from it; once to import. (What comes
from a pipe is copied first.) Rows that fit go in, a few hundred a transaction so that people can go on
writing meanwhile; the others are reported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastcms.content.convert import RECORD_ID, convert_text, parse_moment
from fastcms.content.fields import MAX_FIELDS, RESERVED_NAMES, Field, RelationField
from fastcms.content.inference import FileScan, clean_name
from fastcms.content.models import Collection
from fastcms.content.reading import FileFormat, read_columns, read_rows
from fastcms.content.service import create_collection, find_collection, find_record, get_collection
from fastcms.content.sources import Source, open_source
from fastcms.content.tables import fields_of, records_table
from fastcms.content.validation import validate_data
from fastcms.database import Database, new_id, utc_now
from fastcms.errors import InvalidInputError, NotFoundError

_BATCH_ROWS = 500
_EMPTY_TEXT_TYPES = ("text", "editor", "json")

Row = dict[str, Any] | str
ReportProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Refusal:
    """Why a row, counted from 1, did not go in."""

    row: int
    field: str
    reason: str


@dataclass
class ImportReport:
    collection: str
    is_new_collection: bool = False
    imported: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return len({refusal.row for refusal in self.refusals})


@dataclass(frozen=True)
class _Job:
    """What holds for every row of one import."""

    name: str
    is_text: bool
    names: Mapping[str, str]
    started: datetime
    report: ImportReport
    # Relations within the collection may point at later rows: row, record, field and target, set at the end.
    links: list[tuple[int, str, str, Any]] = field(default_factory=list)


def import_records(
    database: Database,
    name: str,
    path: Path,
    file_format: FileFormat,
    *,
    can_create: bool = False,
    on_progress: ReportProgress = lambda _done, _total: None,
) -> ImportReport:
    """Import a file's rows into the collection of this name.

    `can_create`: make the collection from the file when there is none. A row's id, created and updated are
    kept.

    Raises: NotFoundError; InvalidInputError for a malformed file, of which nothing is imported.
    """
    with database.read() as session:
        if get_collection(session, name) is None and not can_create:
            raise NotFoundError(
                f"There is no collection named {name}.",
                hint="Add --create to make it, with fields inferred from the file.",
                code="collection_not_found",
            )
    with open_source(path) as source:
        return _import(database, name, source, file_format, on_progress)


def _import(
    database: Database, name: str, source: Source, file_format: FileFormat, on_progress: ReportProgress
) -> ImportReport:
    scan = FileScan(file_format is FileFormat.CSV, read_columns(source, file_format))
    for row in read_rows(source, file_format):
        scan.add(row)
    job = _Job(name, scan.is_text, {}, utc_now(), ImportReport(name))
    with database.write() as session:
        if get_collection(session, name) is None:
            job = replace(job, names=_create_collection(session, name, scan, source))
            job.report.is_new_collection = True
    done = 0
    for batch in _batches(enumerate(read_rows(source, file_format), start=1)):
        with database.write() as session:
            _import_batch(session, job, batch)
        done = batch[-1][0]
        on_progress(done, scan.row_count)
    with database.write() as session:
        _link_records(session, job)
    if done != scan.row_count:
        raise InvalidInputError(
            f"{source.name} changed while it was read: it had {scan.row_count} rows, then {done}.",
            hint=f"{job.report.imported} records were imported. Look at them, and import a copy of the file.",
            code="file_malformed",
        )
    return job.report


def _create_collection(session: Session, name: str, scan: FileScan, source: Source) -> dict[str, str]:
    """Make the collection that the rows fit into. Returns which key of a row goes into which field."""
    fields, names = scan.infer_fields()
    if not fields:
        raise InvalidInputError(
            f"{source.name} has nothing to infer fields from.",
            hint="Nothing was imported. Give it at least one row, or make the collection in the dashboard.",
            code="file_malformed",
        )
    if len(fields) > MAX_FIELDS:
        raise InvalidInputError(
            f"{source.name} needs {len(fields)} fields; a collection has at most {MAX_FIELDS}.",
            hint="Nothing was imported. Leave some out, or join some to one JSON value.",
            code="file_malformed",
        )
    create_collection(session, name, fields)
    return names


def _batches(rows: Iterator[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch


def _import_batch(session: Session, job: _Job, batch: Sequence[tuple[int, Row]]) -> None:
    collection = find_collection(session, job.name)
    table = records_table(collection)
    prepared: list[tuple[int, dict[str, Any]]] = []
    for number, row in batch:
        try:
            prepared.append((number, _prepare(session, job, collection, number, row)))
        except InvalidInputError as error:
            job.report.refusals += [Refusal(number, p["field"], p["message"]) for p in error.errors]
    ids = [values["id"] for _, values in prepared]
    taken = set(session.scalars(sa.select(table.c.id).where(table.c.id.in_(ids))))
    accepted = []
    for number, values in prepared:
        if values["id"] in taken:
            job.report.refusals.append(Refusal(number, "id", f"there is already a record {values['id']}"))
            continue
        taken.add(values["id"])
        accepted.append(_without_links(job, collection, number, values))
    if accepted:
        session.execute(table.insert(), accepted)
    job.report.imported += len(accepted)


def _prepare(session: Session, job: _Job, collection: Collection, number: int, row: Row) -> dict[str, Any]:
    """The values of a row's record, as they are stored.

    Raises: InvalidInputError, naming each field that does not fit.
    """
    if isinstance(row, str):
        raise _refused([{"field": "", "message": row}])
    fields = {field.name.lower(): field for field in fields_of(collection)}
    own: dict[str, Any] = {}
    data: dict[str, Any] = {}
    problems: list[dict[str, str]] = []
    for key, value in row.items():
        if key not in job.names and key.lower() in RESERVED_NAMES:
            own[key.lower()] = value
            continue
        name = job.names.get(key, key).lower()
        found = fields.get(name) or fields.get(clean_name(key).lower())
        try:
            data[found.name if found else key] = _convert(job, found, value)
        except ValueError as error:
            problems.append({"field": key, "message": str(error)})
    if problems:
        raise _refused(problems)
    links = {name: data.pop(name) for name in _links(collection) if data.get(name) is not None}
    every = dict.fromkeys((field.name for field in fields.values()), None)
    return _own_values(job, number, own) | every | validate_data(session, collection, data) | links


def _convert(job: _Job, found: Field | None, value: Any) -> Any:
    if found is None or value is None or (value == "" and found.type not in _EMPTY_TEXT_TYPES):
        return value or None
    return convert_text(found, value) if job.is_text else value


def _own_values(job: _Job, number: int, own: Mapping[str, Any]) -> dict[str, Any]:
    """A record's id and times: the row's, or new ones in the order of the rows."""
    problems = []
    values: dict[str, Any] = {}
    record_id = own.get("id")
    if record_id in (None, ""):
        values["id"] = new_id()
    elif isinstance(record_id, str | int) and RECORD_ID.fullmatch(str(record_id)):
        values["id"] = str(record_id)
    else:
        problems.append({"field": "id", "message": "Input should be 1 to 64 letters, digits, - or _"})
    moment = job.started + timedelta(microseconds=number)
    for name in ("created", "updated"):
        try:
            moment = parse_moment(own[name]) if own.get(name) not in (None, "") else moment
        except ValueError as error:
            problems.append({"field": name, "message": str(error)})
        values[name] = moment
    if problems:
        raise _refused(problems)
    return values


def _links(collection: Collection) -> list[str]:
    """The relations that point into their own collection."""
    return [
        field.name
        for field in fields_of(collection)
        if isinstance(field, RelationField) and field.collection.lower() == collection.name.lower()
    ]


def _without_links(job: _Job, collection: Collection, number: int, values: dict[str, Any]) -> dict[str, Any]:
    links = {name: values[name] for name in _links(collection) if values[name] is not None}
    job.links.extend((number, values["id"], name, target) for name, target in links.items())
    return values | dict.fromkeys(links, None)


def _link_records(session: Session, job: _Job) -> None:
    """Set the relations within the collection, now that every row is in."""
    if not job.links:
        return
    collection = find_collection(session, job.name)
    for number, record_id, name, target in job.links:
        current = find_record(session, collection, record_id).data
        try:
            values = validate_data(session, collection, {name: target}, current)
        except InvalidInputError as error:
            reason = "; ".join(problem["message"] for problem in error.errors)
            job.report.refusals.append(Refusal(number, name, f"{reason}; the record went in without it"))
            continue
        table = records_table(collection)
        session.execute(table.update().where(table.c.id == record_id).values(values))


def _refused(problems: list[dict[str, str]]) -> InvalidInputError:
    return InvalidInputError("The row does not fit.", errors=problems)
