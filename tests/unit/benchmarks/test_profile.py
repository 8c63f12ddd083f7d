"""How stacks of the profiler are told apart."""

import pytest

from benchmarks.measurements.profile import share_of_kinds


@pytest.mark.parametrize(
    ("stack", "kind"),
    [
        ("run (a.py:1);sync (durability.py:58);fsync (libc.so.6)", "disk: waiting for fsync"),
        ("run (a.py:1);unixSync (sqlite3.c:1);fdatasync (libc.so.6)", "disk: waiting for fsync"),
        ("run (a.py:1);unixRead (sqlite3.c:43747);pread64 (libc.so.6)", "SQLite"),
        ("run (a.py:1);write (libc.so.6)", "disk: reading, writing and naming files"),
        (
            "run (a.py:1);os_writev (libpython3.11.so);0x7f (libc.so.6)",
            "disk: reading, writing and naming files",
        ),
        ("run (a.py:1);deflate (libz.so.1.2.13);0x7f (libz.so.1.2.13)", "compression and CRC-32"),
        ("run (a.py:1);0x7f (isal/isal_zlib.cpython-311.so)", "compression and CRC-32"),
        ("run (a.py:1);EVP_DigestUpdate (libcrypto.so.3)", "SHA-256"),
        (
            "main (a.py:1);_load (<frozen importlib._bootstrap>:690);read (libc.so.6)",
            "starting and ending Python",
        ),
        ("0x7f (libc.so.6);gc_collect_main (libpython3.11.so)", "starting and ending Python"),
        ("run (sqlalchemy/sql/selectable.py:1)", "Python and the rest"),
    ],
)
def test_each_stack_belongs_to_one_kind(stack: str, kind: str) -> None:
    assert share_of_kinds(f"process 1:python;{stack} 7\n") == {kind: 1}


def test_threads_that_wait_for_each_other_do_not_count() -> None:
    stacks = (
        "wait (threading.py:331);PyThread_acquire_lock_timed (libpython3.11.so) 900\n"
        "run (selectors.py:468);epoll_wait (libc.so.6) 900\n"
        "run (a.py:1);write (libc.so.6) 30\n"
        "run (a.py:1);loop (b.py:2) 10\n"
    )
    assert share_of_kinds(stacks) == {
        "disk: reading, writing and naming files": 0.75,
        "Python and the rest": 0.25,
    }
