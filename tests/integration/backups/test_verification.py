"""Verification: what a restore on trial finds, what is noted of it, and what it leaves."""

import hashlib
import json
import os
import signal
import subprocess
import zipfile
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups import service, verification
from fastcms.backups.backup_notes import Notes, VerificationLevel
from fastcms.backups.engine.progress import Progress
from fastcms.config import Settings
from fastcms.content import service as content
from fastcms.errors import ArchiveError, JobCancelledError, NotEnoughSpaceError
from fastcms.site import Site, new_site
from tests.conftest import lasting_paths, wait_until
from tests.e2e.conftest import clean_environment
from tests.e2e.test_jobs import children_of

BACKUPS = "/api/v1/backups"
LIGHT, FULL = VerificationLevel.LIGHT, VerificationLevel.FULL
BY_HAND = "backup_20250115_100000.zip"


@pytest.fixture
def filled(client: TestClient, site: Site) -> Site:
    """A site with an empty and a larger collection, two uploads, and one whose bytes are lost."""
    client.post("/api/v1/collections", json={"name": "empty", "schema": []})
    client.post("/api/v1/collections", json={"name": "posts", "schema": [{"name": "title", "type": "text"}]})
    with site.database.write() as session:
        posts = content.find_collection(session, "posts")
        for number in range(31):
            content.create_record(session, posts, {"title": f"Post {number}"})
    for name, text in {
        "one.txt": b"words " * 100,
        "zwei ü.bin": os.urandom(500),
        "lost.txt": b"lost",
    }.items():
        client.post("/api/v1/files", files={"file": (name, text)})
    next(site.settings.files_dir.glob("lost*")).unlink()
    return site


def noted(site: Site, filename: str) -> Notes:
    return service.find_backup(site, filename).notes


def put_by_hand(site: Site, source: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Put a changed copy of an archive beside it, with checksums that fit it."""
    with zipfile.ZipFile(source) as old:
        entries = {name: old.read(name) for name in old.namelist() if name != "checksums.sha256"}
    change(entries)
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in entries.items()
        if not name.endswith("/")
    ]
    target = site.settings.backups_dir / BY_HAND
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in {**entries, "checksums.sha256": "".join(lines).encode()}.items():
            if not name.endswith("/"):
                new.writestr(name, content)
    return target


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_in_full_a_site_is_restored_from_it_started_and_read(
    client: TestClient, filled: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.post(BACKUPS).json()
    url = f"{BACKUPS}/{made['filename']}"
    assert client.get(f"{url}/verification").json()["code"] == "backup_not_verified"
    client.post("/api/v1/collections/posts/records", json={"data": {"title": "since then"}})
    before = lasting_paths(filled.settings.data_dir)
    # Nothing of the live site's environment concerns the one that is restored.
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("fastcms_session_hours", "no number")

    report = client.post(f"{url}/verify").json()

    assert (report["status"], report["level"], report["filename"]) == ("ok", "full", made["filename"])
    trial = report["trial"]
    assert trial["restore"] == "restored"
    assert (trial["schema_revision_before"], trial["was_migrated"]) == (report["schema_revision"], False)
    counts = {
        count["name"]: (count["backup"], count["manifest"], count["live"]) for count in trial["contents"]
    }
    assert counts == {
        "accounts": (2, 2, 2),
        "collections": (2, 2, 2),
        "files": (3, 3, 3),
        "records": (31, 31, 32),
        "records:empty": (0, 0, 0),
        "records:posts": (31, 31, 32),
    }
    # The third was lost before: that is a problem of the site, which the backup tells.
    assert trial["files_read"] == 2
    assert len(report["problems"]) == 1
    assert trial["seconds"].keys() == {"extract", "check", "sync", "start", "read"}
    shown = client.get(f"{url}/verification").json()
    assert (shown["outcome"], shown["level"], shown["error"], shown["report"]) == ("ok", "full", None, report)
    assert lasting_paths(filled.settings.data_dir) == before
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_light_one_finds_leaves_a_trial_unless_it_finds_damage(client: TestClient, site: Site) -> None:
    backup = service.find_backup(site, client.post(BACKUPS).json()["filename"])
    verification.verify_backup(site, backup.filename, level=LIGHT)
    light = noted(site, backup.filename)
    assert (light.verified_level, light.verified_outcome) == ("light", "ok")
    verification.verify_backup(site, backup.filename)
    full = noted(site, backup.filename)
    assert (full.verified_level, full.verified_outcome) == ("full", "ok")
    report = verification.verify_backup(site, backup.filename, level=LIGHT)
    assert (report.level, report.trial) == (LIGHT, None)
    assert noted(site, backup.filename) == full
    flip(Path(backup.path), 10)  # the time in the first header, of which no reader knows what it should be
    with pytest.raises(ArchiveError) as raised:
        verification.verify_backup(site, backup.filename, level=LIGHT)
    damaged = noted(site, backup.filename)
    assert raised.value.code == "archive_changed"
    assert (damaged.verified_level, damaged.verified_outcome) == ("light", "failed")
    assert damaged.verified_reason == raised.value.message
    shown = client.get(f"{BACKUPS}/{backup.filename}/verification").json()
    assert (shown["outcome"], shown["report"], shown["error"]["code"]) == ("failed", None, "archive_changed")
    assert Path(backup.path).exists()


def regions_of(path: Path) -> dict[str, int]:
    """A byte of every region of an archive; the unit tests try every byte."""
    size = path.stat().st_size
    directory = int.from_bytes(path.read_bytes()[-6:-2], "little")
    found = {"the directory": directory, "the end record": size - 12, "its last byte": size - 1}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            method = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}[info.compress_type]
            name_bytes = len(info.filename.encode())
            found |= {
                "a local header": info.header_offset + 14,
                "the time in it": info.header_offset + 10,
                "a name": info.header_offset + 30,
                f"the end of {method} data": info.header_offset + 29 + name_bytes + info.compress_size,
                "attributes": directory + 40,
                "a name in the directory": directory + 46,
            }
            directory += 46 + name_bytes
    return found


def test_a_changed_byte_in_every_region_is_found_by_a_verification(client: TestClient, filled: Site) -> None:
    backup = service.find_backup(filled, client.post(BACKUPS).json()["filename"])
    path = Path(backup.path)
    content = path.read_bytes()
    missed = []
    for region, offset in regions_of(path).items():
        flip(path, offset)
        try:
            verification.verify_backup(filled, backup.filename, level=LIGHT)
        except ArchiveError:
            assert noted(filled, backup.filename).verified_outcome == "failed"
        else:
            missed.append(region)
        path.write_bytes(content)
    assert missed == []
    flip(path, regions_of(path)["attributes"])
    with pytest.raises(ArchiveError, match="as it was written"):
        verification.verify_backup(filled, backup.filename, level=FULL)


def test_an_archive_put_there_by_hand_has_to_stay_as_it_was_when_first_verified(
    client: TestClient, site: Site
) -> None:
    made = service.find_backup(site, client.post(BACKUPS).json()["filename"])
    path = put_by_hand(site, Path(made.path), lambda _entries: None)
    assert noted(site, BY_HAND).crc32 is None
    verification.verify_backup(site, BY_HAND, level=LIGHT)
    flip(path, 10)
    with pytest.raises(ArchiveError, match="as it was written"):
        verification.verify_backup(site, BY_HAND, level=LIGHT)


def test_a_site_that_is_not_what_its_manifest_says_fails_the_trial(client: TestClient, filled: Site) -> None:
    def lie(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["metadata.json"])
        manifest["counts"]["records:posts"] = 30
        entries["metadata.json"] = json.dumps(manifest).encode()

    made = service.find_backup(filled, client.post(BACKUPS).json()["filename"])
    path = put_by_hand(filled, Path(made.path), lie)
    answer = client.post(f"{BACKUPS}/{BY_HAND}/verify")
    assert (answer.status_code, answer.json()["code"]) == (HTTPStatus.UNPROCESSABLE_ENTITY, "trial_failed")
    assert "records:posts (31 instead of 30)" in answer.json()["detail"]
    assert answer.json()["trial"]["restore"] == "restored"
    assert noted(filled, BY_HAND).verified_outcome == "failed"
    # Its bytes are as they should be, which says nothing against the trial.
    verification.verify_backup(filled, BY_HAND, level=LIGHT)
    assert noted(filled, BY_HAND).verified_outcome == "failed"
    assert client.get(f"{BACKUPS}/{BY_HAND}/verification").json()["error"] == {
        name: value for name, value in answer.json().items() if name not in ("status", "title", "type")
    } | {"errors": []}
    assert path.exists()


def test_a_file_that_the_restored_site_serves_with_other_bytes_fails_the_trial(
    client: TestClient, filled: Site
) -> None:
    def exchange(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.startswith("files/one"))
        entries[name] = entries[name][::-1]

    made = service.find_backup(filled, client.post(BACKUPS).json()["filename"])
    put_by_hand(filled, Path(made.path), exchange)
    verification.verify_backup(filled, BY_HAND, level=LIGHT)
    with pytest.raises(ArchiveError, match="does not serve the file 'one"):
        verification.verify_backup(filled, BY_HAND)
    assert noted(filled, BY_HAND).verified_outcome == "failed"


@pytest.mark.parametrize("phase", ["extracting", "starting the restored site"])
def test_one_that_is_cancelled_comes_to_no_verdict_and_leaves_nothing(
    client: TestClient, site: Site, phase: str
) -> None:
    backup = service.find_backup(site, client.post(BACKUPS).json()["filename"])

    def cancel(progress: Progress) -> None:
        if progress.phase == phase:
            raise JobCancelledError("It was cancelled.")

    before = children_of(os.getpid())  # such as a server of object storage, for other tests
    with pytest.raises(JobCancelledError):
        verification.verify_backup(site, backup.filename, cancel)
    assert noted(site, backup.filename).verified is None
    assert not (site.settings.backups_dir / ".verifying").exists()
    assert children_of(os.getpid()) == before


def test_a_full_disk_is_no_fault_of_the_backup(client: TestClient, site: Site, small_disk: Path) -> None:
    made = service.find_backup(site, client.post(BACKUPS).json()["filename"])
    crowded = new_site(Settings(_env_file=None, data_dir=small_disk / "data"))
    crowded.settings.backups_dir.mkdir(parents=True)
    (crowded.settings.backups_dir / made.filename).write_bytes(Path(made.path).read_bytes())
    for level in VerificationLevel:
        with pytest.raises(NotEnoughSpaceError):
            verification.verify_backup(crowded, made.filename, level=level)
    assert noted(crowded, made.filename).verified is None


def test_a_trial_ends_with_the_process_that_wanted_it(stopped: Site) -> None:
    (backup,) = service.list_backups(stopped)
    command = subprocess.Popen(
        ["fastcms", "backup", "verify", backup.filename],
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(stopped.settings.data_dir)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    jobs_dir = stopped.settings.backups_dir / ".jobs"
    wait_until(lambda: any("restored site" in path.read_text() for path in jobs_dir.glob("*.json")))
    (trial,) = children_of(command.pid)
    command.send_signal(signal.SIGKILL)
    command.wait()
    wait_until(lambda: not is_running(trial))
    verification.remove_left_overs(stopped)
    assert not (stopped.settings.backups_dir / ".verifying").exists()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_readers_see_a_verdict_and_others_do_not(client: TestClient, site: Site) -> None:
    url = f"{BACKUPS}/{client.post(BACKUPS).json()['filename']}"
    assert client.post(f"{url}/verify", params={"level": "light"}).status_code == HTTPStatus.OK
    assert (
        client.post(f"{url}/verify", params={"level": "deep"}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    )
    with TestClient(client.app) as other:
        for scope, status in [(Scope.BACKUPS_READ, 200), (Scope.BACKUPS_CREATE, 403)]:
            with site.database.write() as session:
                token, _row = create_token(session, f"program with {scope}", [scope], None)
            other.headers["Authorization"] = f"Bearer {token}"
            assert other.get(f"{url}/verification").status_code == status
