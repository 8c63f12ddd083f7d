"""Hash passwords: slowly on purpose, and never many at once."""

import secrets
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
# Each takes 64 MiB: strangers who log in on all 40 threads of a worker would otherwise fill 2.6 GB.
_turns = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    with _turns:
        return _hasher.hash(password)


def is_password_right(password_hash: str | None, password: str) -> bool:
    """Compare a password with its hash; None, for an account that does not exist, takes equally long."""
    expected = password_hash or _nobodys_hash()
    try:
        with _turns:
            return _hasher.verify(expected, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return hash_password(secrets.token_urlsafe())
