"""Each attack is refused by whoever only looks into the archive, too, or does not reach what is looked at."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastcms.backups import archive_cache, archive_contents
from fastcms.backups.engine import archive_index
from fastcms.database import known_revisions
from fastcms.errors import ArchiveError
from fastcms.site import Site
from fastcms.sqlite import sqlite3
from tests.hostile import content_attacks, name_attacks, structure_attacks  # noqa: F401 - they fill ATTACKS
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.database_attacks import DATABASE_ATTACKS, DatabaseAttack
from tests.hostile.grafting import Graft
from tests.hostile.test_archives import HOSTILE_NAME

Look = Callable[[bytes], ArchiveError | str | None]


@pytest.fixture
def look_at(victim: Site, backups_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Look]:
    """Look into an archive and read all of its files, in this process: an attack need not wait for another.

    Returns: why it is refused, or why the names of its files are not known.
    """

    def run_here(function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return function(*values, **named)

    def look(content: bytes) -> ArchiveError | str | None:
        (backups_dir / HOSTILE_NAME).write_bytes(content)
        try:
            found = archive_contents.list_files(victim, HOSTILE_NAME, per_page=500)
            for file in found.items:
                pieces = archive_contents.open_file(victim, HOSTILE_NAME, file.path).pieces
                assert sum(map(len, pieces)) == file.size_bytes
        except ArchiveError as error:
            return error
        return found.names_problem

    monkeypatch.setattr(archive_cache, "run_apart", run_here)
    yield look
    (backups_dir / HOSTILE_NAME).unlink()
    archive_cache.remove_left_overs(victim)


@pytest.mark.parametrize(
    ("code", "attack"), ATTACKS, ids=[f"{code}-{attack.__name__}" for code, attack in ATTACKS]
)
def test_no_attack_on_an_archive_gets_past_a_look(
    look_at: Look, graft: Graft, backups_dir: Path, code: str, attack: Attack
) -> None:
    content = attack(graft)
    found = look_at(graft.build() if content is None else content)
    if isinstance(found, ArchiveError):
        assert found.code == code, found.message
    else:
        assert found is not None  # the attack is in database.db
    assert [path.name for path in backups_dir.rglob("*") if ".partial" in path.name] == []


@pytest.mark.parametrize(
    "attack", [pytest.param(attack, id=f"{code}-{name}") for code, name, attack in DATABASE_ATTACKS]
)
def test_a_hostile_database_costs_at_most_the_names(
    look_at: Look, graft: Graft, attack: DatabaseAttack
) -> None:
    graft.database.content = attack(graft.database.content)
    assert isinstance(look_at(graft.build()), str | None)


def test_what_a_stranger_writes_about_a_file_is_cleaned(tmp_path: Path, graft: Graft) -> None:
    database_path, archive_path, index_path = (tmp_path / name for name in ("db", "archive", "index"))
    database_path.write_bytes(graft.database.content)
    with closing(sqlite3.connect(database_path)) as database:
        row = ("../\x1b[31mfoto\u202egpj.exe" + "x" * 1000, "text/html\r\nX: y", "9999-99-99", b"\xff")
        database.execute("UPDATE files SET filename = ?, content_type = ?, created = ?, sha256 = ?", row)
        database.commit()
    graft.database.content = database_path.read_bytes()
    archive_path.write_bytes(graft.build())
    archive_index.index_archive(
        archive_path, index_path, known_revisions=known_revisions(), check_contents=lambda _path: None
    )
    with closing(sqlite3.connect(index_path)) as index:
        [file], total = archive_index.list_indexed(index, "", 10, 0)
    assert total == 1
    assert len(file.filename) == 255
    assert file.filename.startswith("../\ufffd[31mfoto\ufffdgpj.exe")
    assert (file.content_type, file.uploaded, file.uploaded_sha256) == (
        "text/html\ufffd\ufffdX: y",
        None,
        None,
    )
