"""Passwords are hashed a few at a time."""

import subprocess
import sys

from tests.e2e.conftest import REPOSITORY

_MANY_AT_ONCE = """
import resource
from concurrent.futures import ThreadPoolExecutor
from fastcms.accounts.passwords import hash_password, is_password_right

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
known = hash_password("a long password")
with ThreadPoolExecutor(16) as pool:
    right = list(pool.map(lambda word: is_password_right(known, word), ["a long password", "wrong"] * 8))
assert right == [True, False] * 8
assert known.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # RFC 9106, for memory that is limited
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_many_logins_at_once_take_the_memory_of_a_few() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MANY_AT_ONCE], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4 * 64
