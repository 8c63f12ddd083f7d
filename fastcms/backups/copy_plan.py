"""Which backups are to be copied to a destination: computed from what is here and there, and nothing else."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from fastcms.backups.backup_notes import Notes, VerificationLevel, VerificationOutcome
from fastcms.backups.retention import Candidate, Decision, Policy, Reason, ReasonCode, decide
from fastcms.backups.schemas import Backup
from fastcms.backups.sending import longest_size
from fastcms.backups.service import CLOCKS_MAY_DIFFER, time_of


def find_wanted(
    own: Sequence[Backup],
    there: Mapping[str, int],
    policy: Policy,
    timezone: str,
    now: datetime,
    *,
    is_encrypted: bool,
) -> list[str]:
    """The backups of this machine that the destination's policy keeps, newest first; not damaged ones.

    `there` has the sizes of the copies that are there, by their backups' names. A copy that will be made
    counts with the most that it may take, so that it fits when it is there.
    """
    here = {
        backup.filename: backup
        for backup in own
        if backup.notes.verified_outcome != VerificationOutcome.FAILED or backup.filename in there
    }
    sizes = {
        name: longest_size(backup.size_bytes, is_encrypted=is_encrypted) for name, backup in here.items()
    }
    decisions = decide_there(here, sizes | dict(there), policy, timezone, now)
    return [decision.filename for decision in decisions if decision.keep and decision.filename in here]


def decide_there(
    here: Mapping[str, Backup],
    sizes: Mapping[str, int],
    policy: Policy,
    timezone: str,
    now: datetime,
    *,
    for_all: Sequence[Reason] = (),
    uses: Mapping[str, str] = MappingProxyType({}),
) -> list[Decision]:
    """What becomes of copies of these sizes, by their backups' names, newest first; `uses`: what for."""
    candidates = [
        _candidate(
            name,
            size_bytes,
            here.get(name),
            now,
            (*for_all, Reason(ReasonCode.IN_USE, uses[name])) if name in uses else for_all,
        )
        for name, size_bytes in sizes.items()
    ]
    return decide([found for found in candidates if found is not None], policy, timezone)


def _candidate(
    filename: str, size_bytes: int, backup: Backup | None, now: datetime, for_all: Sequence[Reason]
) -> Candidate | None:
    created = time_of(filename)
    if created is None:
        return None
    noted, protections = backup.notes if backup else Notes(filename), list(for_all)
    if noted.pinned is not None:
        protections.append(Reason(ReasonCode.PINNED, f"pinned by {noted.pinned_by}"))
    if created > now + CLOCKS_MAY_DIFFER:
        protections.append(Reason(ReasonCode.FUTURE, "dated in the future: the clock is wrong, or was"))
    return Candidate(
        filename,
        created,
        size_bytes,
        tuple(protections),
        None if noted.verified_outcome is None else noted.verified_outcome == VerificationOutcome.OK,
        noted.verified_level == VerificationLevel.FULL,
    )
