"""What the code that answers a request or command tells about it, for whoever keeps a log of actions.

Anybody may `note`; nothing becomes of it unless somebody has begun to take notes. They are shared with the
threads that a request works in, but not with work that goes on after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)


@contextmanager
def taking_notes() -> Iterator[dict[str, Any]]:
    """Collect what is noted from here on."""
    notes: dict[str, Any] = {}
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def note(**known: Any) -> None:
    """Say what the action is about, under the names that its sentence has, or who is at it."""
    notes = _notes.get()
    if notes is not None:
        notes.update(known)


def count_one(name: str) -> None:
    """Say that one more of the action's many things is done."""
    notes = _notes.get()
    if notes is not None:
        notes[name] = notes.get(name, 0) + 1
