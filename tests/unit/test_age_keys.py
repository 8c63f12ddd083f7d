"""Keys are read as age-keygen writes them, and no message repeats one."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pyrage.x25519 import Identity

from fastcms.age_keys import is_readable_by_others, parse_identities, parse_recipients, read_identities
from fastcms.config import Settings, load_settings
from fastcms.errors import ConfigError, InvalidInputError

# Always the same: every worker has to find tests of the same names.
IDENTITY = Identity.from_str("AGE-SECRET-KEY-1MKUJ42ML2W4LSVXUW58YNHARZERPGQDMH6WTZL3ZN3TCWRECK5QSZWSTYE")
SECRET, PUBLIC = str(IDENTITY), str(IDENTITY.to_public())
POST_QUANTUM = "age1pq1" + "q" * 100


def test_public_keys_are_read_in_their_order() -> None:
    other = str(Identity.generate().to_public())
    assert [str(key) for key in parse_recipients([PUBLIC, other])] == [PUBLIC, other]


@pytest.mark.parametrize("text", [SECRET, SECRET.lower(), f"{PUBLIC},{SECRET}", f"key={SECRET}"])
def test_a_secret_key_in_place_of_a_public_one_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_recipients([PUBLIC, text])
    told = caught.value.message + caught.value.hint
    assert (caught.value.code, "number 2" in told) == ("key_is_secret", True)
    assert SECRET[20:].lower() not in told.lower()


@pytest.mark.parametrize("text", ["age1", PUBLIC[:-1], PUBLIC + "q", POST_QUANTUM, "ssh-ed25519", "hunter2"])
def test_what_is_no_public_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_recipients([text])
    assert caught.value.code == "key_invalid"
    assert text == "age1" or text not in caught.value.message + caught.value.hint


def test_no_more_keys_are_taken_than_can_be_read_again() -> None:
    assert len(parse_recipients([PUBLIC] * 100)) == 100
    with pytest.raises(InvalidInputError, match="101 public keys are too many"):
        parse_recipients([PUBLIC] * 101)


def test_the_server_does_not_start_with_a_secret_key_in_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Copies would not be encrypted, and nobody would know; or the key would be in the next log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTCMS_BACKUP_ENCRYPT_TO", SECRET)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "FASTCMS_BACKUP_ENCRYPT_TO: Key number 1 is a secret key" in caught.value.message
    assert SECRET[20:] not in caught.value.message + caught.value.hint
    with pytest.raises(ValidationError) as invalid:
        Settings(_env_file=None, backup_encrypt_to=SECRET)
    assert SECRET[20:] not in str(invalid.value)


@pytest.mark.parametrize("text", [SECRET, SECRET.lower(), f"./{SECRET}"])
def test_a_secret_key_in_place_of_its_file_is_refused_and_not_repeated(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTCMS_BACKUP_IDENTITY", text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message == "FASTCMS_BACKUP_IDENTITY: This is the key itself; name its file."
    assert SECRET[20:].lower() not in str(caught.value.__cause__).lower()
    monkeypatch.setenv("FASTCMS_BACKUP_IDENTITY", "/keys/age-secret-key.txt")
    assert load_settings().backup_identity == Path("/keys/age-secret-key.txt")


def test_a_key_file_is_read_with_comments_spaces_and_several_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.txt"
    other = Identity.generate()
    path.write_text(f"# created: today\n\n  {SECRET} \r\n# the old one\n{other}\n")
    assert [str(key) for key in read_identities(path)] == [SECRET, str(other)]


@pytest.mark.parametrize(
    "typed",
    [
        SECRET.lower(),
        f"{SECRET[:30]}\n  {SECRET[30:]}\n",
        " ".join(SECRET[at : at + 8] for at in range(0, len(SECRET), 8)),
        SECRET.replace("-", "\u2013"),
        f"\ufeff  # public key: {PUBLIC}\r\n{SECRET}\r\n",
    ],
    ids=["small letters", "two lines", "groups", "dashes", "byte order mark"],
)
def test_a_secret_key_is_understood_as_people_type_it(typed: str) -> None:
    assert [str(key) for key in parse_identities(typed.splitlines(), "It")] == [SECRET]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (SECRET[:40] + "Q" + SECRET[41:], "It has a secret key that is mistyped: a character is wrong."),
        (SECRET.lower()[:-1], "It has a secret key that is mistyped: it has 73 characters instead of 74."),
        (f"{SECRET}\n{SECRET}Q", "It has a secret key number 2 that is mistyped: it has 75 characters"),
        (PUBLIC, "public key, which opens nothing"),
        (f"# {SECRET}", "holds no secret key"),
    ],
)
def test_a_mistyped_secret_key_is_called_so_and_not_repeated(typed: str, told: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_identities(typed.splitlines(), "It")
    assert told in f"{caught.value.message} {caught.value.hint}"
    assert SECRET[20:40] not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.__context__ is None or SECRET[20:40] not in str(caught.value.__context__)


@pytest.mark.parametrize("content", ["", "# public key: age1\n", f"{SECRET}\nhunter2\n", PUBLIC, "\0\xff"])
def test_a_file_without_a_secret_key_or_with_more_is_refused_and_not_repeated(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "key.txt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidInputError) as caught:
        read_identities(path)
    assert caught.value.code == "key_file_invalid"
    told = caught.value.message + caught.value.hint
    assert SECRET[20:] not in told
    assert "hunter2" not in told


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_key_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_identities(tmp_path / name)
    assert caught.value.code == "key_file_unreadable"
    assert str(tmp_path / name) in caught.value.message


@pytest.mark.parametrize(("mode", "readable"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_whether_others_could_read_a_key_file(mode: int, readable: bool, tmp_path: Path) -> None:
    path = tmp_path / "key.txt"
    path.touch()
    path.chmod(mode)
    assert is_readable_by_others(path) is readable
