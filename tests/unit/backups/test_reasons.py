"""Each reason why a site may not be safe, from what was found out, and only then."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fastcms.backups.backup_notes import Notes
from fastcms.backups.backup_settings import BackupSettings, read_settings
from fastcms.backups.creation import RESTORE_REFUSED
from fastcms.backups.elsewhere import DestinationState, Elsewhere, FailedCopy
from fastcms.backups.engine.pending import RestoreReceipt
from fastcms.backups.job_files import Trigger
from fastcms.backups.reasons import Facts, Failure, Reason, find_reasons
from fastcms.backups.schemas import Backup
from fastcms.backups.storage import Disk, Storage, StorageLevel
from fastcms.config import Settings
from fastcms.site import new_site
from tests.e2e.conftest import REPOSITORY

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def backup_settings(settings: Settings) -> BackupSettings:
    return read_settings(new_site(settings))


def backup(age: timedelta = 10 * HOUR, **noted: Any) -> Backup:
    created = NOW - age
    filename = f"backup_{created:%Y%m%d_%H%M%S}.zip"
    return Backup(filename, 1000, created, f"data/backups/{filename}", notes=Notes(filename, **noted))


def verified(ago: timedelta, outcome: str = "ok", level: str = "light") -> dict[str, Any]:
    return {
        "verified": (NOW - ago).isoformat(),
        "verified_outcome": outcome,
        "verified_level": level,
        "verified_reason": "A byte differs.",
    }


def failure(*, is_current: bool = True) -> Failure:
    return Failure(
        time=NOW - HOUR,
        trigger=Trigger.SCHEDULED,
        requested_by="schedule",
        reason="The disk is full.",
        hint="Make space.",
        code="not_enough_space",
        is_current=is_current,
    )


def storage(level: StorageLevel) -> Storage:
    return Storage(
        level=level,
        reason=None if level is StorageLevel.OK else "Little is free.",
        hint=None if level is StorageLevel.OK else "Make space.",
        disk=Disk(folder="data/backups", total_bytes=2, free_bytes=1),
        other_disks=[],
        backups=1,
        backups_bytes=1,
        safety_copy_bytes=0,
        database_bytes=1,
        files_bytes=1,
        next_backup_bytes=1,
        growth_bytes_per_day=None,
        full_on=None,
    )


def receipt(outcome: str, ago: timedelta) -> RestoreReceipt:
    finished = (NOW - ago).isoformat(timespec="seconds")
    return RestoreReceipt("1", "backup_x.zip", "me", finished, finished, outcome, "It does not open.")


def schedule(expression: str) -> dict[str, Any]:
    return {"schedule": expression}


FINE = backup()
SOUND = backup(**verified(HOUR))


def elsewhere(problem: str | None = None, uncopied: timedelta | None = None, **found: Any) -> dict[str, Any]:
    """One destination, as it was found."""
    nothing: dict[str, Any] = dict.fromkeys(DestinationState.model_fields)
    counts = {"copied": 1, "copied_bytes": 1000, "waiting": 0, "failed": 0, "others": 0}
    state = DestinationState.model_construct(
        **nothing | counts | {"id": "1a2b3c4d", "place": "file:///far", "needs_somebody": False} | found
    )
    since = None if uncopied is None else NOW - uncopied
    return {"elsewhere": Elsewhere(destinations=[state], problem=problem, uncopied_since=since, hint=None)}


def failed_copy(*, needs_somebody: bool) -> FailedCopy:
    return FailedCopy(
        filename="backup_20260630_020000.zip",
        reason="The disk is full.",
        hint="Make space.",
        code="store_full",
        needs_somebody=needs_somebody,
        next_try=None,
    )


AWAY: dict[str, Any] = {"reason": "No connection.", "hint": "Wait."}

CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "copies elsewhere": (elsewhere(uncopied=5 * HOUR), set()),
    "a destination that makes no sense": (elsewhere("Number 2 is none."), {"destination_invalid"}),
    "one that is away": (elsewhere(failing_since=NOW - HOUR, **AWAY), {"copy_failed"}),
    "one that is away for days": (
        elsewhere(failing_since=NOW - 2 * DAY, **AWAY),
        {"destination_unreachable"},
    ),
    "one that refuses": (
        elsewhere(failing_since=NOW - HOUR, **AWAY | {"needs_somebody": True}),
        {"copy_refused"},
    ),
    "a copy that failed": (elsewhere(failed_copy=failed_copy(needs_somebody=False)), {"copy_failed"}),
    "a copy that was refused": (elsewhere(failed_copy=failed_copy(needs_somebody=True)), {"copy_refused"}),
    "no copy for days": (elsewhere(uncopied=2 * DAY), {"copy_missing"}),
    "none in one of the places for days": (elsewhere(uncopied_since=NOW - 2 * DAY), {"copy_missing"}),
    "none in one of the places for hours": (elsewhere(uncopied_since=NOW - 5 * HOUR), set()),
    "none in a place that is away for days": (
        elsewhere(uncopied_since=NOW - 2 * DAY, failing_since=NOW - 2 * DAY, **AWAY),
        {"destination_unreachable"},
    ),
    "copies that are gone": (elsewhere(lost=2, newest_lost="backup_1.zip"), {"copies_lost"}),
    "copies that could not be removed": (elsewhere(prune_error="Not all."), {"copies_not_removed"}),
    "nothing at all": ({"backups": ()}, set()),
    "a new backup": ({}, set()),
    "backups that are gone": ({"backups": (), "has_made_any": True}, {"backups_gone"}),
    "old ones that could not be removed": ({"prune_error": "Permission denied."}, {"prune_failed"}),
    "a backup that failed": ({"failure": failure()}, {"backup_failed"}),
    "a failure that is over": ({"failure": failure(is_current=False)}, set()),
    "one that is due": ({"overdue_since": NOW - DAY}, {"backup_overdue"}),
    "an old one": ({"backups": [backup(9 * DAY)]}, {"backup_old"}),
    "one of this week": ({"backups": [backup(7 * DAY)]}, set()),
    "an old one, as the schedule wants it": (
        {"backups": [backup(29 * DAY)], "settings": schedule("0 2 1 * *")},
        set(),
    ),
    "one that is too old for a monthly schedule": (
        {"backups": [backup(61 * DAY)], "settings": schedule("0 2 1 * *")},
        {"backup_old", "verification_old"},
    ),
    "an old one without a schedule": (
        {"backups": [backup(9 * DAY)], "settings": schedule("off")},
        {"backup_old", "schedule_off"},
    ),
    "no schedule": ({"settings": schedule("off")}, {"schedule_off"}),
    "a damaged one": ({"damage": "It is cut off."}, {"newest_backup_damaged"}),
    "lost uploads": ({"problems": ["files/a is missing"], "problem_count": 1}, {"newest_backup_incomplete"}),
    "a strange database": (
        {"problems": [f"{RESTORE_REFUSED} A trigger."], "problem_count": 1},
        {"newest_backup_refused"},
    ),
    "both": (
        {"problems": [f"{RESTORE_REFUSED} A trigger.", "files/a is missing"], "problem_count": 2},
        {"newest_backup_refused", "newest_backup_incomplete"},
    ),
    "the newest did not pass": ({"backups": [backup(**verified(HOUR, "failed"))]}, {"verification_failed"}),
    "an older one did not pass lately": (
        {"backups": [FINE, backup(2 * DAY, **verified(HOUR, "failed"))]},
        {"verification_failed"},
    ),
    "an older one did not pass, the newest did since": (
        {"backups": [SOUND, backup(2 * DAY, **verified(DAY, "failed"))]},
        {"damaged_backup_kept"},
    ),
    "never restored as a test": ({"backups": [SOUND, backup(46 * DAY)]}, {"verification_old"}),
    "not restored as a test for long": (
        {"backups": [SOUND, backup(50 * DAY, **verified(46 * DAY, level="full"))]},
        {"verification_old"},
    ),
    "restored as a test last month": (
        {"backups": [SOUND, backup(50 * DAY, **verified(44 * DAY, level="full"))]},
        set(),
    ),
    "enough space": ({"storage": storage(StorageLevel.OK)}, set()),
    "little space": ({"storage": storage(StorageLevel.WARNING)}, {"space_low"}),
    "no space": ({"storage": storage(StorageLevel.CRITICAL)}, {"space_critical"}),
    "spoilt settings": ({"settings_problem": "settings.json cannot be read."}, {"settings_unreadable"}),
    "nobody told": ({"undelivered": "No answer."}, {"notification_failed"}),
    "a restore": ({"latest_restore": receipt("restored", HOUR)}, set()),
    "a restore that failed": ({"latest_restore": receipt("rolled_back", DAY)}, {"restore_failed_lately"}),
    "a restore that failed long ago": ({"latest_restore": receipt("rolled_back", 8 * DAY)}, set()),
    "a damaged history": ({"damaged_history": Path("history.db.damaged")}, {"history_begun_anew"}),
    "a clock that was wrong": ({"future": [backup(-2 * DAY)]}, {"backup_from_the_future"}),
}


def reasons(settings: BackupSettings, facts: dict[str, Any]) -> list[Reason]:
    changed = {"settings": settings.model_copy(update=facts.get("settings", {}))}
    found: dict[str, Any] = {"now": NOW, "backups": [FINE]} | facts | changed
    return find_reasons(Facts(**found))


@pytest.mark.parametrize("name", CASES)
def test_each_reason_is_found_and_no_other(backup_settings: BackupSettings, name: str) -> None:
    facts, expected = CASES[name]
    found = reasons(backup_settings, facts)
    assert {reason.code for reason in found} == expected
    assert all(reason.message and reason.hint for reason in found)


def test_the_serious_reasons_come_first(backup_settings: BackupSettings) -> None:
    facts = {
        "settings": schedule("off"),
        "storage": storage(StorageLevel.WARNING),
        "failure": failure(),
    }
    found = reasons(backup_settings, facts)
    assert [reason.code for reason in found] == ["backup_failed", "space_low", "schedule_off"]


def test_a_backup_of_the_future_is_serious_when_there_is_no_other(backup_settings: BackupSettings) -> None:
    facts = {"backups": (), "future": [backup(-2 * DAY)], "has_made_any": True}
    (reason,) = reasons(backup_settings, facts)
    assert reason.level == "attention"


def test_every_reason_is_documented() -> None:
    page = (REPOSITORY / "docs/backup-restore.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \| (?:attention|warning) \|", page, re.MULTILINE))
    assert documented == {code for _, expected in CASES.values() for code in expected} | {"cannot_look"}


@pytest.mark.parametrize("failing_since", [NOW - HOUR, NOW - 2 * DAY])
def test_an_address_is_told_once(backup_settings: BackupSettings, failing_since: datetime) -> None:
    away: dict[str, Any] = {
        "failing_since": failing_since,
        "reason": "file:///far cannot be reached.",
        "hint": "Wait.",
    }
    for failed in (None, failed_copy(needs_somebody=False)):
        (reason,) = reasons(backup_settings, elsewhere(failed_copy=failed, **away))
        assert reason.message.count("file:///far") == 1
