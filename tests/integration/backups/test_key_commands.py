"""`fastcms backup keygen` and `sheet`, as one types them; what the sheet says is typed in tests/e2e."""

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fastcms.age_keys import read_identities
from fastcms.cli import app

SECRET = "AGE-SECRET-KEY-"
PLACES = "s3://my-backups/site?endpoint=https://s3.example.com file:///mnt/my%20nas/backups gs://other/site"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def fastcms(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["backup", *arguments])


def answer(*arguments: str) -> tuple[int, Any]:
    done = fastcms(*arguments, "--json")
    return done.exit_code, json.loads(done.stdout)


def sheet_text(path: Path) -> str:
    """What a sheet says, with its commands in one piece."""
    return re.sub(r"</?span>", "", path.read_text())


def public_key_in(path: Path) -> str:
    """As age itself finds it."""
    done = subprocess.run(["age-keygen", "-y", path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_key_file_is_what_age_keygen_writes_and_the_secret_is_not_printed(tmp_path: Path) -> None:
    done = fastcms("keygen")
    assert done.exit_code == 0, done.stderr
    path = tmp_path / "backup-key.txt"
    lines = path.read_text().splitlines()
    assert re.fullmatch(r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0])
    assert lines[1] == f"# public key: {public_key_in(path)}"
    assert [len(line) for line in lines[2:]] == [74]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done.stdout == f"Public key: {public_key_in(path)}\n"
    assert f"FASTCMS_BACKUP_ENCRYPT_TO={public_key_in(path)}" in done.stderr
    assert SECRET not in done.output
    assert [str(key.to_public()) for key in read_identities(path)] == [public_key_in(path)]
    assert list(tmp_path.iterdir()) == [path]  # and no data folder


def test_no_key_is_ever_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "backup-key.txt"
    path.write_text("the only key")
    code, error = answer("keygen", "--sheet", "sheet.html")
    assert (code, error["code"]) == (4, "target_exists")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("the only key", [path])  # no sheet of a lost key
    (tmp_path / "sheet.html").touch()
    code, error = answer("keygen", "--output", "other.txt", "--sheet", "sheet.html")
    assert (code, error["code"]) == (4, "target_exists")
    assert not (tmp_path / "other.txt").exists()


@pytest.mark.parametrize("name", ["missing/key.txt", "."])
def test_a_place_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    code, error = answer("keygen", "--output", name)
    assert (code, error["code"]) in ((2, "target_unwritable"), (4, "target_exists"))
    assert list(tmp_path.iterdir()) == []


def test_the_secret_is_printed_only_where_it_is_asked_for(tmp_path: Path) -> None:
    done = fastcms("keygen", "--output", "-")
    assert done.stdout.splitlines()[2].startswith(SECRET)
    assert SECRET not in done.stderr
    path = tmp_path / "typed.txt"
    path.write_text(done.stdout)
    assert f"# public key: {public_key_in(path)}" in done.stdout
    code, made = answer("keygen", "--output", "-")
    assert (code, made["secret_key"][:15], made["key_file"]) == (0, SECRET, None)
    code, made = answer("keygen")
    assert (code, made["secret_key"], made["key_file"]) == (0, None, "backup-key.txt")
    assert made["public_key"] == public_key_in(tmp_path / "backup-key.txt")


def test_a_sheet_has_the_secret_only_where_it_is_asked_for(tmp_path: Path) -> None:
    fastcms("keygen", "--sheet", "sheet.html")
    sheet = tmp_path / "sheet.html"
    assert public_key_in(tmp_path / "backup-key.txt") in sheet.read_text()
    assert SECRET not in sheet.read_text()
    assert "<svg" not in sheet.read_text()
    fastcms("keygen", "--output", "other.txt", "--sheet", "secret.html", "--with-secret")
    secret = (tmp_path / "other.txt").read_text().splitlines()[2]
    sheet = tmp_path / "secret.html"
    assert sheet.read_text().count(secret) == 1
    assert "<svg" in sheet.read_text()
    assert "can read every backup" in sheet.read_text()
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    code, error = answer("keygen", "--output", "third.txt", "--with-secret")
    assert (code, error["code"]) == (2, "invalid_input")
    assert not (tmp_path / "third.txt").exists()


def test_a_sheet_is_printed_again_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _code, made = answer("keygen")
    monkeypatch.setenv("FASTCMS_BACKUP_ENCRYPT_TO", made["public_key"])
    monkeypatch.setenv("FASTCMS_BACKUP_DESTINATIONS", PLACES)
    code, written = answer("sheet")
    assert (code, written["sheet"], written["public_keys"]) == (
        0,
        "recovery-sheet.html",
        [made["public_key"]],
    )
    assert len(written["places"]) == 3
    text = sheet_text(tmp_path / "recovery-sheet.html")
    for told in (made["public_key"], str(tmp_path / "data"), *written["places"]):
        assert told in text
    assert "age -d -i backup-key.txt" in text
    assert "sudo apt install age rclone unzip" in text
    assert ".venv/bin/fastcms backup restore" in text
    assert answer("sheet")[1]["code"] == "target_exists"
    assert not re.search(r"(src|href)=(?!\"data:,\")|url\(|@import", text)  # it needs no other file


def test_what_a_sheet_cannot_say_is_said(tmp_path: Path) -> None:
    done = fastcms("sheet", "plain.html")
    assert (done.exit_code, done.stderr.count("Warning: ")) == (0, 2)
    text = sheet_text(tmp_path / "plain.html")
    assert "age -d" not in text
    assert "sudo apt install unzip<" in text
    assert "No destination was set" in text


def test_credentials_are_on_no_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMS_BACKUP_DESTINATIONS", "s3://my-backups/site")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hunter1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com")
    fastcms("sheet")
    text = sheet_text(tmp_path / "recovery-sheet.html")
    assert "hunter" not in text
    assert "export AWS_ENDPOINT_URL_S3=https://s3.example.com" in text
