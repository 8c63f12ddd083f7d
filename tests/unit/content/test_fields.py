"""Which values each type of field accepts, and which lists of fields make a collection."""

from typing import Any

import pytest
from pydantic import ValidationError

from fastcms.content.fields import MAX_JSON_DEPTH, MAX_TEXT_LENGTH, Field, fields_adapter, validate_value


def field(**options: Any) -> Field:
    return fields_adapter.validate_python([{"name": "x", **options}])[0]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("options", "given", "stored"),
    [
        ({"type": "text"}, "Grüße 👋", "Grüße 👋"),
        ({"type": "editor"}, "<p onclick=x>as given</p>", "<p onclick=x>as given</p>"),
        ({"type": "editor"}, "x" * (MAX_TEXT_LENGTH + 1), "x" * (MAX_TEXT_LENGTH + 1)),
        ({"type": "number"}, 3, 3),
        ({"type": "number"}, -0.5, -0.5),
        ({"type": "number"}, 2**63 - 1, 2**63 - 1),
        ({"type": "bool"}, False, False),
        ({"type": "date"}, "2025-01-15", "2025-01-15"),
        ({"type": "date"}, "2025-01-15T10:00:00+02:00", "2025-01-15T08:00:00.000000Z"),
        ({"type": "date"}, "2025-01-15 10:00", "2025-01-15T10:00:00.000000Z"),
        ({"type": "date"}, "0099-12-31T00:00:00Z", "0099-12-31T00:00:00.000000Z"),
        ({"type": "email"}, "Ann@Example.com", "Ann@example.com"),
        ({"type": "url"}, "https://example.com", "https://example.com"),
        ({"type": "select", "values": ["a", "b"]}, "b", "b"),
        ({"type": "json"}, {"a": [1, None, "ä"]}, {"a": [1, None, "ä"]}),
        ({"type": "json"}, nested(MAX_JSON_DEPTH), nested(MAX_JSON_DEPTH)),
    ],
)
def test_a_value_of_the_right_type_is_stored(options: dict[str, Any], given: Any, stored: Any) -> None:
    assert validate_value(field(**options), given) == stored


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"type": "text"}, 5),
        ({"type": "text"}, "a\0b"),
        ({"type": "text"}, "\ud800"),
        ({"type": "text"}, "x" * (MAX_TEXT_LENGTH + 1)),
        ({"type": "editor"}, ["<p>"]),
        ({"type": "number"}, True),
        ({"type": "number"}, "3"),
        ({"type": "number"}, float("nan")),
        ({"type": "number"}, float("inf")),
        ({"type": "number"}, 2**63),
        ({"type": "bool"}, 1),
        ({"type": "bool"}, "true"),
        ({"type": "date"}, 1736899200),
        ({"type": "date"}, "15.01.2025"),
        ({"type": "date"}, "2025-02-30"),
        ({"type": "date"}, "0001-01-01T00:00:00+23:00"),
        ({"type": "email"}, "ann"),
        ({"type": "url"}, "javascript:alert(1)"),
        ({"type": "url"}, "https://exa mple.com"),
        ({"type": "url"}, "https://example.com/\nSet-Cookie: x"),
        ({"type": "url"}, "https://"),
        ({"type": "select", "values": ["a", "b"]}, "c"),
        ({"type": "json"}, float("nan")),
        ({"type": "json"}, ["\ud800"]),
        ({"type": "json"}, nested(MAX_JSON_DEPTH + 1)),
        ({"type": "json"}, nested(50_000)),
        ({"type": "json"}, "x" * 1_000_001),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(options: dict[str, Any], given: Any) -> None:
    with pytest.raises(ValidationError):
        validate_value(field(**options), given)


@pytest.mark.parametrize(
    "fields",
    [
        [{"name": "id", "type": "text"}],
        [{"name": "Created", "type": "text"}],
        [{"name": "a", "type": "text"}, {"name": "A", "type": "number"}],
        [{"name": "1st", "type": "text"}],
        [{"name": 'a"; DROP TABLE accounts', "type": "text"}],
        [{"name": "a" * 65, "type": "text"}],
        [{"name": "a", "type": "colour"}],
        [{"name": "a", "type": "select"}],
        [{"name": "a", "type": "select", "values": []}],
        [{"name": "a", "type": "select", "values": ["\ud800"]}],
        [{"name": "a", "type": "relation"}],
        [{"name": "a", "type": "text", "colour": "red"}],
        [{"name": f"a{n}", "type": "text"} for n in range(201)],
    ],
)
def test_a_list_of_fields_that_cannot_be_is_refused(fields: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        fields_adapter.validate_python(fields)
