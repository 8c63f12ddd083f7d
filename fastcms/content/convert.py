"""Values of imported rows: from the text of a CSV cell, and back."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from fastcms.content.fields import Field, normalise_date

RECORD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# No leading zeros: 00123 is a postal code, not a number.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_FIRST_YEAR = 1000  # earlier ones would not be written with four digits


def convert_text(field: Field, text: str) -> Any:
    """The value that a CSV cell has in a field of this type.

    Raises: ValueError.
    """
    if field.type == "number":
        if not _NUMBER.fullmatch(text.strip()):
            raise ValueError("Input should be a number")
        return int(text) if re.fullmatch(r"-?[0-9]{1,30}", text.strip()) else float(text)
    if field.type == "bool":
        if text.strip().lower() not in _BOOLS:
            raise ValueError("Input should be true or false")
        return _BOOLS[text.strip().lower()]
    if field.type == "json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("Input should be valid JSON") from error
    return text


def to_text(value: Any, *, is_json: bool = False) -> str:
    """The CSV cell that `convert_text` reads back; null and an empty text are both an empty cell."""
    if value is None:
        return ""
    return value if isinstance(value, str) and not is_json else json.dumps(value, ensure_ascii=False)


def parse_moment(value: Any) -> datetime:
    """A record's created or updated time; a day means its first moment.

    Raises: ValueError.
    """
    moment = datetime.fromisoformat(normalise_date(value))
    if moment.year < _FIRST_YEAR:
        raise ValueError("Input should be a date after the year 1000")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
