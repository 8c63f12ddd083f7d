"""Every command of the recovery sheet is typed as it is printed: with FastCMS, and where there is none."""

import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastcms.age_keys import parse_recipients
from fastcms.backups import service
from fastcms.backups.encryption import encrypted
from fastcms.backups.stores.addresses import open_store, parse_address
from fastcms.site import Site
from tests.e2e.conftest import clean_environment

PROGRAMS = Path(sys.executable).parent
WITH, WITHOUT = "With FastCMS", "Without FastCMS"


class Sheet(HTMLParser):
    """The commands of a sheet, below their headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.commands: dict[str, list[str]] = {}
        self._open = self._heading = ""
        self.feed(html)

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        if tag == "span":
            return
        self._open = tag
        if tag == "pre":
            self.commands[self._heading].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag != "span":
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "h2":
            self._heading = data
            self.commands[data] = []
        elif self._open == "pre":
            self.commands[self._heading][-1] += data


@dataclass(frozen=True)
class Destination:
    """Where backups are kept, and what lets one in."""

    address: str
    credentials: Mapping[str, str]

    def put(self, name: str, content: bytes) -> None:
        store = open_store(parse_address(self.address), self.credentials)
        store.put(name, [content], len(content))


@pytest.fixture(params=["folder", "s3"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    if request.param == "folder":
        (folder := tmp_path / "my nas").mkdir()
        return Destination(folder.as_uri(), {})
    server = request.getfixturevalue("s3_server")
    return Destination(server.address(f"sheet-{secrets.token_hex(6)}"), server.credentials)


@pytest.fixture
def archive(client: TestClient, site: Site) -> Path:
    """A backup of a site with records and files."""
    fields = [{"name": "title", "type": "text", "required": True}]
    client.post("/api/v1/collections", json={"name": "notes", "schema": fields})
    for number in range(20):
        client.post("/api/v1/collections/notes/records", json={"data": {"title": f"Note {number}"}})
        upload = {"file": (f"späte Post {number}.bin", bytes([number]) * 10_000)}
        assert client.post("/api/v1/files", files=upload).status_code == 201
    return site.settings.backups_dir / service.create_backup(site).filename


def commands_of_sheet(folder: Path, destination: Destination, *, is_encrypted: bool) -> dict[str, list[str]]:
    """Make a key if one is wanted, and a sheet, in a folder; the sheet's commands by their headings."""
    subprocess.run(
        ["fastcms", "backup", *(["keygen", "--sheet", "recovery-sheet.html"] if is_encrypted else ["sheet"])],
        cwd=folder,
        env=clean_environment() | {"FASTCMS_BACKUP_DESTINATIONS": destination.address},
        capture_output=True,
        check=True,
    )
    return Sheet((folder / "recovery-sheet.html").read_text()).commands


def send(archive: Path, destination: Destination, key_path: Path) -> None:
    """Put a backup at a destination, encrypted or not, beside an older one, and a newer one of anybody's."""
    content, is_encrypted = archive.read_bytes(), key_path.exists()
    if is_encrypted:
        public_key = key_path.read_text().split("public key: ")[1].split()[0]
        with encrypted([content], len(content), parse_recipients([public_key])) as stream:
            content = b"".join(stream.chunks)
    destination.put(f"{archive.name}{'.age' if is_encrypted else ''}", content)
    destination.put(f"backup_20200101_000000.zip{'.age' if is_encrypted else ''}", b"not this one")
    destination.put(f"backup_99970101_000000.zip{'' if is_encrypted else '.age'}", b"nor this one")
    destination.put("zzz.txt", b"no backup")


def type_in(
    folder: Path, commands: list[str], destination: Destination, path: str, *, succeeds: bool = True
) -> str:
    """Type commands in a folder, with credentials in place of the dots. All succeed, or the last fails."""
    typed = "\n".join(commands)
    for name, value in destination.credentials.items():
        typed = typed.replace(f"{name}=...", f"{name}={value}")
    assert "=..." not in typed
    done = subprocess.run(
        ["bash", "-euo", "pipefail"] if succeeds else ["bash"],
        input=typed,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is succeeds, f"{typed}\n{done.stdout}\n{done.stderr}"
    return done.stdout if succeeds else done.stderr


def contents_of(data_dir: Path) -> tuple[list[str], dict[str, bytes]]:
    """All rows that are no logins, and all files: what a restore has to bring back."""
    dump = subprocess.run(
        ["sqlite3", "-readonly", data_dir / "app.db", ".dump"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line for line in dump if line.startswith("INSERT INTO") and "sessions" not in line]
    files = {path.name: path.read_bytes() for path in (data_dir / "files").rglob("*") if path.is_file()}
    return sorted(rows), files


@pytest.fixture
def path_without_fastcms(tmp_path: Path) -> str:
    (programs := tmp_path / "programs").mkdir()
    (programs / "rclone").symlink_to(PROGRAMS / "rclone")
    path = f"{programs}:/usr/bin:/bin"
    assert shutil.which("fastcms", path=path) is None
    return path


@pytest.mark.parametrize("is_encrypted", [True, False], ids=["encrypted", "plain"])
def test_the_sheet_brings_a_site_back_where_there_is_no_fastcms(
    *,
    is_encrypted: bool,
    destination: Destination,
    archive: Path,
    site: Site,
    path_without_fastcms: str,
    tmp_path: Path,
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    commands = commands_of_sheet(elsewhere, destination, is_encrypted=is_encrypted)[WITHOUT]
    send(archive, destination, elsewhere / "backup-key.txt")
    suffix = ".age" if is_encrypted else ""
    (elsewhere / f"backup_20240101_000000.zip{suffix}").write_bytes(b"fetched on another day")
    printed = type_in(elsewhere, commands, destination, path_without_fastcms)
    assert printed.splitlines()[-1] == "all files are whole"
    rows, files = contents_of(elsewhere / "data")
    assert (rows, files) == contents_of(site.settings.data_dir)
    assert len(files) == 20
    assert (elsewhere / "data" / "app.db").stat().st_mode & 0o77 == 0


def test_where_there_is_no_backup_the_sheet_stops_with_words(
    destination: Destination, path_without_fastcms: str, tmp_path: Path
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    fetch, decrypt = commands_of_sheet(elsewhere, destination, is_encrypted=True)[WITHOUT][:2]
    destination.put("zzz.txt", b"no backup")
    there = sorted(elsewhere.iterdir())
    for command, words in (
        (fetch, "no backup was found there"),
        (decrypt, "no backup is in this folder"),
    ):
        said = type_in(elsewhere, [command], destination, path_without_fastcms, succeeds=False)
        assert words in said
        assert sorted(elsewhere.iterdir()) == there


def test_the_sheets_one_command_brings_a_site_back_with_fastcms(
    destination: Destination, archive: Path, site: Site, tmp_path: Path
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    commands = commands_of_sheet(elsewhere, destination, is_encrypted=True)[WITH]
    send(archive, destination, elsewhere / "backup-key.txt")
    (elsewhere / ".venv").symlink_to(PROGRAMS.parent)  # as `make install` leaves it
    type_in(elsewhere, commands, destination, "/usr/bin:/bin")
    assert contents_of(elsewhere / "data") == contents_of(site.settings.data_dir)
