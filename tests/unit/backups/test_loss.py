"""What is said before a backup is deleted."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fastcms.backups.backup_notes import Notes
from fastcms.backups.loss import LossCode, find_losses
from fastcms.backups.schemas import Backup, BackupKind

_SOUND: dict[str, Any] = {"verified": "2026-11-20T03:00:00Z", "verified_outcome": "ok"}


def backup_of(day: str, kind: BackupKind = BackupKind.MANUAL, **notes: Any) -> Backup:
    created = datetime.fromisoformat(f"{day}T02:00:00").replace(tzinfo=UTC)
    filename = f"backup_{created:%Y%m%d_%H%M%S}.zip"
    return Backup(filename, 1000, created, f"/data/{filename}", kind, notes=Notes(filename, **notes))


def codes(backup: Backup, *others: Backup) -> set[LossCode]:
    return {reason.code for reason in find_losses(backup, others)}


def test_the_only_backup_is_named_as_that() -> None:
    assert codes(backup_of("2026-11-20", **_SOUND)) == {LossCode.ONLY_BACKUP}


def test_one_from_another_machine_does_not_stand_for_this_site() -> None:
    uploaded = backup_of("2026-11-21", BackupKind.UPLOADED)
    assert codes(backup_of("2026-11-20"), uploaded) == {LossCode.ONLY_BACKUP}
    assert codes(uploaded, backup_of("2026-11-20")) == {LossCode.UPLOADED}


def test_the_newest_says_how_old_the_next_one_is() -> None:
    (reason,) = find_losses(backup_of("2026-11-20"), [backup_of("2026-11-17"), backup_of("2026-11-01")])
    assert reason.code is LossCode.NEWEST
    assert "3 days older" in reason.message


def test_the_oldest_says_from_when_on_there_are_others() -> None:
    (reason,) = find_losses(backup_of("2026-10-01"), [backup_of("2026-11-20"), backup_of("2026-11-07")])
    assert reason.code is LossCode.OLDEST
    assert "7 November 2026" in reason.message


@pytest.mark.parametrize(
    ("other", "expected"), [("2026-10-02", set()), ("2026-09-02", {LossCode.ONLY_OF_MONTH})]
)
def test_the_only_one_of_a_month_is_named_as_that(other: str, expected: set[LossCode]) -> None:
    others = [backup_of("2026-11-20"), backup_of(other), backup_of("2026-08-01")]
    assert codes(backup_of("2026-10-10"), *others) == expected


def test_the_only_verified_one_is_named_as_that() -> None:
    others = [backup_of("2026-11-20"), backup_of("2026-11-01", verified_outcome="failed")]
    sound = backup_of("2026-11-10", **_SOUND)
    assert codes(sound, *others) == {LossCode.ONLY_VERIFIED}
    assert codes(sound, *others, backup_of("2026-11-02", **_SOUND)) == set()


def test_the_only_one_that_was_restored_as_a_test_is_named_as_that() -> None:
    full, light = _SOUND | {"verified_level": "full"}, _SOUND | {"verified_level": "light"}
    others = [backup_of("2026-11-20", **light), backup_of("2026-11-01")]
    assert codes(backup_of("2026-11-10", **full), *others) == {LossCode.ONLY_RESTORED}
    assert codes(backup_of("2026-11-10", **light), *others) == set()


def test_a_pinned_one_says_who_wants_it_kept() -> None:
    pinned = backup_of("2026-11-10", pinned="2026-11-11T00:00:00Z", pinned_by="anna@example.com")
    (reason,) = find_losses(pinned, [backup_of("2026-11-20"), backup_of("2026-11-01")])
    assert reason.code is LossCode.PINNED
    assert "anna@example.com wants it kept" in reason.message
