"""What a restore would mean, told before anything is done."""

import os
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

import fastcms
from fastcms.backups import receiving, restoring, service
from fastcms.backups.engine import staging
from fastcms.backups.folder import data_paths
from fastcms.backups.restore_preview import RestorePreview, preview_restore
from fastcms.backups.service import require_typed_name
from fastcms.content import service as content
from fastcms.content.fields import PlainField
from fastcms.database import known_revisions
from fastcms.durability import Space, measure_space
from fastcms.errors import InvalidInputError, NotEnoughSpaceError
from fastcms.media import service as media
from fastcms.site import Site
from tests.conftest import ADMIN, PASSWORD


def add_collection(site: Site, name: str, records: int) -> None:
    with site.database.write() as session:
        collection = content.create_collection(session, name, [PlainField(name="title", type="text")])
        for number in range(records):
            content.create_record(session, collection, {"title": f"Number {number}"})


def remove_records(site: Site, name: str, count: int) -> None:
    with site.database.write() as session:
        (table,) = session.execute(
            text(f"SELECT 'records_' || id FROM collections WHERE name = '{name}'")
        ).one()
        session.execute(text(f'DELETE FROM "{table}" WHERE id IN (SELECT id FROM "{table}" LIMIT {count})'))


def test_what_would_be_lost_and_come_back_is_counted(site: Site) -> None:
    add_collection(site, "posts", 3)
    add_collection(site, "events", 5)
    backup = service.create_backup(site)
    add_collection(site, "later", 2)
    remove_records(site, "events", 4)
    media.add_file(site, BytesIO(b"a picture"), "picture.txt")
    preview = preview_restore(site, backup.filename)
    counts = {count.name: (count.then, count.now) for count in preview.counts}
    assert counts == {
        "records": (8, 6),
        "files": (0, 1),
        "accounts": (2, 2),
        "collections": (2, 3),
        "records:events": (5, 1),
        "records:later": (0, 2),
        "records:posts": (3, 3),
    }
    assert preview.difference == [
        "Going by the counts, you lose at least 2 records, 1 file and 1 collection.",
        "At least 4 records come back.",
        "What was edited meanwhile goes back, too; counts do not show that.",
    ]


def test_the_same_counts_are_no_promise(site: Site) -> None:
    preview = preview_restore(site, service.create_backup(site).filename)
    assert preview.difference[0] == "There is as much now as there was then."
    assert "counts do not show" in preview.difference[1]


def test_versions_sessions_and_downtime_are_told(client: TestClient, site: Site) -> None:
    backup = service.create_backup(site)
    preview = client.get(f"/api/v1/backups/{backup.filename}/restore").json()
    assert preview["app_version"] == preview["server_version"] == fastcms.__version__
    assert preview["schema_revision"] == preview["server_schema_revision"] == known_revisions()[0]
    assert preview["schema_fit"] == "same"
    assert preview["logged_in"] == 1
    client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
    assert client.get(f"/api/v1/backups/{backup.filename}/restore").json()["logged_in"] == 1
    assert 1 <= preview["downtime_seconds"] <= 10
    assert preview["verified"] is None
    assert preview["safety_copy"] is None
    assert preview["obstacles"] == []
    client.post(f"/api/v1/backups/{backup.filename}/verify").raise_for_status()
    verified = client.get(f"/api/v1/backups/{backup.filename}/restore").json()
    assert (verified["verification"], verified["verified_level"]) == ("ok", "full")


def test_a_backup_of_an_older_schema_is_migrated_and_of_a_newer_one_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = service.create_backup(site)
    own = known_revisions()

    def preview_for(revisions: list[str]) -> RestorePreview:
        monkeypatch.setattr("fastcms.backups.archive_contents.known_revisions", lambda: revisions)
        return preview_restore(site, backup.filename)

    assert preview_for(["newer", *own]).schema_fit == "migrated"
    assert preview_for(["newer", *own]).obstacles == []
    refused = preview_for(["another"])
    assert refused.schema_fit == "too_new"
    (obstacle,) = refused.obstacles
    assert obstacle.code == "archive_too_new"
    assert f"Install FastCMS {fastcms.__version__} or a newer one" in obstacle.hint


def test_the_space_that_is_told_is_what_staging_asks_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    media.add_file(site, BytesIO(os.urandom(300_000)), "noise.bin")
    backup = service.create_backup(site)
    (disk,) = preview_restore(site, backup.filename).space
    assert disk.needed_bytes > 300_000
    assert disk.is_enough

    def measure_too_little(folder: Path, content_bytes: int, files: int = 1) -> Space:
        there = measure_space(folder, content_bytes, files)
        return Space(folder, there.needed_bytes, there.needed_bytes - 1, there.needed_files, None)

    monkeypatch.setattr(staging, "measure_space", measure_too_little)
    preview = preview_restore(site, backup.filename)
    assert [space.is_enough for space in preview.space] == [False]
    (obstacle,) = preview.obstacles
    assert obstacle.code == "not_enough_space"
    monkeypatch.setattr(
        "fastcms.backups.restoring.run_apart", lambda work, *rest, **named: work(*rest, **named)
    )
    with pytest.raises(NotEnoughSpaceError) as refused:
        restoring.stage_restore(site, backup.filename, "somebody")
    needed = obstacle.message.partition(" needs ")[2]
    assert refused.value.message.partition(" needs ")[2] == needed


def test_a_pending_restore_and_a_backup_that_cannot_be_served_stand_in_the_way(site: Site) -> None:
    backup = service.create_backup(site)
    restoring.stage_restore(site, backup.filename, "somebody")
    assert [found.code for found in preview_restore(site, backup.filename).obstacles] == ["restore_pending"]
    restoring.cancel_restore(site)
    with site.database.write() as session:
        session.execute(text("CREATE TABLE strange (x INTEGER)"))
    strange = service.create_backup(site)
    (obstacle,) = preview_restore(site, strange.filename).obstacles
    assert "strange" in obstacle.message
    assert "choose another backup" in obstacle.hint


def test_an_uploaded_backup_needs_the_password_and_the_preview_does_not_tell_whom_it_lets_in(
    client: TestClient, site: Site, tmp_path: Path
) -> None:
    made = Path(service.create_backup(site).path).rename(tmp_path / "elsewhere.zip")
    backup = receiving.import_archive(site, made, "somebody@example.org")
    preview = client.get(f"/api/v1/backups/{backup.filename}/restore").json()
    assert preview["needs_password"] is True
    assert ADMIN not in str(preview)


def test_a_backup_that_cannot_be_read_says_why(client: TestClient, site: Site) -> None:
    backup = service.create_backup(site)
    os.truncate(backup.path, backup.size_bytes // 2)
    refused = client.get(f"/api/v1/backups/{backup.filename}/restore")
    assert (refused.status_code, refused.json()["code"]) == (422, "archive_truncated")


def test_without_a_database_the_preview_still_tells_the_rest(stopped: Site) -> None:
    (backup,) = service.list_backups(stopped)
    data_paths(stopped).database.write_bytes(b"no database at all")
    preview = preview_restore(stopped, backup.filename)
    assert "cannot be counted" in preview.difference[0]
    assert preview.logged_in is None
    assert preview.obstacles == []


def test_the_typed_name_may_lack_its_ending_and_nothing_else() -> None:
    name = "backup_20250115_100000.zip"
    for typed in (name, f" {name} ", name.removesuffix(".zip")):
        require_typed_name(name, typed)
    for typed in ("", "backup", "backup_20250115_100001.zip", "yes"):
        with pytest.raises(InvalidInputError) as refused:
            require_typed_name(name, typed)
        assert refused.value.code == "name_not_typed"
