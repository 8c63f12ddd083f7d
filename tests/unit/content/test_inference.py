"""Which fields are inferred from a file's rows."""

from typing import Any

import pytest

from fastcms.content.inference import FileScan, clean_name


def inferred(values: list[Any], *, is_text: bool = False, key: str = "x") -> str:
    scan = FileScan(is_text)
    for value in values:
        scan.add({key: value})
    fields, _ = scan.infer_fields()
    return f"{fields[0].name}:{fields[0].type}" if fields else "own"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], "number"),
        ([True, False], "bool"),
        (["2025-01-15", "2025-01-15T10:00:00Z"], "date"),
        (["a@example.com", ""], "email"),
        (["https://example.com"], "url"),
        (["a", "2025-01-15"], "text"),
        (["1", "2"], "text"),
        (["a" * 501], "editor"),
        (["a\nb"], "editor"),
        ([{"a": 1}], "json"),
        ([1, "a"], "json"),
        ([2**70], "json"),
        ([None, ""], "text"),
    ],
)
def test_the_type_fits_every_value_of_a_json_file(values: list[Any], kind: str) -> None:
    assert inferred(values) == f"x:{kind}"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2.5", "1e3"], "number"),
        (["01234", "99999"], "text"),
        (["true", "no"], "bool"),
        (["2025-01-15", None], "date"),
        (["1", "a"], "text"),
    ],
)
def test_the_type_fits_every_cell_of_a_csv_file(values: list[Any], kind: str) -> None:
    assert inferred(values, is_text=True) == f"x:{kind}"


def test_ids_and_times_become_the_records_own_where_they_can() -> None:
    assert inferred([1, "a-2"], key="id") == "own"
    assert inferred([1, "not an id"], key="id") == "source_id:json"
    assert inferred(["2025-01-15"], key="created") == "own"
    assert inferred([1736899200], key="created") == "source_created:number"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Prénom (privé)", "Prenom_prive"),
        ("1st", "field_1st"),
        ("名前", "field"),
        ("_id", "id"),
        ("Maß", "Mass"),
    ],
)
def test_keys_become_field_names(key: str, name: str) -> None:
    assert clean_name(key) == name


def test_keys_that_look_alike_become_different_fields() -> None:
    scan = FileScan(is_text=False)
    scan.add({"名前": "a", "住所": "b", "_id": "not one"})
    fields, names = scan.infer_fields()
    assert [field.name for field in fields] == ["field", "field_2", "source_id"]
    assert names == {"名前": "field", "住所": "field_2", "_id": "source_id"}
