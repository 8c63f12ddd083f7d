"""The types that a field can have, and what each accepts as a value."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    HttpUrl,
    PlainValidator,
    StrictBool,
    TypeAdapter,
    validate_email,
)
from pydantic import Field as Option
from pydantic_core import PydanticCustomError

RESERVED_NAMES = frozenset({"id", "created", "updated"})
MAX_FIELDS = 200
MAX_TEXT_LENGTH = 100_000
MAX_EDITOR_LENGTH = 10_000_000
MAX_JSON_BYTES = 1_000_000
MAX_JSON_DEPTH = 64
_INT64 = 2**63

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*")
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f]+", re.IGNORECASE)
_http_url = TypeAdapter(HttpUrl)


class _BaseField(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Option(
        pattern="^[a-zA-Z][a-zA-Z0-9_]{0,63}$", description="Letters, digits and _; unique in its collection."
    )
    required: StrictBool = Option(
        default=False, description="Refuse records in which it is missing or empty."
    )


class PlainField(_BaseField):
    """A short value that lists can be sorted and filtered by."""

    type: Literal["text", "number", "bool", "date", "email"]
    indexed: StrictBool = Option(default=True, description="Make sorting and filtering by it fast.")


class LongField(_BaseField):
    """A value that is mostly read, not sought: HTML (stored as given, not sanitised), a URL, or any JSON."""

    type: Literal["editor", "url", "json"]
    indexed: StrictBool = Option(default=False, description="Make sorting and filtering by it fast.")


class SelectField(_BaseField):
    """One of a list of values."""

    type: Literal["select"]
    values: tuple[Annotated[str, Option(min_length=1, max_length=200)], ...] = Option(
        min_length=1, max_length=500, description="The values it can have."
    )
    indexed: StrictBool = Option(default=True, description="Make sorting and filtering by it fast.")


class FileField(_BaseField):
    """The id of an uploaded file; deleting the file empties the field."""

    type: Literal["file"]


class RelationField(_BaseField):
    """The id of a record of another collection; deleting that record empties the field."""

    type: Literal["relation"]
    collection: str = Option(max_length=64, description="Name of the collection that it points into.")


Field = Annotated[
    PlainField | LongField | SelectField | FileField | RelationField, Option(discriminator="type")
]


def _check_names(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    seen: set[str] = set()
    for field in fields:
        name = field.name.lower()
        if name in RESERVED_NAMES:
            raise PydanticCustomError("reserved", f"{field.name} is a name that every record has already")
        if name in seen:
            raise PydanticCustomError("duplicate", f"there are two fields named {field.name}")
        if isinstance(field, SelectField):
            for value in field.values:
                check_characters(value)
        seen.add(name)
    return fields


Fields = Annotated[tuple[Field, ...], Option(max_length=MAX_FIELDS), AfterValidator(_check_names)]
fields_adapter: TypeAdapter[tuple[Field, ...]] = TypeAdapter(Fields)


def is_indexed(field: Field) -> bool:
    # References are always indexed: deleting what they point at has to find them.
    return isinstance(field, FileField | RelationField) or field.indexed


def describe_fields(fields: Iterable[Field]) -> str:
    return ", ".join(field.name for field in fields) or "none"


def validate_value(field: Field, value: Any) -> Any:
    """The value as it is stored.

    Raises: pydantic.ValidationError.
    """
    return _adapter_of(field).validate_python(value)


@lru_cache(maxsize=1000)
def _adapter_of(field: Field) -> TypeAdapter[Any]:
    if isinstance(field, SelectField):
        return TypeAdapter(Annotated[str, Option(strict=True), AfterValidator(_one_of(field.values))])
    return _ADAPTERS[field.type]


def check_characters(text: str) -> str:
    """Refuse what SQLite or UTF-8 cannot hold."""
    if "\0" in text:
        raise PydanticCustomError("characters", "Input should not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "characters", "Input should be valid Unicode, without lone surrogates"
        ) from error
    return text


def normalise_date(value: Any) -> str:
    """A day stays a day (2025-01-15); a moment becomes UTC (2025-01-15T10:00:00.000000Z).

    Text order is time order. A moment without an offset is taken for UTC.
    """
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value).isoformat()
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            moment = datetime.fromisoformat(value)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            # Not strftime: it writes years before 1000 with fewer digits.
            return aware.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError(
        "date", "Input should be a date such as 2025-01-15 or a date-time such as 2025-01-15T10:00:00Z"
    )


def check_number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("number", "Input should be a number")
    if isinstance(value, float) and not isfinite(value):
        raise PydanticCustomError("number", "Input should be a finite number")
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise PydanticCustomError("number", "Input should be a whole number of at most 64 bits")
    return value


def _check_email(text: str) -> str:
    return validate_email(check_characters(text))[1]


def _check_url(text: str) -> str:
    """Kept as given: what pydantic returns has been rewritten."""
    if not _URL.fullmatch(check_characters(text)):
        raise PydanticCustomError("url", "Input should be a URL that starts with http:// or https://")
    _http_url.validate_python(text)
    return text


def _check_json(value: Any) -> Any:
    try:
        if _depth(value) > MAX_JSON_DEPTH:
            raise PydanticCustomError("json", f"Input should be nested at most {MAX_JSON_DEPTH} levels deep")
        size_bytes = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, TypeError) as error:  # NaN, a lone surrogate, or not JSON
        if isinstance(error, PydanticCustomError):
            raise
        raise PydanticCustomError("json", "Input should be valid JSON") from error
    if size_bytes > MAX_JSON_BYTES:
        raise PydanticCustomError("json", f"Input should have at most {MAX_JSON_BYTES} bytes")
    return value


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion and no further than needed."""
    depth, level = 0, [value]
    while level and depth <= MAX_JSON_DEPTH:
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
        depth += bool(nested)
    return depth


def _one_of(values: tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in values:
            raise PydanticCustomError("select", f"Input should be one of: {', '.join(values)}")
        return value

    return check


def _text(max_length: int, check: Callable[[str], str] = check_characters) -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[str, Option(strict=True, max_length=max_length), AfterValidator(check)])


_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "text": _text(MAX_TEXT_LENGTH),
    "editor": _text(MAX_EDITOR_LENGTH),
    "number": TypeAdapter(Annotated[Any, PlainValidator(check_number)]),
    "bool": TypeAdapter(Annotated[bool, Option(strict=True)]),
    "date": TypeAdapter(Annotated[Any, PlainValidator(normalise_date)]),
    "email": _text(320, _check_email),
    "url": _text(2000, _check_url),
    "json": TypeAdapter(Annotated[Any, PlainValidator(_check_json)]),
    "file": _text(64),
    "relation": _text(64),
}
