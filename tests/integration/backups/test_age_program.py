"""What we encrypt, Debian's age decrypts; what age encrypts, we decrypt."""

import subprocess
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from fastcms.age_keys import parse_recipients, read_identities
from fastcms.backups.encryption import decrypted, encrypted, looks_encrypted
from fastcms.errors import WrongKeyError

CONTENT = b"".join(number.to_bytes(4, "big") for number in range(500_000))
SIZES = [0, 1, 65_535, 65_536, 65_537, 131_072, len(CONTENT)]


def age(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["age", *arguments], input=given, capture_output=True, check=False)


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    """A key as age-keygen writes it."""
    path = tmp_path / "key.txt"
    subprocess.run(["age-keygen", "-o", path], capture_output=True, check=True)
    return path


def public_key_of(path: Path) -> str:
    done = subprocess.run(["age-keygen", "-y", path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def encrypt(content: bytes, *public_keys: str) -> bytes:
    with encrypted([content], len(content), parse_recipients(public_keys)) as stream:
        return b"".join(stream.chunks)


@pytest.mark.parametrize("size", SIZES)
def test_age_decrypts_what_we_encrypt(size: int, key_path: Path) -> None:
    other = str(Identity.generate().to_public())
    done = age("-d", "-i", key_path, given=encrypt(CONTENT[:size], other, public_key_of(key_path)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == CONTENT[:size]


@pytest.mark.parametrize("size", SIZES)
def test_we_decrypt_what_age_encrypts(size: int, key_path: Path) -> None:
    other = str(Identity.generate().to_public())
    done = age("-r", other, "-r", public_key_of(key_path), given=CONTENT[:size])
    assert looks_encrypted(done.stdout[:100])
    assert b"".join(decrypted([done.stdout], read_identities(key_path))) == CONTENT[:size]


def test_age_with_another_key_decrypts_nothing(key_path: Path, tmp_path: Path) -> None:
    sealed = encrypt(CONTENT, str(Identity.generate().to_public()))
    assert age("-d", "-i", key_path, given=sealed).returncode == 1
    with pytest.raises(WrongKeyError):
        b"".join(decrypted([sealed], read_identities(key_path)))


def test_age_refuses_what_is_cut_off_too(key_path: Path) -> None:
    sealed = encrypt(CONTENT[:131_072], public_key_of(key_path))
    for end in (len(sealed) - 1, len(sealed) - 65_552):
        assert age("-d", "-i", key_path, given=sealed[:end]).returncode == 1
