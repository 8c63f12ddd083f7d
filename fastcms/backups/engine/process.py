"""Run work of the engine in a process of its own, at low priority: whoever uses the site does not wait.

The two processes talk over a pipe. What the work calls is called in the parent's thread that waits for it,
and what that raises is raised in the work. The child ends when its parent does, however that ends.
"""

import gc
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any, TypeVar

from fastcms.errors import BackupError

Result = TypeVar("Result")

_NICENESS = 19
# Buffers of megabytes are used again: glibc would give each back to the kernel, which clears every page anew.
# It halves the kernel's share of a backup. Source: https://man7.org/linux/man-pages/man3/mallopt.3.html
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2), "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2)}


def run_apart(function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """Call a function in another process; callables among the named arguments are called in this one.

    Returns: what it returns. Raises: what it, or what it calls, raises; BackupError when the process dies.
    """
    callbacks = {name: value for name, value in named.items() if callable(value)}
    values = {name: value for name, value in named.items() if name not in callbacks}
    here, there = Pipe()
    with here, _start(there) as process:
        there.close()
        try:
            here.send((function, arguments, values, list(callbacks)))
            name, content = here.recv()
            while name is not None:
                here.send(_call(callbacks[name], content))
                name, content = here.recv()
        except (EOFError, ConnectionError) as error:
            raise _explain(process.wait()) from error
        except BaseException:
            process.kill()
            raise
        # Not above: an error of the work may be of the same kind as one of the pipe.
        result: Result = _unwrap(content)
        return result


def call_by_name(name: str, *arguments: Any, **named: Any) -> Any:
    """Call `module:function`: whoever wants to run apart what it must not import names it."""
    gc.disable()  # while it is imported, none of which is ever garbage
    function = pkgutil.resolve_name(name)
    gc.freeze()
    gc.enable()
    return function(*arguments, **named)


def _start(there: Connection) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-P", "-m", __name__, str(there.fileno())],
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
        # "" is the working directory, where `uvicorn app.main:app` may have found us.
        env=os.environ | _MALLOC | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},  # noqa: PTH109
        # A Ctrl+C is the parent's. Not a new session: where the kernel gives each its share of the cores, low
        # priority would mean nothing (https://man7.org/linux/man-pages/man7/sched.7.html, autogroup).
        process_group=0,
    )


def _call(function: Callable[..., Any], arguments: Any) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - it is raised in the other process
        error.add_note(traceback.format_exc())  # which a pickled error loses
        return None, error


def _unwrap(answer: tuple[Any, Exception | None]) -> Any:
    result, error = answer
    if error is not None:
        raise error
    return result


def _explain(return_code: int) -> BackupError:
    reason = f"by {signal.Signals(-return_code).name}" if return_code < 0 else f"with code {return_code}"
    return BackupError(
        f"The process that did the work was ended {reason}.",
        hint="If nobody has ended it, the machine may have run out of memory; look into the system's log.",
        code="process_ended",
    )


class _Parent:
    """The parent, as the work sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._answers: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()

    def listen(self) -> None:
        try:
            while True:
                self._answers.put(self._connection.recv())
        finally:  # the parent has ended, or sends what cannot be read: nobody must wait for it
            os._exit(1)

    def call(self, name: str, *arguments: Any) -> Any:
        with self._lock:  # the work may have several threads
            self._connection.send((name, arguments))
            return _unwrap(self._answers.get())


def _work(connection: Connection) -> None:
    os.nice(_NICENESS)
    function, arguments, values, callback_names = connection.recv()
    parent = _Parent(connection)
    threading.Thread(target=parent.listen, daemon=True).start()

    def callback(name: str) -> Callable[..., Any]:
        return lambda *given: parent.call(name, *given)

    callbacks = {name: callback(name) for name in callback_names}
    connection.send((None, _call(lambda: function(*arguments, **values, **callbacks), ())))
    os._exit(0)  # at once: the interpreter's own end would meet the thread that listens


if __name__ == "__main__":
    _work(Connection(int(sys.argv[1])))
