"""The dashboard's filter builder, in the filter language of record lists."""

from collections.abc import Mapping
from datetime import date
from math import isfinite
from typing import ClassVar

from starlette_admin.filters.base import (
    BaseFilter,
    FilterApplyContext,
    FilterDataType,
    FilterGroup,
    FilterRule,
    FilterValidationError,
)

from fastcms.content.fields import Field


class RecordFilter(BaseFilter):
    """A filter that writes `condition` of the filter language; {name} and {value} stand for its parts."""

    condition: ClassVar[str]

    def apply(self, ctx: FilterApplyContext) -> str:
        return self.condition.format(name=ctx.field_name, value=_quote(ctx.value))


class Contains(RecordFilter):
    name, label, data_type = "contains", "contains", FilterDataType.STRING
    condition = "{name} ~ {value}"


class Is(RecordFilter):
    name, label, data_type = "is", "is", FilterDataType.STRING
    condition = "{name} = {value}"


class IsNot(RecordFilter):
    name, label, data_type = "is_not", "is not", FilterDataType.STRING
    condition = "{name} != {value}"


class IsEmpty(RecordFilter):
    name, label, data_type = "empty", "is empty", FilterDataType.NONE
    condition = "{name} = null"


class IsNotEmpty(RecordFilter):
    name, label, data_type = "not_empty", "is not empty", FilterDataType.NONE
    condition = "{name} != null"


class IsYes(RecordFilter):
    name, label, data_type = "yes", "is yes", FilterDataType.NONE
    condition = "{name} = true"


class IsNo(RecordFilter):
    name, label, data_type = "no", "is no", FilterDataType.NONE
    condition = "{name} = false"


class NumberFilter(RecordFilter):
    data_type = FilterDataType.NUMBER

    def parse_value(self, raw: str) -> int | float:
        try:
            number = float(raw)
        except ValueError as error:
            raise FilterValidationError(f"{raw!r} is not a number") from error
        if not isfinite(number):
            raise FilterValidationError(f"{raw!r} is not a number")
        return int(raw) if raw.strip().lstrip("+-").isdecimal() else number


class Equals(NumberFilter):
    name, label, condition = "equals", "equals", "{name} = {value}"


class MoreThan(NumberFilter):
    name, label, condition = "more", "is more than", "{name} > {value}"


class LessThan(NumberFilter):
    name, label, condition = "less", "is less than", "{name} < {value}"


class DateFilter(RecordFilter):
    data_type = FilterDataType.DATE

    def parse_value(self, raw: str) -> str:
        try:
            return date.fromisoformat(raw).isoformat()
        except ValueError as error:
            raise FilterValidationError(f"{raw!r} is not a date such as 2025-01-15") from error


class Since(DateFilter):
    name, label, condition = "since", "is on or after", "{name} >= {value}"


class Before(DateFilter):
    name, label, condition = "before", "is before", "{name} < {value}"


class IsOneOf(RecordFilter):
    name, label, data_type = "one_of", "is one of", FilterDataType.ENUM

    def parse_value(self, raw: str | list[str]) -> list[str]:
        values = raw if isinstance(raw, list) else [part.strip() for part in str(raw).split(",")]
        if not values:
            raise FilterValidationError("choose at least one value")
        return [str(value) for value in values]

    def apply(self, ctx: FilterApplyContext) -> str:
        choices = " || ".join(f"{ctx.field_name} = {_quote(value)}" for value in ctx.value)
        return f"({choices})"


_PRESENCE: list[type[BaseFilter]] = [IsEmpty, IsNotEmpty]
_TEXT: list[type[BaseFilter]] = [Contains, Is, IsNot, *_PRESENCE]
_DATE: list[type[BaseFilter]] = [Since, Before, *_PRESENCE]
FILTERS: Mapping[str, list[type[BaseFilter]]] = {
    "text": _TEXT,
    "editor": _TEXT,
    "email": _TEXT,
    "url": _TEXT,
    "number": [Equals, MoreThan, LessThan, *_PRESENCE],
    "bool": [IsYes, IsNo, IsEmpty],
    "date": _DATE,
    "select": [IsOneOf, *_PRESENCE],
    "json": [],
    "file": _PRESENCE,
    "relation": _PRESENCE,
}


def filters_for(field: Field) -> list[type[BaseFilter]]:
    return FILTERS[field.type]


def write_filter(node: FilterGroup | FilterRule | None, known: Mapping[str, list[type[BaseFilter]]]) -> str:
    """The filter builder's tree as text; `known` has each field's filters."""
    if node is None:
        return ""
    if isinstance(node, FilterRule):
        found = next(found for found in known[node.field] if found.name == node.filter)
        text: str = found().apply(FilterApplyContext(query=None, field_name=node.field, value=node.value))
        return text
    parts = [part for rule in node.rules if (part := write_filter(rule, known))]
    joined = (" || " if node.logic == "or" else " && ").join(parts)
    return f"({joined})" if len(parts) > 1 else joined


def _quote(value: object) -> str:
    if isinstance(value, int | float):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
