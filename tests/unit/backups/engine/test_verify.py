"""Databases that may be served, and what looking at them leaves behind."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from fastcms.backups.engine import snapshot, verify
from fastcms.backups.engine.verify import check_database, open_unchanged, prepare_database
from fastcms.errors import ArchiveError, NotEnoughSpaceError
from fastcms.sqlite import sqlite3
from tests.unit.backups.engine.conftest import REVISIONS, execute


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "alone" / "database.db"
    path.parent.mkdir()
    execute(
        path,
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('0001')",
        "CREATE TABLE sessions (token TEXT)",
        "INSERT INTO sessions VALUES ('somebody')",
    )
    return path


def check(path: Path) -> None:
    check_database(path, known_revisions=REVISIONS, check_contents=lambda _path: None)


def prepare(path: Path) -> None:
    prepare_database(
        path, known_revisions=REVISIONS, check_contents=lambda _path: None, omit_rows_of=["sessions"]
    )


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_check_changes_neither_the_database_nor_its_folder(database: Path, mode: str) -> None:
    execute(database, f"PRAGMA journal_mode={mode}")
    before = database.read_bytes(), database.stat().st_mtime_ns
    check(database)
    assert (database.read_bytes(), database.stat().st_mtime_ns) == before
    assert list(database.parent.iterdir()) == [database]


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_prepared_database_stands_alone_without_the_rows_to_omit(database: Path, mode: str) -> None:
    execute(database, f"PRAGMA journal_mode={mode}")
    prepare(database)
    assert database.read_bytes()[18:20] == b"\x01\x01"
    assert list(database.parent.iterdir()) == [database]
    assert execute(database, "SELECT * FROM sessions") == []


def test_a_disk_that_fills_up_is_no_damage_of_the_backup(database: Path, small_disk: Path) -> None:
    """The rows to omit are as large as the journal that their deletion needs."""
    execute(database, "UPDATE sessions SET token = hex(zeroblob(500000))")
    prepared = Path(shutil.copy(database, small_disk))
    (small_disk / "others").write_bytes(bytes(900_000))
    with pytest.raises(NotEnoughSpaceError, match="filled up"):
        prepare(prepared)


def test_the_caller_looks_before_anything_is_deleted_and_cannot_write(database: Path) -> None:
    def refuse_writing(path: Path) -> None:
        with open_unchanged(path) as connection:
            assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute("DELETE FROM sessions")

    prepare_database(
        database, known_revisions=REVISIONS, check_contents=refuse_writing, omit_rows_of=["sessions"]
    )


def test_a_check_ends_when_it_is_not_to_go_on_wherever_it_is(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CancelledError(Exception):
        pass

    def check_until(last: int | None = None) -> int:
        """Refuse to go on at the last question; return how many were asked."""
        asked: list[None] = []

        def refuse_the_last() -> None:
            asked.append(None)
            if len(asked) == last:
                raise CancelledError

        with nullcontext() if last is None else pytest.raises(CancelledError):
            check_database(
                database,
                known_revisions=REVISIONS,
                check_contents=lambda _path: None,
                keep_going=refuse_the_last,
            )
        return len(asked)

    execute(database, "CREATE TABLE parent (id INTEGER PRIMARY KEY)", "INSERT INTO parent VALUES (1)")
    execute(database, "CREATE TABLE child (id REFERENCES parent)", "INSERT INTO child VALUES (1)")
    monkeypatch.setattr(snapshot, "_STEPS_BETWEEN_QUESTIONS", 1)
    count = check_until()
    assert count > 20
    assert [check_until(last) for last in range(1, count + 1)] == list(range(1, count + 1))


def test_a_schema_that_takes_too_long_to_read_is_refused(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database, *(f"CREATE TABLE t{number} (a)" for number in range(200)))
    check(database)
    monkeypatch.setattr(verify, "_SCHEMA_STEPS", 1000)
    monkeypatch.setattr(verify, "_STEPS_BETWEEN_LOOKS", 100)
    with pytest.raises(ArchiveError) as refused:
        check(database)
    assert refused.value.code == "database_schema_too_large"


@pytest.mark.parametrize("page_bytes", [512, 1024, 8192, 65536])
def test_every_page_size_is_accepted(database: Path, page_bytes: int) -> None:
    execute(database, f"PRAGMA page_size={page_bytes}", "VACUUM")
    check(database)


def test_every_byte_of_the_header_may_change_without_another_error(database: Path) -> None:
    original = database.read_bytes()
    accepted = 0
    for offset in range(100):
        for value in (0, 1, 0x7F, 0xFF):
            database.write_bytes(original[:offset] + bytes([value]) + original[offset + 1 :])
            try:
                prepare(database)
            except ArchiveError:
                continue
            accepted += 1
    assert 0 < accepted < 400


def test_a_schema_that_is_no_text_is_damaged_and_said_so_in_printable_words(database: Path) -> None:
    database.write_bytes(database.read_bytes().replace(b"token TEXT", b"token \xff\xfe\xffT"))
    with pytest.raises(ArchiveError) as refused:
        check(database)
    assert refused.value.code == "database_damaged"
    assert refused.value.message.encode()
