"""The activity log: what it keeps, what it counts, and what it survives."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from fastcms.activity import service
from fastcms.activity.recorder import Recorder, Runs
from fastcms.activity.schemas import CallerKind, Deed, Outcome, Who
from fastcms.errors import ActivityError
from fastcms.site import Site
from fastcms.sqlite import sqlite3

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANNA = Who("anna@example.com", CallerKind.ACCOUNT)
SCRIPT = Who("script", CallerKind.TOKEN)


def deed(sentence: str = "Deleted it", *, who: Who = ANNA, minute: float = 0, **more: object) -> Deed:
    values = {"action": "record.delete"} | more
    return Deed(time=NOON + timedelta(minutes=minute), who=who, sentence=sentence, **values)  # type: ignore[arg-type] # as given


def created(number: int, *, who: Who = SCRIPT, minute: float = 0) -> Deed:
    run = "Created {count} more records in posts"
    return deed(f"Created {number}", who=who, minute=minute, action="record.create", run_sentence=run)


def put(site: Site, runs: Runs, one: Deed) -> None:
    service.write(site, lambda log: runs.put(log, one))


def sentences(site: Site, **asked: str) -> list[str]:
    return [entry.sentence for entry in service.list_entries(site, **asked).items]  # type: ignore[arg-type] # as given


@pytest.fixture(autouse=True)
def _noon() -> object:
    with time_machine.travel(NOON, tick=False):
        yield


def test_entries_are_listed_newest_first_a_page_at_a_time(site: Site) -> None:
    for number in range(5):
        service.add(site, deed(f"Deleted {number}", minute=number))
    found = service.list_entries(site, page=2, per_page=2)
    assert ([entry.sentence for entry in found.items], found.total) == (["Deleted 2", "Deleted 1"], 5)
    assert found.items[0].time == NOON + timedelta(minutes=2)


def test_the_list_is_narrowed_by_person_action_time_and_text(site: Site) -> None:
    service.add(site, deed("Deleted 100% of it", minute=-10))
    service.add(site, deed("Restored", who=SCRIPT, action="restore.stage"))
    service.add(
        site, deed("Tried to log in", action="login.open", outcome=Outcome.REFUSED, reason="Wrong password.")
    )
    assert sentences(site, who="script") == ["Restored"]
    assert sentences(site, action="restore") == ["Restored"]
    assert sentences(site, action="record.delete") == ["Deleted 100% of it"]
    assert sentences(site, action="rec") == []
    assert sentences(site, search="100%") == ["Deleted 100% of it"]
    assert sentences(site, search="wrong PASS") == ["Tried to log in"]
    assert len(service.list_entries(site, since=NOON).items) == 2
    assert len(service.list_entries(site, since=datetime(1, 1, 1)).items) == 3  # noqa: DTZ001 - as a client may
    assert service.list_people(site) == ["anna@example.com", "script"]


def test_the_oldest_go_when_there_are_too_many_or_after_two_years(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.add(site, deed("long ago", minute=-3 * 365 * 24 * 60))
    assert sentences(site) == []
    monkeypatch.setattr(service, "MOST_ENTRIES", 3)
    for number in range(5):
        service.add(site, deed(str(number)))
    assert sentences(site) == ["4", "3", "2"]


def test_a_run_is_told_one_by_one_and_then_counted(site: Site) -> None:
    runs = Runs()
    for number in range(1240):
        put(site, runs, created(number, minute=number / 60))
        if number == 20:
            put(site, runs, deed("Deleted all"))
    listed = service.list_entries(site).items
    assert [entry.sentence for entry in listed[:2]] == ["Deleted all", "Created 1,230 more records in posts"]
    assert [entry.sentence for entry in listed[2:]] == [f"Created {number}" for number in reversed(range(10))]
    run = listed[1]
    assert (run.count, run.time, run.until) == (
        1230,
        NOON + timedelta(seconds=10),
        NOON + timedelta(seconds=1239),
    )


def test_another_person_or_a_pause_is_another_run(site: Site) -> None:
    runs = Runs()
    for number in range(11):
        put(site, runs, created(number))
    put(site, runs, created(50, who=ANNA))
    put(site, runs, created(60, minute=11))
    assert sentences(site)[:3] == ["Created 60", "Created 50", "Created 10"]


def test_a_run_goes_on_in_no_other_line_when_its_own_could_not_be_kept(site: Site) -> None:
    runs = Runs()
    for number in range(10):
        put(site, runs, created(number))

    def fail(log: sqlite3.Connection) -> None:
        runs.put(log, created(10))
        raise sqlite3.OperationalError("database or disk is full")

    service.write(site, fail)
    service.add(site, deed("Deleted all", minute=1))  # which takes the id that the run's line had
    put(site, runs, created(11, minute=2))
    put(site, runs, created(12, minute=3))
    assert sentences(site)[:3] == ["Created 2 more records in posts", "Deleted all", "Created 9"]


def test_what_is_recorded_is_there_after_a_flush_and_nobody_waits_for_it(site: Site) -> None:
    recorder = Recorder(site)
    with closing(sqlite3.connect(service.activity_file(site).path, isolation_level=None)) as other:
        service.add(site, deed("first"))
        other.execute("BEGIN IMMEDIATE")  # somebody else is writing
        recorder.record(deed("second"))
        other.execute("COMMIT")
    recorder.flush()
    assert sentences(site) == ["second", "first"]


def test_at_the_end_of_the_server_all_is_written(site: Site) -> None:
    recorder = Recorder(site)
    with recorder.writing():
        for number in range(100):
            recorder.record(deed(str(number)))
    assert len(sentences(site)) == 50
    assert service.list_entries(site).total == 100


def test_a_damaged_log_is_set_aside_and_begun_anew(site: Site) -> None:
    service.add(site, deed("before"))
    path = service.activity_file(site).path
    path.write_bytes(b"no database at all" * 1000)
    assert sentences(site) == []
    service.add(site, deed("after"))
    assert sentences(site) == ["after"]
    (kept,) = path.parent.glob("activity.db.damaged-*")
    assert kept.read_bytes().startswith(b"no database")


def test_a_log_that_cannot_be_written_stops_nobody_and_says_so_to_whoever_reads(site: Site) -> None:
    path = service.activity_file(site).path
    path.unlink(missing_ok=True)
    path.mkdir()
    service.add(site, deed())
    with pytest.raises(ActivityError, match="cannot be read"):
        service.list_entries(site)


def test_only_its_owner_may_read_it(site: Site) -> None:
    service.add(site, deed())
    paths = list(site.settings.data_dir.glob("activity.db*"))
    assert len(paths) == 2
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}


def test_thousands_of_lines_are_listed_quickly(site: Site) -> None:
    def fill(log: sqlite3.Connection) -> None:
        for number in range(service.MOST_ENTRIES):
            service.insert(log, deed(f"Deleted {number}"))

    service.write(site, fill)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with service._reading(site) as log:
        log.set_progress_handler(count, 1000)
        log.execute("SELECT * FROM entries ORDER BY id DESC LIMIT 50").fetchall()
    assert steps < 5, "a page of the list reads the whole list"
