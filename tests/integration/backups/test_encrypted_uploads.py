"""An encrypted backup that is brought: decrypted with a key that is sent along, and that stays nowhere."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pyrage.x25519 import Identity
from typer.testing import CliRunner

from fastcms.backups import encryption, receiving, service
from fastcms.backups.engine.progress import Progress
from fastcms.backups.folder import data_paths
from fastcms.cli import app
from fastcms.errors import JobCancelledError
from fastcms.incoming import UPLOAD_PREFIX, IncomingFile
from fastcms.media import service as media
from fastcms.site import Site
from tests.conftest import wait_until

UPLOAD = "/api/v1/backups/upload"
KEY, OTHER = Identity.generate(), Identity.generate()
PICTURE = bytes(range(256)) * 1000


@pytest.fixture
def archive(site: Site) -> bytes:
    """A backup that is no longer on this machine."""
    media.add_file(site, io.BytesIO(PICTURE), "picture.bin")
    path = Path(service.create_backup(site).path)
    content = path.read_bytes()
    path.unlink()
    return content


def encrypt(content: bytes) -> bytes:
    with encryption.encrypted([content], len(content), [KEY.to_public()]) as stream:
        return b"".join(stream.chunks)


def send(client: TestClient, content: bytes, key: str, **headers: str) -> Any:
    return client.post(
        UPLOAD, data={"identity": key}, files={"file": ("backup.zip.age", content)}, headers=headers
    )


def left_in(site: Site) -> list[str]:
    folder = data_paths(site).backups_dir
    kinds = (UPLOAD_PREFIX, "backup_", ".backup_")
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(kinds))


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_an_encrypted_backup_is_decrypted_and_its_key_is_kept_nowhere(
    client: TestClient, site: Site, archive: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = send(client, encrypt(archive), f"# from the sheet\n{KEY}\n")
    assert answer.status_code == 200, answer.text
    assert Path(answer.json()["path"]).read_bytes() == archive
    assert answer.json()["kind"] == "uploaded"
    filename = answer.json()["filename"]
    assert left_in(site) == [f".{filename}.uploaded", filename]
    assert str(KEY) not in answer.text
    client.get("/api/v1/backups")  # the activity log is written when the request is over
    assert str(KEY) not in "".join(capfd.readouterr())
    assert files_with(site.settings.data_dir, str(KEY)[-40:]) == []


def test_the_key_may_come_after_the_file_and_the_check_may_be_a_job(
    client: TestClient, site: Site, archive: bytes
) -> None:
    files: Any = [("file", ("b.age", encrypt(archive))), ("identity", (None, str(KEY)))]
    answer = client.post(UPLOAD, files=files, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    wait_until(lambda: (job := client.get(answer.headers["location"]).json())["state"] != "running" and job)
    job = client.get(answer.headers["location"]).json()
    assert job["state"] == "succeeded", job
    assert Path(job["result"]["path"]).read_bytes() == archive
    assert files_with(site.settings.data_dir, str(KEY)[-40:]) == []


@pytest.mark.parametrize(
    ("key", "code"),
    [("", "key_required"), (str(OTHER), "key_wrong"), (str(KEY)[:-1], "key_file_invalid")],
    ids=["none", "another", "incomplete"],
)
def test_without_the_key_nothing_is_kept_and_nothing_of_it_is_repeated(
    client: TestClient, site: Site, archive: bytes, key: str, code: str
) -> None:
    answer = send(client, encrypt(archive), key, Prefer="respond-async")  # no job begins
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert key[20:] == "" or key[20:] not in answer.text
    assert left_in(site) == []
    assert client.get("/api/v1/backups/jobs").json()["total"] == 0


def test_a_wrong_key_is_refused_at_the_beginning_of_the_file(client: TestClient, archive: bytes) -> None:
    sealed = encrypt(archive + bytes(5_000_000))
    boundary = b"--x\r\nContent-Disposition: form-data; name="

    def body() -> Any:
        yield boundary + b'"identity"\r\n\r\n' + str(OTHER).encode() + b"\r\n"
        yield boundary + b'"file"; filename="a"\r\n\r\n' + sealed[:2_000_000]

    answer = client.post(UPLOAD, content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.json()["code"] == "key_wrong"  # and not that the form has no end


def test_the_servers_own_key_opens_it_and_a_plain_archive_needs_none(
    client: TestClient, site: Site, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(site.settings), "backup_identity", tmp_path / "key.txt")
    answer = client.post(UPLOAD, files={"file": ("plain.zip", archive)})
    assert answer.status_code == 200  # there is no such key file
    Path(answer.json()["path"]).unlink()
    (tmp_path / "key.txt").write_text(str(KEY))
    answer = client.post(UPLOAD, files={"file": ("sealed", encrypt(archive))})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "change", [lambda sealed: sealed[:-1], lambda sealed: sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:]]
)
def test_what_is_damaged_is_refused_and_removed(
    client: TestClient, site: Site, archive: bytes, change: Any
) -> None:
    answer = send(client, change(encrypt(archive)), str(KEY))
    assert (answer.status_code, answer.json()["code"]) == (422, "archive_corrupt")
    assert "encrypted backup is damaged or incomplete" in answer.json()["detail"]
    assert left_in(site) == []


def test_a_decryption_that_is_cancelled_leaves_nothing(site: Site, archive: bytes) -> None:
    def cancel(progress: Progress) -> None:
        if progress.phase == "decrypting" and progress.done_bytes:
            raise JobCancelledError("Cancelled.")

    incoming = IncomingFile(data_paths(site).backups_dir)
    incoming.write(encrypt(archive + bytes(3_000_000)))
    with pytest.raises(JobCancelledError):
        receiving.open_upload(site, incoming, [KEY], cancel)
    assert left_in(site) == []


def test_the_command_imports_an_encrypted_file(
    site: Site, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(site.settings.data_dir))
    sealed, key = tmp_path / "somewhere.zip.age", tmp_path / "key.txt"
    sealed.write_bytes(encrypt(archive))

    def run(*arguments: str) -> tuple[int, Any]:
        done = CliRunner().invoke(app, ["backup", "import", str(sealed), *arguments, "--json"])
        return done.exit_code, json.loads(done.stdout)

    assert (run()[0], run()[1]["code"]) == (7, "key_required")
    key.write_text(str(OTHER))
    code, error = run("--identity", str(key))
    assert (code, error["code"]) == (7, "key_wrong")
    key.write_text(str(KEY))
    code, backup = run("--identity", str(key))
    assert (code, Path(backup["path"]).read_bytes()) == (0, archive)


@pytest.mark.parametrize("command", ["import", "restore", "verify", "download"])
def test_a_key_in_place_of_its_file_is_refused_before_anything_notes_it(
    command: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTCMS_DATA_DIR", str(site.settings.data_dir))
    done = CliRunner().invoke(
        app, ["backup", command, "file:///far/backup_20250115_100000.zip.age", "--identity", str(KEY)]
    )
    assert (done.exit_code, "This is the key itself; name its file." in done.stderr) == (2, True)
    assert str(KEY)[20:] not in done.output
    kept = [path for path in site.settings.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in kept if str(KEY)[20:].encode() in path.read_bytes()]
