"""What there is of everything, side by side."""

from fastcms.backups.verification_report import compare_counts


def test_what_one_side_lacks_is_counted_as_nothing_and_what_it_does_not_say_is_left_open() -> None:
    found = compare_counts(
        {"files": 1, "records": 5, "records:a": 5},
        {"records": 8, "records:a": 5, "records:lost": 3, "dreams": 7},
        {"files": 2, "records": 6, "records:a": 4, "records:new": 2},
    )
    assert [(count.name, count.backup, count.manifest, count.live) for count in found] == [
        ("files", 1, None, 2),
        ("records", 5, 8, 6),
        ("records:a", 5, 5, 4),
        ("records:lost", 0, 3, 0),
        ("records:new", 0, None, 2),
    ]
    assert {count.live for count in compare_counts({"files": 1}, {"files": 1}, None)} == {None}
