"""Keys of age (https://age-encryption.org): a public key encrypts backups, only its secret key opens them.

Keys are X25519's and nothing newer: what leaves the machine must open with the age that any Linux has.
"""

import stat
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pyrage import IdentityError, RecipientError
from pyrage.x25519 import Identity, Recipient

from fastcms.errors import InvalidInputError

_SECRET_PREFIX = "AGE-SECRET-KEY-"
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
    """Secret keys, one a line, with comments. Raises: InvalidInputError, which repeats no key."""
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    try:
        identities = tuple(Identity.from_str(key) for key in keys)
    except IdentityError:
        identities = ()
    if not identities:
        raise InvalidInputError(
            f"{origin} holds no secret key of age, or something else beside it.",
            hint=f"It has a line that begins with {_SECRET_PREFIX}1; lines with # before them are comments.",
            code="key_file_invalid",
        )
    return identities


def describe_key_file(identity: Identity, created: datetime) -> str:
    """A key file as age-keygen writes it."""
    return f"# created: {created:%Y-%m-%dT%H:%M:%SZ}\n# public key: {identity.to_public()}\n{identity}\n"


def is_readable_by_others(path: Path) -> bool:
    """Whether somebody else on this machine could read a key file."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
