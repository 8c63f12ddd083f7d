"""The list of attacks, each with the code that refuses it."""

from collections.abc import Callable

from tests.hostile.grafting import Graft

Attack = Callable[[Graft], bytes | None]
ATTACKS: list[tuple[str, Attack]] = []


def attack(code: str) -> Callable[[Attack], Attack]:
    """Register an attack, which changes its graft, or returns the archive's bytes."""

    def register(function: Attack) -> Attack:
        ATTACKS.append((code, function))
        return function

    return register
