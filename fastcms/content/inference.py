"""Find out which fields a file's rows would need."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, field
from typing import Any

from pydantic import ValidationError

from fastcms.content.convert import RECORD_ID, convert_text, parse_moment
from fastcms.content.fields import (
    RESERVED_NAMES,
    Field,
    LongField,
    PlainField,
    validate_value,
)

_LONGEST_SHORT_TEXT = 500
# The first that fits every value is taken; anything is JSON.
_CANDIDATES: tuple[Field, ...] = (
    PlainField(name="x", type="number"),
    PlainField(name="x", type="bool"),
    PlainField(name="x", type="date"),
    PlainField(name="x", type="email"),
    LongField(name="x", type="url"),
    PlainField(name="x", type="text"),
    LongField(name="x", type="editor"),
    LongField(name="x", type="json"),
)


@dataclass
class _Column:
    candidates: list[Field] = field(default_factory=lambda: list(_CANDIDATES))
    has_values: bool = False
    is_reserved: bool = False


@dataclass
class FileScan:
    """What one reading of a file tells: how many rows it has and, per key, the types that fit every value."""

    is_text: bool
    column_names: InitVar[Iterable[str]] = ()
    row_count: int = 0
    _columns: dict[str, _Column] = field(default_factory=dict)

    def __post_init__(self, column_names: Iterable[str]) -> None:
        for name in column_names:
            self._column(name)

    def add(self, row: dict[str, Any] | str) -> None:
        self.row_count += 1
        if isinstance(row, str):
            return
        for key, value in row.items():
            column = self._column(key)
            if value is None or value == "":
                continue
            column.has_values = True
            column.is_reserved = column.is_reserved and _fits_own_field(key.lower(), value)
            column.candidates = [one for one in column.candidates if self._fits(one, value)]

    def infer_fields(self) -> tuple[list[Field], dict[str, str]]:
        """The fields for a new collection, and which key of a row goes into which of them."""
        fields: list[Field] = []
        names: dict[str, str] = {}
        taken = set(RESERVED_NAMES)
        for key, column in self._columns.items():
            if column.is_reserved:
                continue
            name = _free_name(clean_name(key), taken)
            taken.add(name.lower())
            names[key] = name
            guess = column.candidates[0] if column.has_values and column.candidates else _CANDIDATES[5]
            fields.append(guess.model_copy(update={"name": name}))
        return fields, names

    def _column(self, key: str) -> _Column:
        return self._columns.setdefault(key, _Column(is_reserved=key.lower() in RESERVED_NAMES))

    def _fits(self, candidate: Field, value: Any) -> bool:
        if candidate.type == "text" and isinstance(value, str):
            return len(value) <= _LONGEST_SHORT_TEXT and "\n" not in value
        if self.is_text and candidate.type == "json":
            return True
        try:
            validate_value(candidate, convert_text(candidate, value) if self.is_text else value)
        except (ValidationError, ValueError):
            return False
        return True


def clean_name(key: str) -> str:
    """A field name that resembles a key: `Prénom (privé)` becomes `Prenom_prive`."""
    plain = unicodedata.normalize("NFKD", key.replace("ß", "ss")).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-zA-Z0-9]+", "_", plain).strip("_")[:60]
    return name if name[:1].isalpha() else f"field_{name}"[:60].rstrip("_")


def _free_name(name: str, taken: Iterable[str]) -> str:
    if name.lower() in RESERVED_NAMES:
        name = f"source_{name}"
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _fits_own_field(name: str, value: Any) -> bool:
    """Whether a row's id, created or updated can be the record's own."""
    check: Callable[[Any], object] = (lambda v: RECORD_ID.fullmatch(str(v))) if name == "id" else parse_moment
    try:
        return bool(check(value))
    except ValueError:
        return False
