"""How the dashboard shows a record's fields, and what its forms send for them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette_admin import (
    BaseField,
    BooleanField,
    EmailField,
    EnumField,
    HasOne,
    RequestAction,
    StringField,
    TextAreaField,
    URLField,
)
from starlette_admin.exceptions import FormValidationError
from starlette_admin.fields import NumberField

from fastcms.content.fields import Field, LongField, PlainField, RelationField, SelectField
from fastcms.content.reading import json_problem
from fastcms.content.record_filters import filters_for
from fastcms.database import format_utc

_FORM_FIELD_PREFIX = "field-"
_DAY_LENGTH = len("2025-01-15")
_SECOND_LENGTH = len("2025-01-15T10:00:00")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def records_key(name: str) -> str:
    """What stands for a collection in the dashboard's addresses; no page of ours has such a name."""
    return f"records-{name}"


@dataclass
class DateInput(StringField):
    """A day, or a moment in UTC: the input follows the value that is there."""

    form_template: str = "fields/form/date.html"


@dataclass
class Moment(StringField):
    """When a record was made or changed; programs that export get ISO 8601."""

    async def serialize_value(self, request: Request, value: Any) -> str:
        if request.state.action == RequestAction.EXPORT:
            return format_utc(value)
        return value.strftime("%Y-%m-%d %H:%M UTC")  # type: ignore[no-any-return] # a record's own time


@dataclass
class EditorInput(TextAreaField):
    """HTML as text; lists show its words."""

    list_template: str = "fields/list/editor.html"


@dataclass
class JsonInput(TextAreaField):
    """JSON as text. starlette-admin's editor starts workers that the Content-Security-Policy forbids."""

    class_: str = "form-control font-monospace"

    async def serialize_value(self, request: Request, value: Any) -> Any:
        # After a refused form it is the text that was sent.
        is_form = request.state.action.is_form()
        return json.dumps(value, ensure_ascii=False, indent=2 if is_form else None)


@dataclass
class FileInput(BaseField):
    """A file of the site, chosen or uploaded in the form."""

    form_template: str = "fields/form/picked_file.html"
    list_template: str = "fields/list/picked_file.html"
    detail_template: str = "fields/detail/picked_file.html"

    async def serialize_value(self, request: Request, value: Any) -> Any:
        """`value` is a PickedFile, prepared by the view; programs that export get the id."""
        return value.id if request.state.action == RequestAction.EXPORT else value.as_dict()


@dataclass
class ChoiceInput(EnumField):
    """One of the choices, or the value that was there before it stopped being one."""

    form_template: str = "fields/form/choice.html"

    async def serialize_value(self, request: Request, value: Any) -> Any:
        known = {choice for choice, _ in self._get_choices(request)}
        return await super().serialize_value(request, value) if value in known else value


@dataclass
class RelationInput(HasOne):
    async def parse_form_data(self, request: Request, form_data: FormData) -> Any:
        return await super().parse_form_data(request, form_data) or None


def form_fields(fields: tuple[Field, ...]) -> list[BaseField]:
    """The columns and inputs of a collection."""
    made: list[BaseField] = [
        StringField("id", label="ID", exclude_from_list=True, copy_to_clipboard=True, read_only=True),
        *(_form_field(field) for field in fields),
        *(
            Moment(name, label=label, read_only=True, exclude_from_create=True, exclude_from_edit=True)
            for name, label in (("created", "Created"), ("updated", "Changed"))
        ),
    ]
    for field in made:
        field.getter = partial(_value_in_row, name=field.name)
    return made


def _value_in_row(_request: Request, row: Any, name: str) -> Any:
    """Not by attribute, because a field may have any name."""
    return row.values[name]


def _form_field(field: Field) -> BaseField:
    made = _input_of(field)
    made.required = field.required and not isinstance(made, BooleanField)
    made.filters = filters_for(field)
    # A field may have any name, also that of the form's own CSRF token.
    made.id = f"{_FORM_FIELD_PREFIX}{field.name}"
    return made


def _input_of(field: Field) -> BaseField:
    if isinstance(field, SelectField):
        return ChoiceInput(field.name, choices=list(field.values))
    if isinstance(field, RelationField):
        return RelationInput(field.name, key=records_key(field.collection))
    if isinstance(field, PlainField | LongField):
        return _SIMPLE_INPUTS[field.type](field.name)
    return FileInput(field.name)


def _number(name: str) -> NumberField:
    return NumberField(name, step="any")


_SIMPLE_INPUTS: dict[str, Callable[[str], BaseField]] = {
    "text": StringField,
    "editor": EditorInput,
    "number": _number,
    "bool": BooleanField,
    "date": DateInput,
    "email": EmailField,
    "url": URLField,
    "json": JsonInput,
}


def record_data(fields: tuple[Field, ...], form: dict[str, Any]) -> dict[str, Any]:
    """What a form sent, as the values that records have; the content service checks them.

    Raises: FormValidationError for JSON that cannot be read.
    """
    data: dict[str, Any] = {}
    problems: dict[str | int, Any] = {}
    for field in fields:
        try:
            data[field.name] = _value(field, form.get(field.name))
        except (ValueError, RecursionError) as error:
            problems[field.name] = f"This is not JSON: {json_problem(error)}."
    if problems:
        raise FormValidationError(problems)
    return data


def changed_values(
    fields: tuple[Field, ...], current: dict[str, Any], sent: dict[str, Any]
) -> dict[str, Any]:
    """What a form sent, without the values that its inputs cannot show and that nobody changed."""
    unchanged = {
        field.name for field in fields if _is_unchanged(field, current[field.name], sent[field.name])
    }
    return {name: value for name, value in sent.items() if name not in unchanged}


def _is_unchanged(field: Field, current: Any, sent: Any) -> bool:
    if field.type == "bool":  # a check box has no third state
        return current is None and sent is False and not field.required
    if field.type == "select":  # it may no longer be one of the choices
        return current is not None and current == sent
    if field.type == "date" and isinstance(current, str) and isinstance(sent, str):
        # The input shows whole seconds, and browsers leave :00 out.
        return len(current) > _DAY_LENGTH and current[:_SECOND_LENGTH] in (sent, f"{sent}:00")
    return False


def _value(field: Field, sent: Any) -> Any:
    if isinstance(sent, bool):
        return sent
    if not isinstance(sent, str) or sent == "":
        return None
    if field.type == "json":
        return json.loads(sent)
    if field.type == "number":
        return _number_or_text(sent)
    return sent.replace("\r\n", "\n")


def _number_or_text(sent: str) -> int | float | str:
    """A number as browsers write it; another text is refused as one by the content service."""
    if not _NUMBER.fullmatch(sent):
        return sent
    return int(sent) if re.fullmatch(r"-?[0-9]{1,30}", sent) else float(sent)
