"""The filter language of record lists, and its translation to SQL.

    price >= 10 && (title ~ "chair" || category = null)

A field that has no value is `null`: it differs from everything (`!=` finds it), and is neither
greater nor less. `~` finds text anywhere in the value, whatever its case.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from operator import eq, ge, gt, le, lt
from typing import Any, TypeVar

import sqlalchemy as sa
from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import UnexpectedEOF
from pydantic_core import PydanticCustomError

from fastcms.content.fields import (
    Field,
    PlainField,
    check_characters,
    check_number,
    describe_fields,
    normalise_date,
)
from fastcms.content.schemas import MAX_FILTER_LENGTH
from fastcms.errors import InvalidInputError

MAX_DEPTH = 20
_GRAMMAR = r"""
?start: either
either: both ("||" both)*
both: term ("&&" term)*
?term: "(" either ")" | comparison
comparison: NAME OPERATOR value
?value: STRING | NUMBER | TRUE | FALSE | NULL

OPERATOR: "!=" | ">=" | "<=" | "=" | ">" | "<" | "~"
TRUE: "true"
FALSE: "false"
NULL: "null"
NAME: /[a-zA-Z][a-zA-Z0-9_]*/
NUMBER: /-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/
STRING: /"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/s
%import common.WS
%ignore WS
"""
_HINT = """Write for example: price >= 10 && (title ~ "chair" || category = null)"""
_COMPARE = {">": gt, "<": lt, ">=": ge, "<=": le, "=": eq}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
# The columns that every record has; compared like dates and text.
_OWN_FIELDS = (
    PlainField(name="id", type="text"),
    PlainField(name="created", type="date"),
    PlainField(name="updated", type="date"),
)

Value = str | int | float | bool | None
_Checked = TypeVar("_Checked")


@dataclass(frozen=True)
class Comparison:
    name: str
    operator: str
    value: Value


@dataclass(frozen=True)
class Group:
    """Conditions joined by && (`is_either` false) or ||."""

    is_either: bool
    members: tuple["Condition", ...]
    depth: int


Condition = Comparison | Group


class _Builder(Transformer[Token, Condition]):
    """Builds the conditions while the parser reads, so that no depth of parentheses can exhaust the stack."""

    def either(self, members: list[Condition]) -> Condition:
        return _group(members, is_either=True)

    def both(self, members: list[Condition]) -> Condition:
        return _group(members, is_either=False)

    def comparison(self, parts: list[Any]) -> Condition:
        name, operator, value = parts
        return Comparison(str(name), str(operator), value)

    def STRING(self, token: Token) -> str:  # noqa: N802 - Lark finds it by the token's name
        return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), token[1:-1])

    def NUMBER(self, token: Token) -> int | float:  # noqa: N802 - as above
        return int(token) if token.lstrip("-").isdigit() else float(token)

    def TRUE(self, _token: Token) -> bool:  # noqa: N802 - as above
        return True

    def FALSE(self, _token: Token) -> bool:  # noqa: N802 - as above
        return False

    def NULL(self, _token: Token) -> None:  # noqa: N802 - as above
        return None


def parse_filter(text: str) -> Condition:
    """Read a filter.

    Raises: InvalidInputError, saying where it stops making sense.
    """
    if len(text) > MAX_FILTER_LENGTH:
        raise _invalid(f"The filter is longer than {MAX_FILTER_LENGTH} characters.")
    try:
        condition: Any = _parser().parse(text)
    except UnexpectedInput as error:
        token = getattr(error, "token", None)
        at_end = isinstance(error, UnexpectedEOF) or (token is not None and token.type == "$END")
        place = (
            "ends too early" if at_end else f"cannot be read at character {(error.pos_in_stream or 0) + 1}"
        )
        raise _invalid(f"The filter {place}.") from error
    checked: Condition = condition
    if isinstance(checked, Group) and checked.depth > MAX_DEPTH:
        raise _invalid(f"The filter is nested more than {MAX_DEPTH} levels deep.")
    return checked


def filter_to_sql(condition: Condition, table: sa.Table, fields: Sequence[Field]) -> sa.ColumnElement[bool]:
    """Translate a filter; every value becomes a bound parameter.

    Raises: InvalidInputError for an unknown field, or a value that its type cannot be compared with.
    """
    if isinstance(condition, Comparison):
        field = next((f for f in (*_OWN_FIELDS, *fields) if f.name == condition.name), None)
        if field is None:
            known = describe_fields((*_OWN_FIELDS, *fields))
            raise _invalid(f"There is no field named {condition.name}.", hint=f"Fields: {known}.")
        return _comparison_to_sql(condition, field, table.c[field.name])
    join = sa.or_ if condition.is_either else sa.and_
    return join(*(filter_to_sql(member, table, fields) for member in condition.members))


def contains(column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
    """Whether a column's text contains this, whatever its case.

    SQLite's LIKE knows the case of ASCII only; for other letters see `allow_text_search`.
    """
    as_text = sa.type_coerce(column, sa.Text)
    if text.isascii():
        return as_text.contains(text, autoescape=True)
    return sa.func.instr(sa.func.unicode_lower(as_text), text.lower()) > 0


def allow_text_search(connection: sa.Connection) -> None:
    """Give a connection the function that `contains` needs for letters outside ASCII."""
    if not connection.info.get("has_unicode_lower"):
        driver: Any = connection.connection.driver_connection
        driver.create_function("unicode_lower", 1, _lower, deterministic=True)
        connection.info["has_unicode_lower"] = True


def _lower(value: Any) -> str | None:
    return None if value is None else str(value).lower()


def _comparison_to_sql(
    comparison: Comparison, field: Field, column: sa.ColumnElement[Any]
) -> sa.ColumnElement[bool]:
    value, operator = comparison.value, comparison.operator
    if value is None and operator in ("=", "!="):
        return column.is_(None) if operator == "=" else column.is_not(None)
    if operator == "~" and field.type not in ("number", "bool") and isinstance(value, str):
        return contains(column, _checked(field, value, check_characters))
    if operator == "~" or value is None or (field.type == "bool" and operator not in ("=", "!=")):
        raise _invalid(
            f"{operator} {_literal(value)} does not fit {field.name}, which is of type {field.type}."
        )
    operand = sa.literal(_operand(field, value))
    bare = sa.type_coerce(column, operand.type)
    if operator == "!=":
        return bare.is_distinct_from(operand)
    result: sa.ColumnElement[bool] = _COMPARE[operator](bare, operand)
    return result


def _operand(field: Field, value: Value) -> Value:
    """The value as the field's column holds it."""
    if field.type == "number":
        return _checked(field, value, check_number)
    if field.type == "bool" and isinstance(value, bool):
        return value
    if field.type == "date":
        return _checked(field, value, normalise_date)
    if field.type not in ("bool", "json") and isinstance(value, str):
        return _checked(field, value, check_characters)
    raise _invalid(
        f"{field.name} is of type {field.type}: it cannot be compared with {_literal(value)}.",
        hint="Write text in quotes, numbers without, and true, false or null as they are.",
    )


def _checked(field: Field, value: Any, check: Callable[[Any], _Checked]) -> _Checked:
    try:
        return check(value)
    except PydanticCustomError as error:
        raise _invalid(f"{field.name}: {error.message()}.") from error


def _group(members: list[Condition], *, is_either: bool) -> Condition:
    if len(members) == 1:
        return members[0]
    depth = 1 + max(member.depth if isinstance(member, Group) else 0 for member in members)
    return Group(is_either, tuple(members), depth)


def _literal(value: Value) -> str:
    """A value as it is written in a filter; never longer than a line."""
    return json.dumps(value)[:100]


def _invalid(message: str, *, hint: str = _HINT) -> InvalidInputError:
    return InvalidInputError(
        message, hint=hint, code="filter_invalid", errors=[{"field": "filter", "message": message}]
    )


@cache  # built at the first filter, not at import
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_Builder())
