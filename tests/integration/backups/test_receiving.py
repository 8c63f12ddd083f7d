"""Archives from other machines: what comes in, under which name, and who may restore it."""

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from errno import EIO
from hashlib import sha256
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.models import Account
from fastcms.accounts.schemas import Caller, Role, Scope
from fastcms.accounts.service import create_token
from fastcms.backups import origin, receiving, restoring, service
from fastcms.backups.engine.progress import Progress
from fastcms.backups.folder import alone, data_paths
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.durability import partial_path_of
from fastcms.errors import BackupBusyError, BackupError, ConflictError, NotEnoughSpaceError
from fastcms.incoming import IncomingFile
from fastcms.main import create_app
from fastcms.media import service as media
from fastcms.site import Site
from fastcms.sqlite import sqlite3
from tests.conftest import ADMIN, PASSWORD, lasting_paths
from tests.e2e.conftest import clean_environment

BACKUPS = "/api/v1/backups"
STRANGER = "stranger@example.com"
NAME = "backup_20250115_100000.zip"
PICTURE = Random(1).randbytes(10_000)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup that was made on another machine, by somebody else."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("other") / "data")
    with TestClient(create_app(settings)) as client:
        site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
        with site.database.write() as session:
            session.add(Account(email=STRANGER, password_hash="x", role=Role.ADMIN))
            session.add(Account(email="editor@example.org", password_hash="x", role=Role.EDITOR))
            create_token(session, "back \x1b[2Jdoor", [Scope.ADMIN], None)
            create_token(session, "reader", [Scope.CONTENT_READ], None)
        media.add_file(site, io.BytesIO(PICTURE), "picture.bin")
        return Path(service.create_backup(site).path)


@pytest.fixture
def named(foreign: Path, tmp_path: Path) -> Path:
    """The same backup, as if it were made in January 2025."""
    return rename(foreign, tmp_path / "from elsewhere.zip", "backup_20250115_100000")


def rename(source: Path, target: Path, backup_name: str) -> Path:
    """Give an archive another name inside. Its manifest's checksum changes with it."""
    content = read_parts(source)
    manifest = json.loads(content["metadata.json"]) | {"backup_name": backup_name}
    content["metadata.json"] = json.dumps(manifest).encode()
    return pack(target, content)


def read_parts(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


def pack(target: Path, content: dict[str, bytes]) -> Path:
    """Zip a backup's parts, with checksums that fit: what somebody with a text editor can do."""
    lines = [
        f"{sha256(data).hexdigest()}  {name}\n"
        for name, data in content.items()
        if not name.endswith("/") and name != "checksums.sha256"
    ]
    content = content | {"checksums.sha256": "".join(lines).encode()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o40755 if name.endswith("/") else 0o100644) << 16
            archive.writestr(info, data)
    return target


def upload(client: TestClient, archive: Path) -> Any:
    with archive.open("rb") as file:
        return client.post(f"{BACKUPS}/upload", files={"file": ("any name.zip", file)})


def left_in(site: Site) -> list[str]:
    """Everything in the folder of backups but its locks and its history."""
    names = (path.name for path in site.settings.backups_dir.iterdir())
    known = {".lock", ".receiving", ".trash_lock", ".upkeep", ".verifying_lock", ".jobs"}
    return sorted(name for name in names if name not in known and not name.startswith("history.db"))


def test_an_archive_from_elsewhere_is_listed_as_uploaded_under_its_own_name(
    client: TestClient, site: Site, named: Path
) -> None:
    answer = upload(client, named)
    assert answer.status_code == 200, answer.text
    backup = answer.json()
    assert backup["filename"] == NAME
    assert (backup["kind"], backup["created"]) == ("uploaded", "2025-01-15T10:00:00")
    assert backup["sha256"] == sha256(named.read_bytes()).hexdigest()
    assert backup["size_bytes"] == named.stat().st_size
    assert backup["admins"] == [STRANGER]
    assert backup["admin_tokens"] == ["back \N{REPLACEMENT CHARACTER}[2Jdoor"]
    assert backup["uploaded_by"] == ADMIN
    assert backup["counts"]["files"] == 1
    assert Path(backup["path"]).read_bytes() == named.read_bytes()
    assert Path(backup["path"]).stat().st_mode & 0o777 == 0o600
    assert left_in(site) == [f".{NAME}.uploaded", NAME]
    [listed] = client.get(BACKUPS).json()["items"]
    assert (listed["filename"], listed["kind"]) == (NAME, "uploaded")
    assert client.get(f"{BACKUPS}/{NAME}").json() == backup


def test_a_backup_of_this_site_is_described_without_an_origin(client: TestClient) -> None:
    filename = client.post(BACKUPS).json()["filename"]
    backup = client.get(f"{BACKUPS}/{filename}").json()
    assert backup["kind"] == "manual"
    assert backup["counts"]["accounts"] == 2
    assert backup["app_version"]
    assert [backup[name] for name in ("sha256", "admins", "uploaded_by", "uploaded")] == [None] * 4


def test_the_same_archive_is_not_taken_twice(client: TestClient, site: Site, named: Path) -> None:
    upload(client, named)
    again = upload(client, named)
    assert (again.status_code, again.json()["code"]) == (409, "backup_exists")
    assert NAME in again.json()["detail"]
    mine = client.post(BACKUPS).json()
    back = upload(client, Path(mine["path"]))
    assert (back.status_code, back.json()["code"]) == (409, "backup_exists")
    assert client.get(f"{BACKUPS}/{mine['filename']}").json()["kind"] == "manual"
    assert len(left_in(site)) == 3


def test_another_archive_of_the_same_name_gets_the_next_second_that_is_free(
    client: TestClient, site: Site, foreign: Path, named: Path, tmp_path: Path
) -> None:
    upload(client, named)
    site.settings.backups_dir.joinpath("backup_20250115_100001.zip").write_bytes(b"by hand")
    partial_path_of(site.settings.backups_dir / "backup_20250115_100002.zip").touch()
    other = rename(foreign, tmp_path / "other.zip", "backup_20250115_100000")
    with zipfile.ZipFile(other, "r") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(content["metadata.json"]) | {"app_version": "0.0.9"}
    pack(other, content | {"metadata.json": json.dumps(manifest).encode()})
    assert upload(client, other).json()["filename"] == "backup_20250115_100003.zip"
    assert upload(client, other).json()["code"] == "backup_exists"


@pytest.mark.parametrize(
    "name", ["../../app", "backup_99991231_235959", "backup_00010101_000000", "backup_20259999_000000", ""]
)
def test_a_name_that_cannot_be_true_is_replaced_by_the_present(
    client: TestClient, site: Site, foreign: Path, tmp_path: Path, name: str
) -> None:
    before = utc_now().replace(microsecond=0)
    answer = upload(client, rename(foreign, tmp_path / "odd.zip", name))
    created = service.time_of(answer.json()["filename"])
    assert created is not None
    assert before <= created <= utc_now() + timedelta(seconds=2)


def test_a_running_backup_and_an_upload_that_want_one_name_get_two(
    site: Site, foreign: Path, tmp_path: Path
) -> None:
    """An upload that comes while a backup is made, and claims the very second that the backup has."""
    received: list[str] = []

    def meanwhile(progress: Progress) -> None:
        if progress.phase == "writing the archive" and not received:
            running = next(site.settings.backups_dir.glob(".backup_*.zip.partial"))
            name = running.name.removeprefix(".").removesuffix(".zip.partial")
            archive = rename(foreign, tmp_path / "same second.zip", name)
            received.append(receiving.import_archive(site, archive, "test").filename)

    made = service.create_backup(site, meanwhile)
    kinds = {backup.filename: str(backup.kind) for backup in service.list_backups(site)}
    assert kinds == {made.filename: "manual", received[0]: "uploaded"}


def test_a_backup_takes_no_second_that_an_upload_has_claimed(site: Site) -> None:
    backups_dir = site.settings.backups_dir
    claimed = [utc_now() + timedelta(seconds=seconds) for seconds in range(-1, 2)]
    for second in claimed:
        origin.record_path(service.path_of(data_paths(site), second)).touch()
    made = service.create_backup(site)
    assert made.filename not in {service.path_of(data_paths(site), second).name for second in claimed}
    assert list(backups_dir.glob("*.partial")) == []


def hostile(foreign: Path, target: Path) -> Path:
    """A sound ZIP whose database has been given a trigger that makes somebody an admin."""
    with zipfile.ZipFile(foreign) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    database = target.with_suffix(".db")
    database.write_bytes(content["database.db"])
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TRIGGER t AFTER UPDATE ON accounts BEGIN UPDATE accounts SET role = 'admin'; END"
        )
    return pack(target, content | {"database.db": database.read_bytes()})


def test_what_is_refused_leaves_nothing_and_the_site_untouched(
    client: TestClient, site: Site, foreign: Path, tmp_path: Path
) -> None:
    before = lasting_paths(site.settings.data_dir)
    damaged = bytearray(foreign.read_bytes())
    damaged[damaged.index(PICTURE[:20])] ^= 1
    archives = {
        "damaged": damaged,
        "cut": foreign.read_bytes()[:-100],
        "not a zip": b"not a zip" * 1000,
        "empty": b"",
        "hostile": hostile(foreign, tmp_path / "hostile.zip").read_bytes(),
    }
    for name, content in archives.items():
        answer = client.post(f"{BACKUPS}/upload", files={"file": ("x.zip", bytes(content))})
        assert answer.status_code == 422, name
        problem = answer.json()
        assert problem["code"].startswith(("archive_", "database_")), problem
        assert ".upload-" not in problem["detail"], problem
        assert problem["hint"]
        assert left_in(site) == [], name
    assert client.get(BACKUPS).json()["total"] == 0
    assert lasting_paths(site.settings.data_dir) == before


def test_only_an_admin_may_upload(
    client: TestClient, editor: TestClient, anonymous: TestClient, site: Site
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=X"}
    with site.database.write() as session:
        token, _row = create_token(session, "cron", [Scope.BACKUPS_CREATE], None)
    for authorization, status in (
        (editor.headers["Authorization"], 403),
        ("", 401),
        (f"Bearer {token}", 403),
    ):
        answer = anonymous.post(
            f"{BACKUPS}/upload", content=b"--X", headers=headers | {"Authorization": authorization}
        )
        assert answer.status_code == status
    assert left_in(site) == []


def test_an_upload_may_be_larger_than_other_files_and_other_requests(
    settings: Settings, password_hash: str, named: Path
) -> None:
    """Neither FASTCMS_MAX_UPLOAD_SIZE nor the limit of a request's body is for backups."""
    small = settings.model_copy(update={"max_upload_size": 10})
    with TestClient(create_app(small)) as client:
        site: Site = client.app.state.site  # type: ignore[attr-defined] # TestClient types it as a callable
        with site.database.write() as session:
            session.add(Account(email=ADMIN, password_hash=password_hash, role=Role.ADMIN))
            token, _row = create_token(session, "all", [Scope.ADMIN], None)
        client.headers["Authorization"] = f"Bearer {token}"
        assert upload(client, named).status_code == 200
        content = bytes(40 * 1024**2)
        answer = client.post(f"{BACKUPS}/upload", files={"file": ("x.zip", content)})
        assert answer.status_code == 422  # refused for what it is, not for its size


def test_a_size_that_the_disk_cannot_hold_is_refused_before_it_is_sent(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=X", "Content-Length": str(2**60)}
    answer = client.post(f"{BACKUPS}/upload", content=b"--X", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (507, "not_enough_space")
    assert "MB are free" in answer.json()["detail"]


def test_a_folder_that_cannot_be_written_is_named(client: TestClient, site: Site, named: Path) -> None:
    site.settings.backups_dir.rename(site.settings.backups_dir.with_name("gone"))
    answer = upload(client, named)
    assert (answer.status_code, answer.json()["code"]) == (500, "backup_failed")
    assert str(site.settings.backups_dir) in answer.json()["detail"]


def test_a_disk_that_fills_up_half_way_leaves_nothing(
    client: TestClient, site: Site, small_disk: Path
) -> None:
    use_as_backups_dir(site, small_disk)

    def body() -> Iterator[bytes]:  # of unknown length, so that nothing is refused beforehand
        yield b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
        for _ in range(60):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=X"}
    answer = client.post(f"{BACKUPS}/upload", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (507, "not_enough_space")
    assert left_in(site) == []


def test_a_disk_that_cannot_hold_the_check_is_refused_with_the_numbers(
    site: Site, small_disk: Path, named: Path
) -> None:
    use_as_backups_dir(site, small_disk)
    with IncomingFile(small_disk) as incoming:
        incoming.write(named.read_bytes())
        with pytest.raises(NotEnoughSpaceError, match="Checking the archive needs"):
            receiving.receive_archive(site, incoming, "test")
    assert left_in(site) == []


def use_as_backups_dir(site: Site, folder: Path) -> None:
    backups_dir = site.settings.backups_dir
    for path in backups_dir.iterdir():
        path.unlink()
    backups_dir.rmdir()
    backups_dir.symlink_to(folder)


def test_an_upload_and_a_backup_do_not_keep_each_other_waiting(
    client: TestClient, site: Site, named: Path
) -> None:
    with alone(data_paths(site), "creating a backup"):
        assert upload(client, named).status_code == 200
    seen: list[str] = []

    def meanwhile(progress: Progress) -> None:
        seen.append(service.create_backup(site).filename)

    other = rename(named, named.with_name("other.zip"), "backup_20240101_000000")
    with IncomingFile(site.settings.backups_dir) as incoming:
        incoming.write(other.read_bytes())
        receiving.receive_archive(site, incoming, "test", lambda p: None if seen else meanwhile(p))
    assert len(service.list_backups(site)) == 3


def test_two_uploads_are_checked_one_after_the_other(site: Site, foreign: Path, tmp_path: Path) -> None:
    archives = [
        rename(foreign, tmp_path / f"{number}.zip", f"backup_20250101_00000{number}") for number in range(4)
    ]
    threads = [Thread(target=receiving.import_archive, args=(site, archive, "test")) for archive in archives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {str(backup.kind) for backup in service.list_backups(site)} == {"uploaded"}
    assert len(left_in(site)) == 8


def test_deleting_an_uploaded_backup_deletes_its_record(client: TestClient, site: Site, named: Path) -> None:
    upload(client, named)
    assert client.delete(f"{BACKUPS}/{NAME}").status_code == 200
    assert left_in(site) == []


def test_deleting_while_another_is_checked_leaves_a_record_that_the_next_start_removes(
    client: TestClient, site: Site, named: Path
) -> None:
    upload(client, named)
    with origin.hold_records(data_paths(site)):
        client.delete(f"{BACKUPS}/{NAME}")
    assert left_in(site) == [f".{NAME}.uploaded"]
    receiving.remove_left_overs(site)
    assert left_in(site) == []


def test_a_start_removes_what_a_killed_upload_left_and_nothing_else(
    settings: Settings, client: TestClient, site: Site, named: Path
) -> None:
    upload(client, named)
    backups_dir = site.settings.backups_dir
    (backups_dir / ".upload-dead").write_bytes(b"half")
    (backups_dir / ".checking").mkdir()
    (backups_dir / ".checking" / "database.db").write_bytes(b"half")
    (backups_dir / ".backup_20250101_000000.zip.uploaded").write_text("{}")
    client.__exit__(None, None, None)
    with TestClient(create_app(settings)):
        assert left_in(site) == [f".{NAME}.uploaded", NAME]


def test_restoring_an_uploaded_backup_needs_the_password_and_names_its_admins(
    client: TestClient, site: Site, named: Path
) -> None:
    upload(client, named)
    url = f"{BACKUPS}/{NAME}/restore"
    for body in (None, {}, {"password": None}, {"password": ""}):
        refused = client.post(url, json=body) if body is not None else client.post(url)
        assert (refused.status_code, refused.json()["code"]) == (403, "password_required")
        assert refused.json()["admins"] == [STRANGER]
        assert len(refused.json()["admin_tokens"]) == 1
        assert STRANGER in refused.json()["detail"]
        assert ADMIN in refused.json()["detail"]
    wrong = client.post(url, json={"password": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    assert restoring.restore_status(site).state == "none"
    right = client.post(url, json={"password": PASSWORD})
    assert right.status_code == 200
    assert right.json()["backup_filename"] == NAME


def test_passwords_cannot_be_guessed_there(client: TestClient, named: Path) -> None:
    upload(client, named)
    url = f"{BACKUPS}/{NAME}/restore"
    codes = [client.post(url, json={"password": f"guess {number}"}).json()["code"] for number in range(6)]
    assert codes == ["wrong_password"] * 5 + ["too_many_attempts"]
    assert client.post(url, json={"password": PASSWORD}).status_code == 429


def test_a_token_without_a_password_cannot_restore_an_uploaded_backup(
    client: TestClient, site: Site, named: Path
) -> None:
    upload(client, named)
    mine = client.post(BACKUPS).json()["filename"]
    with site.database.write() as session:
        token, _row = create_token(session, "all", [Scope.ADMIN], None)
    headers = {"Authorization": f"Bearer {token}"}
    for body in (None, {"password": PASSWORD}):
        refused = client.post(f"{BACKUPS}/{NAME}/restore", json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "login_required")
    assert client.post(f"{BACKUPS}/{mine}/restore", headers=headers).status_code == 200


def test_an_uploaded_backup_whose_record_is_damaged_is_not_restored(
    client: TestClient, site: Site, named: Path
) -> None:
    upload(client, named)
    record = origin.record_path(site.settings.backups_dir / NAME)
    for damage in ("", "{}", '{"uploaded": 1}', "[" * 100_000, '{"uploaded": "2025-01-01", "newcomers": 1}'):
        record.write_text(damage)
        refused = client.post(f"{BACKUPS}/{NAME}/restore", json={"password": PASSWORD})
        assert (refused.status_code, refused.json()["code"]) == (409, "upload_record_unreadable")
        assert client.get(f"{BACKUPS}/{NAME}").status_code == 409
    assert client.get(BACKUPS).json()["items"][0]["kind"] == "uploaded"


def test_an_archive_that_was_exchanged_after_the_approval_is_not_restored(
    client: TestClient, site: Site, named: Path, tmp_path: Path
) -> None:
    """Whoever holds a stolen token deletes a backup, and uploads their own, which gets its name."""
    mine = client.post(BACKUPS).json()["filename"]
    caller = Caller("token", "all", frozenset({Scope.ADMIN}))
    approved = receiving.require_password(site, mine, caller, None, "")
    assert approved is None
    client.delete(f"{BACKUPS}/{mine}")
    crafted = rename(named, tmp_path / "crafted.zip", mine.removesuffix(".zip"))
    assert upload(client, crafted).json()["filename"] == mine
    with pytest.raises(ConflictError) as refused:
        restoring.stage_restore(site, mine, "me", approved=approved)
    assert refused.value.code == "backup_changed"
    first = receiving.find_origin(site, mine)
    client.delete(f"{BACKUPS}/{mine}")
    other = pack(tmp_path / "other.zip", read_parts(crafted) | {"files/more.txt": b"more"})
    assert upload(client, other).json()["filename"] == mine
    with pytest.raises(ConflictError, match="not the backup any more"):
        restoring.stage_restore(site, mine, "me", approved=first)
    assert restoring.restore_status(site).state == "none"
    second = receiving.find_origin(site, mine)
    assert restoring.stage_restore(site, mine, "me", approved=second).backup_filename == mine


def test_an_archive_cannot_be_exchanged_while_it_is_staged(client: TestClient, site: Site) -> None:
    mine = client.post(BACKUPS).json()["filename"]

    def meanwhile(_progress: Progress) -> None:
        with pytest.raises(BackupBusyError), origin.hold_records(data_paths(site), timeout_seconds=0):
            pass

    assert restoring.stage_restore(site, mine, "me", meanwhile).backup_filename == mine


def test_a_restore_is_not_staged_while_an_upload_is_checked(client: TestClient, site: Site) -> None:
    mine = client.post(BACKUPS).json()["filename"]
    with origin.hold_records(data_paths(site)):
        refused = client.post(f"{BACKUPS}/{mine}/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "backup_busy")
    assert "checking an archive" in refused.json()["detail"]


class FailingDisk(IncomingFile):
    """A disk that fails right after the archive has got its name, and keeps it."""

    def keep(self, path: Path) -> None:
        super().keep(path)
        raise OSError(EIO, "Input/output error", str(path))


def test_an_archive_that_stays_although_keeping_it_failed_still_needs_the_password(
    client: TestClient, site: Site, named: Path
) -> None:
    with FailingDisk(site.settings.backups_dir) as incoming:
        incoming.write(named.read_bytes())
        with pytest.raises(BackupError, match="Input/output error"):
            receiving.receive_archive(site, incoming, "test")
    assert client.get(BACKUPS).json()["items"][0]["kind"] == "uploaded"
    assert client.post(f"{BACKUPS}/{NAME}/restore").json()["code"] == "password_required"


def test_only_admins_learn_whom_an_uploaded_backup_would_let_in(
    client: TestClient, site: Site, named: Path
) -> None:
    upload(client, named)
    with site.database.write() as session:
        token, _row = create_token(session, "monitor", [Scope.BACKUPS_READ], None)
    for_all = client.get(f"{BACKUPS}/{NAME}", headers={"Authorization": f"Bearer {token}"}).json()
    assert (for_all["admins"], for_all["admin_tokens"]) == (None, None)
    assert for_all | {"admins": [STRANGER], "admin_tokens": ["back \N{REPLACEMENT CHARACTER}[2Jdoor"]} == (
        client.get(f"{BACKUPS}/{NAME}").json()
    )


def fastcms(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fastcms", *words],
        check=False,
        cwd=folder,
        env=clean_environment() | {"FASTCMS_ADMIN_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
    )


def test_a_new_machine_imports_a_backup_and_restores_it(tmp_path: Path, named: Path) -> None:
    folder = tmp_path / "new machine"
    folder.mkdir()
    imported = fastcms(folder, "backup", "import", str(named))
    assert imported.returncode == 0, imported.stderr
    assert NAME in imported.stdout
    assert named.exists()
    [listed] = json.loads(fastcms(folder, "backup", "list", "--json").stdout)["items"]
    assert listed["kind"] == "uploaded"
    assert "uploaded" in fastcms(folder, "backup", "list").stdout
    asked = fastcms(folder, "backup", "restore", NAME)
    assert asked.returncode == 1
    assert STRANGER in asked.stderr
    assert "\x1b" not in asked.stderr
    staged = fastcms(folder, "backup", "restore", NAME, "--yes", "--json")
    assert json.loads(staged.stdout)["backup_filename"] == NAME
    again = fastcms(folder, "backup", "import", str(named), "--json")
    assert (again.returncode, json.loads(again.stdout)["code"]) == (4, "backup_exists")


@pytest.mark.parametrize("name", ["missing.zip", ".", "/dev/null", "\n"])
def test_what_is_no_file_cannot_be_imported(tmp_path: Path, name: str) -> None:
    refused = fastcms(tmp_path, "backup", "import", name, "--json")
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (2, "archive_unreadable")


def test_a_file_that_is_no_archive_is_refused_by_the_command_too(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    refused = fastcms(tmp_path, "backup", "import", "note.txt")
    assert refused.returncode == 7
    assert "Traceback" not in refused.stderr
    assert list((tmp_path / "data/backups").glob("*upload*")) == []
