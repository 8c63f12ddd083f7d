"""Work in a process of its own. The functions below are found there by this module's name."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcms.backups.engine.process import run_apart
from fastcms.errors import BackupError, CorruptArchiveError

_NAME = "tests.unit.backups.engine.test_process"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest imports tests by their paths; the other process knows this one by its name."""
    module = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, _NAME, module)
    for function in (OddError, add, groups, fail, ask, ask_in_threads, die, wait_for_ever):
        monkeypatch.setattr(function, "__module__", _NAME)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[4]), *sys.path])


class OddError(Exception):
    """Cannot be read from a pickle, which has only the arguments of Exception."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def add(one: int, other: int, *, third: int) -> tuple[int, int, int]:
    return one + other + third, os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)


def groups() -> tuple[int, int]:
    return os.getsid(0), os.getpgrp()


def fail(path: Path) -> None:
    raise CorruptArchiveError(f"{path} is damaged.", hint="Take another one.", code="archive_crc")


def ask(*, on_question: Callable[[str], int]) -> int:
    return on_question("one") + on_question("two")


def ask_in_threads(*, on_question: Callable[[int], int]) -> list[int]:
    answers: dict[int, int] = {}

    def ask_one(number: int) -> None:
        for _ in range(20):
            answers[number] = on_question(number)

    threads = [threading.Thread(target=ask_one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(8)]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(*, on_start: Callable[[int], None]) -> None:
    on_start(os.getpid())
    while True:
        time.sleep(60)


def test_a_function_is_called_in_another_process_of_low_priority() -> None:
    result, pid, niceness = run_apart(add, 1, 2, third=3)
    assert result == 6
    assert pid != os.getpid()
    assert niceness == 19


def test_low_priority_counts_in_the_session_of_the_parent_whose_interrupts_stay_away() -> None:
    session, group = run_apart(groups)
    assert session == os.getsid(0)
    assert group != os.getpgrp()


def test_the_process_finds_what_this_one_found_in_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parents[4])
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != str(Path.cwd()))])
    assert run_apart(add, 1, 2, third=3)[0] == 6


def test_an_error_of_the_work_arrives_whole() -> None:
    with pytest.raises(CorruptArchiveError, match=r"a\.zip is damaged") as caught:
        run_apart(fail, Path("a.zip"))
    assert (caught.value.hint, caught.value.code) == ("Take another one.", "archive_crc")
    assert "in fail" in "".join(caught.value.__notes__)


def test_what_the_work_calls_is_called_here() -> None:
    asked: list[tuple[str, int]] = []

    def answer(question: str) -> int:
        asked.append((question, os.getpid()))
        return len(question)

    assert run_apart(ask, on_question=answer) == 6
    assert asked == [("one", os.getpid()), ("two", os.getpid())]


def test_each_thread_of_the_work_gets_its_own_answers() -> None:
    assert run_apart(ask_in_threads, on_question=lambda number: number * 10) == list(range(0, 80, 10))


def test_what_is_raised_here_ends_the_work() -> None:
    def refuse(_question: str) -> int:
        raise BackupError("Nobody answers.", code="no_answer")

    with pytest.raises(BackupError, match=r"Nobody answers\.") as caught:
        run_apart(ask, on_question=refuse)
    assert caught.value.code == "no_answer"


def test_an_error_raised_here_that_the_work_cannot_read_ends_it() -> None:
    def refuse(_question: str) -> int:
        raise OddError("one", "other")

    with pytest.raises(BackupError, match="was ended with code 1"):
        run_apart(ask, on_question=refuse)


def test_a_process_that_is_killed_is_an_error_that_says_so() -> None:
    with pytest.raises(BackupError, match="was ended by SIGKILL") as caught:
        run_apart(die)
    assert caught.value.code == "process_ended"


def test_a_keyboard_interrupt_here_ends_the_process() -> None:
    pids: list[int] = []

    def interrupt(pid: int) -> None:
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_apart(wait_for_ever, on_start=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


_PARENT = f"""
from {_NAME} import wait_for_ever
from fastcms.backups.engine.process import run_apart
run_apart(wait_for_ever, on_start=lambda pid: print(pid, flush=True))
"""


def test_the_process_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=Path(__file__).parents[4], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.02)
