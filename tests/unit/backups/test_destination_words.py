"""How a destination is, in words: the worst that is known of it comes first."""

from datetime import timedelta
from typing import Any

import pytest

from fastcms.backups.destination_words import Level, describe_destination, describe_policy
from fastcms.backups.destinations import DestinationSource
from fastcms.backups.elsewhere import DestinationState
from fastcms.backups.retention import Policy
from fastcms.database import utc_now

NOW = utc_now()


def state_of(**changes: Any) -> DestinationState:
    nothing = dict.fromkeys(DestinationState.model_fields)
    known = {
        "id": "1a2b3c4d",
        "place": "s3://bucket",
        "source": DestinationSource.ADDED,
        "has_stored_credentials": True,
        "reachable": True,
        "known_since": NOW,
        "needs_somebody": False,
    }
    counts = dict.fromkeys(("copied", "copied_bytes", "waiting", "failed", "others", "lost"), 0)
    return DestinationState.model_validate(nothing | known | counts | changes)


@pytest.mark.parametrize(
    ("changes", "level", "sentence"),
    [
        ({"copied": 3}, Level.OK, "It has every backup that belongs there"),
        ({}, Level.OK, "nothing to copy so far"),
        ({"copied": 3, "waiting": 1}, Level.RUNNING, "1 backup is still to be copied"),
        ({"waiting": 1200}, Level.RUNNING, "1,200 backups are still to be copied"),
        ({"waiting": 2, "failed": 1}, Level.WARNING, "a backup could not be copied"),
        ({"failed": 2}, Level.WARNING, "2 backups could not be copied"),
        ({"reachable": None, "failed": 2}, Level.WAITING, "within a minute"),
        (
            {"copied": 3, "waiting": 1, "uncopied_since": NOW - timedelta(hours=2)},
            Level.RUNNING,
            "1 backup is still to be copied",
        ),
        (
            {"copied": 3, "failed": 1, "uncopied_since": NOW - timedelta(days=2)},
            Level.ATTENTION,
            "no new backup came there for 2 days",
        ),
        ({"copied": 3, "lost": 1}, Level.WARNING, "copies are gone that were there"),
        ({"copied": 3, "prune_error": "Not all."}, Level.WARNING, "and superfluous ones"),
        ({"failing_since": NOW, "failed": 2}, Level.WARNING, "at the moment, and is tried again"),
        ({"failing_since": NOW, "needs_somebody": True}, Level.ATTENTION, "It cannot be used"),
        ({"failing_since": NOW - timedelta(days=2)}, Level.ATTENTION, "It cannot be used"),
    ],
)
def test_the_worst_that_is_known_is_told(changes: dict[str, Any], level: Level, sentence: str) -> None:
    words = describe_destination(state_of(**changes))
    assert words.level is level
    assert words.sentence.endswith(sentence)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(), "everything"),
        (Policy(max_total_size=50_000_000_000), "everything; at most 50.0 GB"),
        (Policy(keep_last=1), "the newest one"),
        (
            Policy(keep_last=7, keep_daily=30, keep_monthly=1),
            "the newest 7; one a day for 30 days; one a month for 1 month",
        ),
    ],
)
def test_what_stays_there_is_told_as_the_rules_have_it(policy: Policy, words: str) -> None:
    assert describe_policy(policy) == words
