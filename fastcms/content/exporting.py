"""Write a collection's records out, one at a time."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fastcms.content.convert import to_text
from fastcms.content.models import Collection
from fastcms.content.queries import to_record
from fastcms.content.reading import FileFormat
from fastcms.content.tables import fields_of, records_table
from fastcms.database import format_utc

_BATCH_ROWS = 500


def export_records(session: Session, collection: Collection, file_format: FileFormat) -> Iterator[str]:
    """The pieces of an export, one per record and what stands around them, oldest record first.

    Each record has its id, created and updated beside its fields, so that an import gives the same records.
    """
    rows = _rows(session, collection)
    if file_format is FileFormat.CSV:
        yield from _csv_lines(collection, rows)
    elif file_format is FileFormat.JSONL:
        yield from (f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    else:
        separator = "[\n"
        for row in rows:
            yield f"{separator}{json.dumps(row, ensure_ascii=False)}"
            separator = ",\n"
        yield "[]\n" if separator == "[\n" else "\n]\n"


def _rows(session: Session, collection: Collection) -> Iterator[dict[str, Any]]:
    table = records_table(collection)
    ordered = sa.select(table).order_by(table.c.created, table.c.id).execution_options(yield_per=_BATCH_ROWS)
    for row in session.execute(ordered).mappings():
        record = to_record(collection, row)
        times = {"created": format_utc(record.created), "updated": format_utc(record.updated)}
        yield {"id": record.id} | times | record.data


def _csv_lines(collection: Collection, rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    json_names = {field.name for field in fields_of(collection) if field.type == "json"}
    writer.writerow(["id", "created", "updated", *(field.name for field in fields_of(collection))])
    yield buffer.getvalue()
    for row in rows:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(to_text(value, is_json=name in json_names) for name, value in row.items())
        yield buffer.getvalue()
