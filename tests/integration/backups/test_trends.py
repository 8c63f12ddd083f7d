"""How backups, their contents and the disk have grown, as charts draw it and as sentences tell it."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from fastapi.testclient import TestClient

from fastcms.backups import backup_notes, history, jobs, tasks
from fastcms.backups.deletion import delete_backup
from fastcms.backups.history_file import write
from fastcms.backups.job_files import job_id_of
from fastcms.backups.service import create_backup
from fastcms.backups.trends import find_trends
from fastcms.config import Settings
from fastcms.database import format_utc
from fastcms.media.service import add_file
from fastcms.site import Site, make_folders, new_site
from tests.runs import add_run

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def folder(settings: Settings) -> Site:
    """A folder of backups, without a site."""
    make_folders(settings.backups_dir)
    return new_site(settings)


def remember(site: Site, days_ago: float, size_bytes: int, seconds: float = 4, **counts: int) -> None:
    started = NOW - days_ago * DAY
    add_run(
        site,
        started,
        backup_filename=f"backup_{started:%Y%m%d_%H%M%S}.zip",
        finished=started + timedelta(seconds=seconds),
        size_bytes=size_bytes,
        details={"counts": counts} if counts else {},
    )


def test_a_new_site_has_nothing_to_draw_and_says_so(client: TestClient) -> None:
    trends = client.get("/api/v1/backups/trends").json()
    assert (trends["backups"], trends["contents"], trends["disk"]) == ([], [], [])
    assert trends["full_on"] is None
    for name in ("size", "duration", "contents"):
        assert trends["sentences"][name].startswith("There is too little to draw yet")
    assert "can be told after a week of backups" in trends["sentences"]["disk"]


def test_what_was_in_a_backup_outlives_it(client: TestClient, site: Site) -> None:
    first = jobs.run(site, tasks.creation(site, "me"))
    add_file(site, BytesIO(b"a picture"), "picture.txt")
    client.post("/api/v1/collections", json={"name": "posts", "schema": [{"name": "title", "type": "text"}]})
    client.post("/api/v1/collections/posts/records", json={"data": {"title": "Hello"}})
    made = client.post("/api/v1/backups").json()
    assert made["counts"] == {"accounts": 2, "collections": 1, "files": 1, "records": 1, "records:posts": 1}
    delete_backup(site, first.filename, "me")
    trends = client.get("/api/v1/backups/trends").json()
    assert [(one["records"], one["files"], one["accounts"]) for one in trends["contents"]] == [
        (0, 0, 2),
        (1, 1, 2),
    ]
    assert [one["size_bytes"] for one in trends["backups"]] == [first.size_bytes, made["size_bytes"]]
    assert all(0 <= one["seconds"] < 60 for one in trends["backups"])
    assert "0 records, 0 files and 2 accounts on" in trends["sentences"]["contents"]
    assert "1 record, 1 file and 2 accounts on" in trends["sentences"]["contents"]
    (disk,) = trends["disk"]
    assert 0 < disk["used_bytes"] < disk["total_bytes"]


def test_sentences_tell_what_the_charts_show(folder: Site) -> None:
    for number, size_bytes in enumerate([2_000_000, 9_000_000, 4_500_000]):
        remember(folder, 20 - 10 * number, size_bytes, 150 if number == 1 else 3)
    told = find_trends(folder, NOW).sentences
    assert told.size == "From 2.0 MB on 21 May 2026 to 4.5 MB on 10 June 2026. The largest had 9.0 MB."
    assert told.duration == (
        "The latest backup took 3.0 seconds. Half of them took 3.0 seconds or less, the slowest 2 minutes."
    )


def test_a_disk_that_fills_up_names_the_day(folder: Site) -> None:
    storage = find_trends(folder, NOW)
    assert storage.full_on is None
    disk = os.statvfs(folder.settings.backups_dir)
    total, used = disk.f_blocks * disk.f_frsize, (disk.f_blocks - disk.f_bavail) * disk.f_frsize
    daily = disk.f_bavail * disk.f_frsize // 40
    history.write_mark(
        folder,
        "disk_used",
        {f"{(NOW - number * DAY).date()}": [used - number * daily, total] for number in range(20)},
    )
    trends = find_trends(folder, NOW)
    assert trends.full_on is not None
    assert abs((trends.full_on - NOW.date()).days - 40) <= 1
    assert f"it is full on {trends.full_on:%-d %B %Y}" in trends.sentences.disk
    assert [point.date for point in trends.disk] == [
        (NOW - number * DAY).date() for number in range(19, -1, -1)
    ]


def test_backups_that_only_the_folder_knows_are_drawn(client: TestClient, site: Site) -> None:
    backup = create_backup(site)  # without a job, as if the history had been lost since
    backup_notes.note(site, backup.filename, seconds=2.5)
    trends = find_trends(site)
    assert [(point.size_bytes, point.seconds) for point in trends.backups] == [(backup.size_bytes, 2.5)]


def test_of_ten_thousand_backups_some_are_drawn_quickly(folder: Site) -> None:
    rows = [
        (
            job_id_of(started),
            format_utc(started),
            format_utc(started + timedelta(seconds=3)),
            f"backup_{started:%Y%m%d_%H%M%S}.zip",
            1000 + number,
            json.dumps({"counts": {"records": number, "files": 1, "accounts": 1}}),
        )
        for number in range(10_000)
        for started in [NOW - (10_000 - number) * timedelta(hours=1)]
    ]
    write(
        folder,
        "many",
        lambda database: database.executemany(
            "INSERT INTO runs (id, kind, trigger, state, requested_by, started, finished, backup_filename, "
            "size_bytes, details) VALUES (?, 'create', 'scheduled', 'succeeded', 'schedule', ?, ?, ?, ?, ?)",
            rows,
        ),
    )
    began = time.process_time()
    trends = find_trends(folder, NOW)
    assert time.process_time() - began < 1
    assert (len(trends.backups), len(trends.contents)) == (100, 100)
    assert (trends.backups[0].size_bytes, trends.backups[-1].size_bytes) == (1000, 10_999)
    assert trends.contents[-1].records == 9999
    gaps = {b.size_bytes - a.size_bytes for a, b in zip(trends.backups, trends.backups[1:], strict=False)}
    assert gaps == {101}


def test_a_clock_that_went_back_makes_no_backup_shorter_than_nothing(folder: Site) -> None:
    remember(folder, 2, 1000, seconds=-30)
    remember(folder, -300, 5000)
    (point,) = find_trends(folder, NOW).backups
    assert (point.seconds, point.size_bytes) == (0, 1000)
