"""The doctor on the keys of encrypted copies."""

from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from fastcms.site import Site
from tests.integration.doctor.conftest import found, message_of

IDENTITY = Identity.generate()
PUBLIC, OTHER = str(IDENTITY.to_public()), str(Identity.generate().to_public())


@pytest.fixture
def key_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "backup-key.txt"
    path.write_text(f"# public key: {PUBLIC}\n{IDENTITY}\n")
    path.chmod(0o600)
    monkeypatch.setenv("FASTCMS_BACKUP_IDENTITY", str(path))
    return path


def encrypt_to(monkeypatch: pytest.MonkeyPatch, *public_keys: str) -> None:
    monkeypatch.setenv("FASTCMS_BACKUP_ENCRYPT_TO", " ".join(public_keys))


def copy_to(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.mkdir()
    monkeypatch.setenv("FASTCMS_BACKUP_DESTINATIONS", folder.as_uri())


def test_copies_that_are_not_encrypted_are_noted(
    stopped: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(stopped)
    copy_to(monkeypatch, tmp_path / "nas")
    assert "copies_not_encrypted" in found(stopped) - before
    encrypt_to(monkeypatch, PUBLIC)
    assert "copies_not_encrypted" not in found(stopped)


def test_a_key_that_fits_is_well_and_its_secret_is_not_told(
    stopped: Site, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypt_to(monkeypatch, OTHER, PUBLIC)
    assert found(stopped) == set()


@pytest.mark.parametrize(
    ("mode", "content", "code"),
    [
        (0o640, None, "key_file_open"),
        (0o600, "hunter2\n", "key_file_unusable"),
        (0o600, "", "key_file_unusable"),
    ],
)
def test_a_key_file_that_is_not_as_it_should_be_is_found(
    mode: int, content: str | None, code: str, stopped: Site, key_path: Path
) -> None:
    if content is not None:
        key_path.write_text(content)
    key_path.chmod(mode)
    assert found(stopped) == {code}
    assert str(key_path) in message_of(stopped, code)
    assert "hunter2" not in message_of(stopped, code)


def test_a_key_file_that_is_gone_is_found(stopped: Site, key_path: Path) -> None:
    key_path.unlink()
    assert found(stopped) == {"key_file_unusable"}


def test_a_key_that_opens_none_of_the_copies_is_found(
    stopped: Site, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypt_to(monkeypatch, OTHER)
    assert found(stopped) == {"key_file_foreign"}
