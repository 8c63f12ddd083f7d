"""Keys of age (https://age-encryption.org): a public key encrypts backups, only its secret key opens them.

Keys are X25519's and nothing newer: what leaves the machine must open with the age that any Linux has.
"""

import re
import stat
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pyrage import IdentityError, RecipientError
from pyrage.x25519 import Identity, Recipient

from fastcms.errors import InvalidInputError

_SECRET_PREFIX = "AGE-SECRET-KEY-"
_SECRET_LENGTH = 74
_SECRET_START = re.compile(rf"(?={_SECRET_PREFIX}1)")
# What phones and word processors make of a hyphen.
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_MAX_KEY_FILE_BYTES = 1_000_000
# Longer headers than they make are not read either: see backups/encryption.py.
_MAX_RECIPIENTS = 100


def parse_recipients(texts: Sequence[str]) -> tuple[Recipient, ...]:
    """Public keys, `age1...`. Raises: InvalidInputError, which repeats none of them: one may be secret."""
    if len(texts) > _MAX_RECIPIENTS:
        raise InvalidInputError(
            f"{len(texts)} public keys are too many: {_MAX_RECIPIENTS} can be given.", code="key_invalid"
        )
    recipients = []
    for number, text in enumerate(texts, 1):
        if _SECRET_PREFIX in text.upper():
            raise InvalidInputError(
                f"Key number {number} is a secret key. Public keys belong here: they begin with age1.",
                hint="Who has the secret key can read every backup: take it off this machine, and out of the "
                "history of whatever it was typed into. Its file has the public key in a comment.",
                code="key_is_secret",
            )
        try:
            recipients.append(Recipient.from_str(text))
        except RecipientError as error:
            raise InvalidInputError(
                f"Key number {number} is no public key of age: {error}.",
                hint="A public key is age1 and 58 letters and digits, as `fastcms backup keygen` prints it. "
                "Put spaces between several.",
                code="key_invalid",
            ) from error
    return tuple(recipients)


def check_public_keys(text: str) -> str:
    """The same text, if it holds nothing but public keys. Raises: ValueError."""
    try:
        parse_recipients(text.split())
    except InvalidInputError as error:
        raise ValueError(error.message) from error
    return text


def holds_secret_key(text: str) -> bool:
    """Whether a secret key stands in what somebody has typed, in whatever case."""
    return _SECRET_PREFIX in text.upper()


def check_key_path(path: Path | None) -> Path | None:
    """The same path, unless it is a secret key itself: it would be told wherever a file is named.

    Raises: ValueError, which does not repeat it.
    """
    if path is not None and holds_secret_key(str(path)):
        raise ValueError("This is the key itself; name its file.")
    return path


def read_identities(path: Path) -> tuple[Identity, ...]:
    """The secret keys in a file as age-keygen writes it. Raises: InvalidInputError, which repeats no key."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_KEY_FILE_BYTES).decode(errors="replace").splitlines()
    except OSError as error:
        raise InvalidInputError(
            f"The key file {path} cannot be read: {error.strerror}.",
            hint="Name the file that `fastcms backup keygen` wrote.",
            code="key_file_unreadable",
        ) from error
    return parse_identities(lines, f"The key file {path}")


def parse_identities(lines: Iterable[str], origin: str) -> tuple[Identity, ...]:
    """Secret keys, with comments, also as people type them: in small letters, with spaces, on two lines.

    Raises: InvalidInputError, which repeats no key.
    """
    bare = ["".join(line.removeprefix("\ufeff").split()) for line in lines]
    typed = "".join(line for line in bare if not line.startswith("#")).translate(_HYPHENS).upper()
    before, *keys = _SECRET_START.split(typed)
    if before or not keys:
        hint = (
            f"It has a line that begins with {_SECRET_PREFIX}1, as on the recovery sheet; lines with # "
            "before them are comments."
        )
        if typed.startswith("AGE1"):
            hint += " What begins with age1 is the public key, which opens nothing."
        raise InvalidInputError(
            f"{origin} holds no secret key of age, or something else beside it.",
            hint=hint,
            code="key_file_invalid",
        )
    return tuple(
        _parse_identity(key, origin, f"secret key number {number}" if len(keys) > 1 else "secret key")
        for number, key in enumerate(keys, 1)
    )


def _parse_identity(key: str, origin: str, name: str) -> Identity:
    try:
        return Identity.from_str(key)
    except IdentityError:
        what = "a character is wrong"
        if len(key) != _SECRET_LENGTH:
            what = f"it has {len(key)} characters instead of {_SECRET_LENGTH}"
        raise InvalidInputError(
            f"{origin} has a {name} that is mistyped: {what}.",
            hint="Compare it with the recovery sheet or the key file, character by character. "
            f"After {_SECRET_PREFIX}1 there is no B, I, O or 1 in it: it may be an 8, an L, a 0 or a 7.",
            code="key_file_invalid",
        ) from None  # which may repeat the key one day


def describe_key_file(identity: Identity, created: datetime) -> str:
    """A key file as age-keygen writes it."""
    return f"# created: {created:%Y-%m-%dT%H:%M:%SZ}\n# public key: {identity.to_public()}\n{identity}\n"


def is_readable_by_others(path: Path) -> bool:
    """Whether somebody else on this machine could read a key file."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
