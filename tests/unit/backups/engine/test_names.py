"""Names that an archive may hold, and names that it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcms.backups.engine import names
from fastcms.backups.engine.names import collision_key, unsafe_reason


@pytest.mark.parametrize(
    "name",
    [
        "database.db",
        "metadata.json",
        "checksums.sha256",
        "files/",
        "files/a.jpg",
        "files/deep/日本語 (1).png",
    ],
)
def test_names_of_a_backup_are_accepted(name: str) -> None:
    assert unsafe_reason(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../app.db", "leads out of its folder"),
        ("files/../../app.db", "leads out of its folder"),
        ("/etc/passwd", "is absolute"),
        ("C:/windows", "names a drive"),
        ("files\\..\\x", "holds a backslash"),
        ("files/a\x00b", "holds a NUL character"),
        ("files/a\nb", "holds a control character"),
        ("files//a", "has an empty or a dot part"),
        ("files/./a", "has an empty or a dot part"),
        ("files/" + "é" * 128, "is too long"),
        ("files/" + "a/" * 64 + "b", "lies too deep in folders"),
        ("files/\udc80", "is not valid Unicode"),
        ("app.db-wal", "is not part of a backup"),
        ("database.db-wal", "is not part of a backup"),
        ("files/.trash/x", "is hidden"),
        ("files/.upload-x", "is hidden"),
    ],
)
def test_dangerous_names_are_refused_with_their_reason(name: str, reason: str) -> None:
    assert unsafe_reason(name) == reason


@given(st.text())
def test_an_accepted_name_stays_below_its_folder(name: str) -> None:
    if unsafe_reason(f"files/{name}") is None:
        assert ".." not in name.split("/")
        assert not name.startswith("/")


@given(st.from_regex(r"files/[!-~]{1,210}", fullmatch=True))
def test_the_short_cut_for_ordinary_names_agrees_with_the_list_of_faults(name: str) -> None:
    if names._ORDINARY.fullmatch(name):
        assert not any(fault.holds(name) for fault in names._FAULTS)


def test_names_that_some_file_system_takes_for_one_collide() -> None:
    assert collision_key("files/Caf\u00e9.JPG") == collision_key("files/cafe\u0301.jpg")
    assert collision_key("files/a") != collision_key("files/b")
