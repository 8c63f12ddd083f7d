"""Look into backups: what is in them, their files, and one file of them."""

import io
import os
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups import archive_cache, deletion, restoring, service
from fastcms.backups.archive_contents import SchemaFit, describe_contents, list_files, open_file
from fastcms.content import service as content
from fastcms.errors import (
    BackupNotFoundError,
    CorruptArchiveError,
    FastCMSError,
    NotEnoughSpaceError,
    NotFoundError,
)
from fastcms.media import service as media
from fastcms.site import Site
from tests.integration.backups.test_commands import answer, fastcms

LARGE = os.urandom(3_000_000)


@pytest.fixture
def filename(site: Site) -> str:
    """A backup of a collection with a record, and of two files, of which the site has only one any more."""
    with site.database.write() as session:
        posts = content.create_collection(session, "posts", [{"name": "title", "type": "text"}])
        content.create_record(session, posts, {"title": "T"})
    photo = media.add_file(site, io.BytesIO(b"<svg onload=alert(1)>"), "Mein Urlaub ☀.svg")
    media.add_file(site, io.BytesIO(LARGE), "large.bin")
    (site.settings.files_dir / "by hand.txt").write_text("by hand")
    backup = service.create_backup(site)
    media.delete_file(site, photo.id)
    return backup.filename


def path_of(site: Site, filename: str) -> Path:
    return site.settings.backups_dir / filename


def read(site: Site, filename: str, search: str) -> bytes:
    (file,) = list_files(site, filename, search=search).items
    return b"".join(open_file(site, filename, file.path).pieces)


def damage(path: Path, found: bytes) -> None:
    """Change one byte of an archive, in the middle of some content."""
    data = bytearray(path.read_bytes())
    data[data.index(found) + len(found) // 2] ^= 1
    path.write_bytes(data)


def test_the_contents_stand_beside_what_the_site_has_now(site: Site, filename: str) -> None:
    found = describe_contents(site, filename)
    counts = {count.name: (count.then, count.now) for count in found.counts}
    assert counts["files"] == (2, 1)
    assert counts["records:posts"] == (1, 1)
    assert next(reversed(counts)) == "records:posts"
    assert (found.files, found.files_size_bytes) == (3, len(LARGE) + 21 + 7)
    assert found.schema_fit is SchemaFit.SAME
    with zipfile.ZipFile(path_of(site, filename)) as archive:
        assert found.database_sha256 == sha256(archive.read("database.db")).hexdigest()
        assert found.total_size_bytes == sum(entry.file_size for entry in archive.infolist())


def test_files_have_the_names_that_they_were_uploaded_with_newest_first(site: Site, filename: str) -> None:
    found = list_files(site, filename)
    assert found.names_problem is None
    assert [(file.filename, file.on_site) for file in found.items] == [
        ("large.bin", True),
        ("Mein Urlaub ☀.svg", False),
        ("by hand.txt", None),
    ]
    large, photo, by_hand = found.items
    assert (large.size_bytes, large.sha256) == (len(LARGE), sha256(LARGE).hexdigest())
    assert photo.content_type == "image/svg+xml"
    assert photo.uploaded is not None
    assert (by_hand.file_id, by_hand.uploaded, by_hand.is_damaged) == (None, None, False)


@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("URLAUB ☀", ["Mein Urlaub ☀.svg"]),
        ("b", ["large.bin", "Mein Urlaub ☀.svg", "by hand.txt"]),
        ("%", []),
        ("_", ["large.bin", "Mein Urlaub ☀.svg"]),  # of the paths, which end with a part of the id
        ("!", []),
        ("'; DROP TABLE files; --", []),
        ("\0", []),
    ],
)
def test_a_search_takes_every_character_for_itself(
    site: Site, filename: str, search: str, names: list[str]
) -> None:
    found = list_files(site, filename, search=search)
    assert [file.filename for file in found.items] == names
    assert found.total == len(names)


def test_a_file_is_found_by_its_id_which_stands_in_its_url(site: Site, filename: str) -> None:
    file_id = list_files(site, filename).items[0].file_id
    assert [file.filename for file in list_files(site, filename, search=file_id or "").items] == ["large.bin"]


def test_pages_follow_one_another(site: Site, filename: str) -> None:
    pages = [list_files(site, filename, page=page, per_page=2) for page in (1, 2, 3)]
    assert [len(page.items) for page in pages] == [2, 1, 0]
    assert {page.total for page in pages} == {3}


def test_a_file_comes_out_as_it_went_in(site: Site, filename: str) -> None:
    assert read(site, filename, "large") == LARGE
    assert read(site, filename, "Urlaub") == b"<svg onload=alert(1)>"


def test_an_empty_file_comes_out_empty(site: Site) -> None:
    media.add_file(site, io.BytesIO(b""), "empty.txt")
    assert read(site, service.create_backup(site).filename, "empty") == b""


@pytest.mark.parametrize("path", ["nothing.txt", "../app.db", "/etc/passwd", "", "database.db", "x" * 5000])
def test_what_is_no_file_of_the_backup_is_not_found(site: Site, filename: str, path: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        open_file(site, filename, path)
    assert refused.value.code == "file_not_in_backup"


def test_a_file_that_was_damaged_before_the_backup_says_so(site: Site) -> None:
    file = media.add_file(site, io.BytesIO(b"as uploaded"), "a.txt")
    (site.settings.files_dir / file.path).write_bytes(b"not so any more")
    filename = service.create_backup(site).filename
    assert [found.is_damaged for found in list_files(site, filename).items] == [True]
    assert read(site, filename, "a.txt") == b"not so any more"
    assert len(describe_contents(site, filename).problems) == 1


def test_of_a_large_damaged_file_the_last_bytes_never_come(site: Site, filename: str) -> None:
    damage(path_of(site, filename), LARGE)
    (file,) = list_files(site, filename, search="large").items
    got = io.BytesIO()
    with pytest.raises(CorruptArchiveError):
        got.writelines(open_file(site, filename, file.path).pieces)
    assert 0 < got.tell() < len(LARGE)


def test_a_small_damaged_file_is_refused_before_its_first_byte(site: Site) -> None:
    media.add_file(site, io.BytesIO(LARGE[:2000]), "small.bin")
    filename = service.create_backup(site).filename
    damage(path_of(site, filename), LARGE[:2000])
    with pytest.raises(CorruptArchiveError):
        open_file(site, filename, list_files(site, filename).items[0].path)


def test_a_damaged_database_costs_the_names_and_nothing_else(site: Site, filename: str) -> None:
    path = path_of(site, filename)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("database.db")
    data = bytearray(path.read_bytes())
    data[entry.header_offset + 200 : entry.header_offset + 400] = bytes(200)
    path.write_bytes(data)
    found = list_files(site, filename)
    assert "database.db" in (found.names_problem or "")
    assert {file.filename for file in found.items} == {file.path for file in found.items}
    assert read(site, filename, "large") == LARGE
    assert describe_contents(site, filename).names_problem == found.names_problem


def test_an_archive_that_was_exchanged_is_looked_at_anew(site: Site, filename: str) -> None:
    assert list_files(site, filename).total == 3
    (site.settings.files_dir / "another.txt").write_text("another")
    shutil.copy(service.create_backup(site).path, path_of(site, filename))
    assert [file.filename for file in list_files(site, filename, search="another").items] == ["another.txt"]


def test_an_index_that_a_power_cut_left_is_made_anew(site: Site, filename: str) -> None:
    assert list_files(site, filename).total == 3
    (site.settings.backups_dir / ".contents" / filename).write_bytes(bytes(20_000))
    assert list_files(site, filename).total == 3


def test_where_somebody_has_put_a_link_or_a_file_nothing_is_removed_that_it_leads_to(
    site: Site, filename: str, tmp_path: Path
) -> None:
    folder, elsewhere = site.settings.backups_dir / ".contents", tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "precious.txt").write_text("not ours")
    folder.symlink_to(elsewhere)
    assert list_files(site, filename).total
    assert sorted(path.name for path in elsewhere.iterdir()) == ["precious.txt", "sub"]
    assert not folder.is_symlink()
    archive_cache.remove_left_overs(site)
    folder.write_text("no folder")
    assert list_files(site, filename).total


def test_only_a_few_indexes_are_kept_for_their_owner_alone_and_none_of_what_is_deleted(site: Site) -> None:
    made = service.create_backup(site).path
    names = [f"backup_20200101_00000{number}.zip" for number in range(6)]
    folder = site.settings.backups_dir / ".contents"
    for name in names:
        shutil.copy(made, path_of(site, name))
        describe_contents(site, name)
    assert {path.name for path in folder.iterdir()} == set(names[2:])
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700, 0o600}
    deletion.delete_backup(site, names[5], "me")
    assert {path.name for path in folder.iterdir()} == set(names[2:5])
    archive_cache.remove_left_overs(site)
    assert not folder.exists()


def test_without_space_for_the_database_it_says_what_is_missing(
    site: Site, filename: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        archive_cache, "run_apart", lambda function, *values, **named: function(*values, **named)
    )
    monkeypatch.setattr("fastcms.durability.SPARE_BYTES", 10**18)
    with pytest.raises(NotEnoughSpaceError):
        describe_contents(site, filename)
    assert list((site.settings.backups_dir / ".contents").iterdir()) == []


def test_what_is_no_backup_is_not_looked_into(site: Site) -> None:
    with pytest.raises(BackupNotFoundError):
        describe_contents(site, "backup_20200101_000000.zip")
    with pytest.raises(FastCMSError, match="not the name of a backup"):
        list_files(site, "../app.db")
    path_of(site, "backup_20200101_000000.zip").write_text("no archive")
    with pytest.raises(CorruptArchiveError):
        describe_contents(site, "backup_20200101_000000.zip")


def test_the_api_sends_a_file_to_be_saved_and_never_shown(
    client: TestClient, site: Site, filename: str
) -> None:
    (file,) = client.get(f"/api/v1/backups/{filename}/files", params={"search": "svg"}).json()["items"]
    answer = client.get(f"/api/v1/backups/{filename}/files/{quote(file['path'])}")
    assert answer.content == b"<svg onload=alert(1)>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (
        answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{quote('Mein Urlaub ☀.svg')}"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"


def test_the_api_gives_lists_to_readers_and_bytes_to_admins_only(
    client: TestClient, editor: TestClient, anonymous: TestClient, site: Site, filename: str
) -> None:
    path = client.get(f"/api/v1/backups/{filename}/files").json()["items"][0]["path"]
    with site.database.write() as session:
        token, _row = create_token(session, "reader", [Scope.BACKUPS_READ], None)
    reader = TestClient(anonymous.app, headers={"Authorization": f"Bearer {token}"})
    for of, expected in ((reader, (200, 200, 403)), (editor, (403, 403, 403)), (client, (200, 200, 200))):
        paths = ("contents", "files", f"files/{path}")
        assert tuple(of.get(f"/api/v1/backups/{filename}/{path}").status_code for path in paths) == expected


def test_the_commands_show_list_and_extract(site: Site, filename: str, tmp_path: Path) -> None:
    shown = fastcms(site.settings.data_dir, f"backup show {filename}").stdout
    assert "records:posts" in shown
    assert "this FastCMS restores it as it is" in shown
    status, found = answer(site, f"backup files {filename} --search large")
    assert (status, found["total"]) == (0, 1)
    path = found["items"][0]["path"]
    done = fastcms(site.settings.data_dir, f"backup extract {filename} {path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (site.settings.data_dir.parent / "large.bin").read_bytes() == LARGE
    again, said = answer(site, f"backup extract {filename} {path}")
    assert (again, "is there already" in said["detail"]) == (4, True)
    assert answer(site, f"backup extract {filename} {path} --to {tmp_path}/no/folder.bin")[0] == 2


def test_a_restore_and_a_start_go_on_beside_an_index(site: Site, filename: str) -> None:
    describe_contents(site, filename)
    assert restoring.stage_restore(site, filename, "me").backup_filename == filename
