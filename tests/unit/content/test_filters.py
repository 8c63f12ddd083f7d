"""The filter language: what it accepts, what it finds, and that nothing breaks it."""

from collections.abc import Iterator
from contextlib import suppress
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcms.content.filters import MAX_DEPTH, parse_filter
from fastcms.content.models import Collection
from fastcms.content.schemas import MAX_FILTER_LENGTH, RecordQuery
from fastcms.content.service import create_collection, create_record, find_collection, list_records
from fastcms.database import Database
from fastcms.errors import InvalidInputError

LETTERS = "aAbB%_\\äÄ'\" "
TITLES = [None, "a", "A", "aB", "%", "_b", "Äb", "a'\"\\", "ä b", ""]
ROWS: list[dict[str, Any]] = [
    {"title": TITLES[n % len(TITLES)], "n": [None, -1, 0, 1.5, 2**60][n % 5], "b": [None, True, False][n % 3]}
    for n in range(30)
]
OPERATORS = {"=": eq, "!=": ne, ">": gt, "<": lt, ">=": ge, "<=": le}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with a collection `things` that has ROWS, and one of each other type."""
    path: Path = tmp_path_factory.mktemp("filters") / "app.db"
    database = Database(path)
    database.migrate()
    with database.write() as session:
        things = create_collection(
            session,
            "things",
            [
                {"name": "title", "type": "text"},
                {"name": "n", "type": "number"},
                {"name": "b", "type": "bool"},
                {"name": "day", "type": "date"},
                {"name": "data", "type": "json"},
            ],
        )
        for row in ROWS:
            create_record(session, things, row)
    yield database
    database.close()


def found(database: Database, filter_text: str) -> list[dict[str, Any]]:
    with database.read() as session:
        things: Collection = find_collection(session, "things")
        query = RecordQuery(filter=filter_text, per_page=500, sort="created")
        return [
            {name: r.data[name] for name in ("title", "n", "b")}
            for r in list_records(session, things, query).items
        ]


def quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


Oracle = Any  # a function from a row to whether the filter should find it


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Oracle]:
    name = draw(st.sampled_from(["title", "n", "b"]))
    operator = draw(st.sampled_from([*OPERATORS, "~"] if name == "title" else list(OPERATORS)))
    if operator in ("=", "!=") and draw(st.booleans()):
        return f"{name}{operator}null", lambda row: (row[name] is None) == (operator == "=")
    if name == "b":
        flag = draw(st.booleans())
        operator = draw(st.sampled_from(["=", "!="]))
        return f"b {operator} {str(flag).lower()}", lambda row: OPERATORS[operator](row["b"], flag)
    value: Any
    if name == "n":
        value = draw(st.sampled_from([-1, 0, 1.5, 2**60, 2**60 + 1, -2.5]))
        text = str(value)
    else:
        value = draw(st.text(LETTERS, max_size=3))
        text = quoted(value, draw(st.sampled_from("'\"")))
    if operator == "~":
        return (
            f"title ~ {text}",
            lambda row: row["title"] is not None and value.lower() in row["title"].lower(),
        )
    compare = OPERATORS[operator]
    if operator == "!=":
        return f"{name} != {text}", lambda row: row[name] != value
    return f"{name} {operator} {text}", lambda row: row[name] is not None and compare(row[name], value)


def joined(parts: st.SearchStrategy[tuple[str, Oracle]]) -> st.SearchStrategy[tuple[str, Oracle]]:
    def both(a: tuple[str, Oracle], b: tuple[str, Oracle]) -> tuple[str, Oracle]:
        return f"({a[0]} && {b[0]})", lambda row: a[1](row) and b[1](row)

    def either(a: tuple[str, Oracle], b: tuple[str, Oracle]) -> tuple[str, Oracle]:
        return f"({a[0]}||{b[0]})", lambda row: a[1](row) or b[1](row)

    return st.builds(both, parts, parts) | st.builds(either, parts, parts)


@settings(max_examples=300, deadline=None)
@given(filter_and_oracle=st.recursive(comparisons(), joined, max_leaves=6))
def test_a_filter_finds_what_python_would_find(
    database: Database, filter_and_oracle: tuple[str, Oracle]
) -> None:
    text, oracle = filter_and_oracle
    assert found(database, text) == [row for row in ROWS if oracle(row)]


@settings(max_examples=500, deadline=None)
@given(text=st.text() | st.text("()&|=!<>~'\"\\ ab01.-ne"))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    with suppress(InvalidInputError):
        parse_filter(text)


def test_and_binds_closer_than_or(database: Database) -> None:
    loose = found(database, "b = true || b = false && n = -1")
    assert loose == found(database, "b = true || (b = false && n = -1)")
    assert loose != found(database, "(b = true || b = false) && n = -1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends too early"),
        ("(n = 1", "ends too early"),
        ("n = 1 &&", "ends too early"),
        ("n == 1", "character 4"),
        ("n = 1; DROP TABLE accounts", "character 6"),
        ("n = 'a", "character 5"),
        ("n = 1 n = 2", "character 7"),
        ("n = " + "1" * MAX_FILTER_LENGTH, "longer than"),
        ("(n=1||(n=1&&" * MAX_DEPTH + "n=1" + "))" * MAX_DEPTH, "nested more than"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse_filter(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "no field named colour"),
        ("title = 5", "cannot be compared with 5"),
        ("n = '5'", "Input should be a number"),
        ("n ~ 5", "~ 5 does not fit n"),
        ("n = 1e999", "finite"),
        ("n = 99999999999999999999", "64 bits"),
        ("n > null", "> null does not fit n"),
        ("b > true", "> true does not fit b"),
        ("b = 1", "cannot be compared"),
        ("day > '15.1.2025'", "should be a date"),
        ("data = 'x'", "cannot be compared"),
        ("title ~ 'a\0'", "NUL"),
    ],
)
def test_a_comparison_that_does_not_fit_is_refused(database: Database, text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        found(database, text)


@pytest.mark.parametrize(
    "text",
    ["||".join(["n=1"] * 799), "(" * 1990 + "n=1" + ")" * 1990, "title ~ '" + "%" * 3900 + "'"],
    ids=["long", "parentheses", "wildcards"],
)
def test_the_largest_filters_are_answered(database: Database, text: str) -> None:
    assert found(database, text) == []


def test_own_columns_can_be_filtered_by_day(database: Database) -> None:
    assert len(
        found(database, "created > '2020-01-01' && updated > '2020-01-01T00:00:00Z' && id != ''")
    ) == len(ROWS)
    assert found(database, "created < '2020-01-01'") == []
