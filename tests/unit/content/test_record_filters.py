"""The dashboard's filter builder writes the filter language, and only that."""

import pytest
from starlette_admin.filters.base import FilterGroup, FilterRule, FilterValidationError

from fastcms.content.filters import Comparison, Group, parse_filter
from fastcms.content.record_filters import FILTERS, Equals, IsOneOf, Since, write_filter

KNOWN = {"title": FILTERS["text"], "price": FILTERS["number"], "kind": FILTERS["select"]}


def test_groups_keep_their_meaning() -> None:
    either = FilterGroup("or", [FilterRule("price", "more", 5), FilterRule("title", "empty")])
    tree = FilterGroup("and", [FilterRule("title", "contains", "chair"), either])
    assert write_filter(tree, KNOWN) == '(title ~ "chair" && (price > 5 || title = null))'
    assert write_filter(FilterGroup(), KNOWN) == ""
    assert write_filter(None, KNOWN) == ""


@pytest.mark.parametrize("text", ['"', "\\", '\\"', '" || price > 0', "\n", "a\\nb", "'", "é"])
def test_a_value_stays_a_value_whatever_is_in_it(text: str) -> None:
    written = write_filter(FilterRule("title", "is", text), KNOWN)
    assert parse_filter(written) == Comparison("title", "=", text)


def test_one_of_several_values_is_an_alternative() -> None:
    condition = parse_filter(write_filter(FilterRule("kind", "one_of", ["a", "b"]), KNOWN))
    assert isinstance(condition, Group)
    assert condition.is_either


@pytest.mark.parametrize("text", ["x", "", "nan", "inf", "-inf"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(FilterValidationError):
        Equals().parse_value(text)


def test_values_are_read_by_their_kind() -> None:
    assert Equals().parse_value("12") == 12
    assert Equals().parse_value("1.5") == 1.5
    assert Since().parse_value("2025-01-15") == "2025-01-15"
    assert IsOneOf().parse_value("a, b") == ["a", "b"]
    with pytest.raises(FilterValidationError):
        Since().parse_value("soon")
    with pytest.raises(FilterValidationError):
        IsOneOf().parse_value([])
