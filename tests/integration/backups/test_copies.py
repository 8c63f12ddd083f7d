"""The table of copies, also in a history that the version before it has written."""

from contextlib import closing
from datetime import UTC, datetime

import pytest

from fastcms.backups import backup_notes, history
from fastcms.backups.copies import (
    Checked,
    Copy,
    CopyState,
    changed,
    copies_by_filename,
    forget_copies,
    list_copies,
    note_checked,
    save_copies,
    wait_no_longer,
)
from fastcms.backups.history_file import damaged_history, history_path
from fastcms.config import Settings
from fastcms.site import Site, make_folders, new_site
from fastcms.sqlite import sqlite3

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
# As FastCMS wrote it before there were copies.
VERSION_1 = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, trigger TEXT NOT NULL, state TEXT NOT NULL,
    requested_by TEXT NOT NULL, backup_filename TEXT, started TEXT NOT NULL, finished TEXT NOT NULL,
    size_bytes INTEGER, error TEXT, details TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_kind ON runs (kind, state, id);
CREATE TABLE tallies (
    kind TEXT, state TEXT, code TEXT, runs INTEGER NOT NULL, PRIMARY KEY (kind, state, code)
) STRICT;
CREATE TABLE notes (
    filename TEXT PRIMARY KEY, trigger TEXT, seconds REAL, app_version TEXT, pinned TEXT, pinned_by TEXT,
    verified TEXT, verified_level TEXT, verified_outcome TEXT, verified_reason TEXT,
    crc32 INTEGER, report TEXT
) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE reserve (content BLOB) STRICT;
INSERT INTO notes (filename, pinned, pinned_by) VALUES ('backup_20261101_020000.zip', '2026', 'Ada');
INSERT INTO runs VALUES (
    '20261101_020000_000000', 'create', 'scheduled', 'succeeded', 'schedule', 'backup_20261101_020000.zip',
    '2026-11-01T02:00:00.000000Z', '2026-11-01T02:00:01.000000Z', 1000, NULL, '{}'
);
PRAGMA user_version = 1;
"""


@pytest.fixture
def old_site(settings: Settings) -> Site:
    """A site whose history is of the version before."""
    site = new_site(settings)
    make_folders(settings.backups_dir)
    with closing(sqlite3.connect(history_path(site))) as database:
        database.executescript(VERSION_1)
    return site


def copy(number: int = 1, destination: str = "aaaaaaaa", **others: object) -> Copy:
    values: dict[str, object] = {
        "filename": f"backup_202611{number:02}_020000.zip",
        "destination": destination,
        "place": f"file:///far/{destination}",
        "state": CopyState.COPIED,
        "since": "2026-11-23T12:00:00.000000Z",
        "object_name": f"backup_202611{number:02}_020000.zip",
    }
    return Copy(**(values | others))  # type: ignore[arg-type] # as a row has them


def version_of(site: Site) -> int:
    with closing(sqlite3.connect(history_path(site))) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def test_a_history_of_the_version_before_is_read_without_being_changed(old_site: Site) -> None:
    assert list_copies(old_site) == []
    assert backup_notes.read_notes(old_site)["backup_20261101_020000.zip"].pinned_by == "Ada"
    assert version_of(old_site) == 1


def test_the_first_write_adds_the_table_and_keeps_everything(old_site: Site) -> None:
    save_copies(old_site, [copy()])
    assert list_copies(old_site) == [copy()]
    assert version_of(old_site) == 2
    assert backup_notes.read_notes(old_site)["backup_20261101_020000.zip"].pinned_by == "Ada"
    assert [run.backup_filename for run in history.list_runs(old_site)] == ["backup_20261101_020000.zip"]
    assert damaged_history(old_site) is None


def test_a_new_history_has_the_table_at_once(settings: Settings) -> None:
    site = new_site(settings)
    history.write_mark(site, "a", 1)
    assert version_of(site) == 2
    assert list_copies(site) == []


def test_copies_come_back_as_they_were_saved(settings: Settings) -> None:
    site = new_site(settings)
    whole = copy(
        2,
        object_name="backup_20261102_020000.zip.age",
        is_encrypted=True,
        size_bytes=10**12,
        sha256="ab",
        archive_sha256="cd",
        version="etag",
        checked=Checked.DECRYPTED,
        attempts=3,
        reason="It was slow.",
    )
    save_copies(site, [copy(1), whole, copy(1, "bbbbbbbb")])
    assert list_copies(site) == [whole, copy(1), copy(1, "bbbbbbbb")]
    assert list_copies(site, whole.filename) == [whole]
    assert list_copies(site, destination="bbbbbbbb") == [copy(1, "bbbbbbbb")]
    assert copies_by_filename(site, [copy(1).filename]) == {copy(1).filename: [copy(1), copy(1, "bbbbbbbb")]}
    forget_copies(site, [copy(1)])
    assert list_copies(site, destination="aaaaaaaa") == [whole]


def test_what_was_found_out_of_a_copy_is_noted_of_no_other(settings: Settings) -> None:
    site = new_site(settings)
    sent = copy(1, sha256="ab", state=CopyState.COPIED)
    by_now = sent._replace(state=CopyState.FAILED, reason="It looks altered.")
    others = [copy(2), copy(3, sha256="ef")]
    save_copies(site, [by_now, *others])
    note_checked(site, sent, Checked.DECRYPTED)
    for other in others:
        note_checked(site, other._replace(sha256=None), Checked.DECRYPTED)
    assert list_copies(site) == [*reversed(others), by_now._replace(checked=Checked.DECRYPTED)]


def test_nothing_but_the_next_try_is_changed_when_nobody_waits_any_longer(settings: Settings) -> None:
    site = new_site(settings)
    waiting = copy(1, next_try="2026-11-23T12:00:00Z", attempts=3)
    elsewhere = copy(1, "bbbbbbbb", next_try="2026-11-23T12:00:00Z")
    save_copies(site, [waiting, elsewhere, copy(2)])
    wait_no_longer(site, "aaaaaaaa")
    assert list_copies(site) == [copy(2), waiting._replace(next_try=None), elsewhere]


def test_a_mark_is_changed_as_it_is_by_then(settings: Settings) -> None:
    site = new_site(settings)
    for _ in range(2):
        history.change_mark(site, "a", lambda known: [*(known or []), 1])
    assert history.read_mark(site, "a") == [1, 1]


def test_a_state_begins_once() -> None:
    failed = changed(copy(), CopyState.FAILED, NOON, reason="one")
    assert failed.since == "2026-11-23T12:00:00.000000Z"
    assert changed(failed, CopyState.FAILED, reason="two") == failed._replace(reason="two")


def test_where_the_history_cannot_be_read_there_are_no_copies_to_show(settings: Settings) -> None:
    site = new_site(settings)
    save_copies(site, [copy()])
    history_path(site).unlink()
    history_path(site).mkdir()
    assert not copies_by_filename(site, [copy().filename])
