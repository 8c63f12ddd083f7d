"""How long work tells how far it is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    phase: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """For callers who do not watch."""
