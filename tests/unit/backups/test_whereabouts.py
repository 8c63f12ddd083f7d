"""What is said of the places where copies are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastcms.backups.copies import Checked, Copy, CopyState
from fastcms.backups.elsewhere import DestinationState, Elsewhere, NewestCopy
from fastcms.backups.loss import LossCode, find_losses
from fastcms.backups.overview import say_copied
from fastcms.backups.schemas import Backup
from fastcms.backups.status import Success
from fastcms.backups.whereabouts import AtPlace, join_words, label_places, say_fetchable
from fastcms.database import utc_now

NAME = "backup_20261123_020000.zip"


def at(
    label: str,
    state: CopyState | None,
    *,
    is_destination: bool = True,
    is_encrypted: bool = False,
    checked: Checked | None = Checked.READ_BACK,
) -> AtPlace:
    copy = Copy(NAME, label, label, state or "", "2026-11-23T02:00:07Z", NAME, is_encrypted, checked=checked)
    return AtPlace(label, label, is_destination, state, copy if state else None)


def destination(place: str, newest: datetime | None, *, is_encrypted: bool = False) -> DestinationState:
    values: dict[str, Any] = dict.fromkeys(DestinationState.model_fields)
    copy = newest and NewestCopy(
        filename=NAME,
        created=newest,
        since=utc_now() - timedelta(minutes=5),
        is_encrypted=is_encrypted,
        checked=None,
    )
    return DestinationState.model_construct(**values | {"id": place, "place": place, "newest_copy": copy})


def said(*destinations: DestinationState, problem: str | None = None, newest: bool = True) -> str:
    created = datetime(2026, 11, 23, 2, tzinfo=UTC)
    success = Success(filename=NAME, created=created, size_bytes=1, seconds=None, problems=[])
    elsewhere = Elsewhere(destinations=[], problem=problem, uncopied_since=None, hint=None)
    return say_copied(
        elsewhere.model_copy(update={"destinations": list(destinations)}), success if newest else None
    )


def test_places_are_called_by_what_people_know_of_them() -> None:
    assert label_places(["file:///mnt/nas", "s3://b/site?endpoint=https://s3.example.com"]) == {
        "file:///mnt/nas": "/mnt/nas",
        "s3://b/site?endpoint=https://s3.example.com": "s3://b/site",
    }


def test_two_of_the_same_name_say_which_is_which() -> None:
    alike = ["s3://b", "s3://b?endpoint=http://10.0.0.2:8333", "az://b?account=club", "az://b?account=town"]
    assert list(label_places(alike).values()) == [
        "s3://b at the usual server",
        "s3://b at 10.0.0.2:8333",
        "az://b at club",
        "az://b at town",
    ]


def test_words_are_joined_as_people_do() -> None:
    assert [join_words(list("abc"[:count])) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_only_a_copy_that_is_there_can_be_fetched_again() -> None:
    waiting, former = at("/b", CopyState.WAITING), at("/c", CopyState.COPIED, is_destination=False)
    assert say_fetchable([waiting, former, at("/d", None)]) is None
    assert say_fetchable([at("/a", CopyState.COPIED, checked=None)]) is None
    found = say_fetchable([at("/a", CopyState.COPIED), waiting])
    assert found == "It can be fetched again from /a."
    secret = say_fetchable([at("/a", CopyState.COPIED, is_encrypted=True)])
    assert secret is not None
    assert "needs the secret key" in secret


@pytest.mark.parametrize("state", [CopyState.WAITING, CopyState.COPYING, CopyState.FAILED])
def test_what_would_never_be_copied_is_a_loss(state: CopyState) -> None:
    created = datetime(2026, 11, 23, 2, tzinfo=UTC)
    backup = Backup(NAME, 1, created, f"/data/{NAME}")
    other = backup._replace(filename="backup_20261122_020000.zip", created=created - timedelta(days=1))

    def codes(*places: AtPlace) -> set[LossCode]:
        return {reason.code for reason in find_losses(backup, [other], places)} - {LossCode.NEWEST}

    assert codes(at("/a", state)) == {LossCode.NOT_COPIED}
    assert codes(at("/a", state), at("/b", CopyState.COPIED)) == set()
    assert codes(at("/a", None)) == set()


def test_a_line_says_where_the_newest_backup_is() -> None:
    newest = datetime(2026, 11, 23, 2, tzinfo=UTC)
    assert said() == "Every backup is on this machine only"
    assert said(problem="It is wrong.") == "No destination can be used"
    assert said(destination("file:///a", None)) == "No backup is copied yet"
    assert said(destination("file:///a", None), newest=False) == "There is nothing to copy yet"
    here, old = destination("file:///a", newest), destination("s3://b", newest - timedelta(days=2))
    assert said(here) == "Copied, not encrypted, to /a 5 minutes ago"
    secret = destination("s3://c", newest, is_encrypted=True)
    assert said(secret) == "Copied, encrypted, to s3://c 5 minutes ago"
    assert said(here, secret) == "Copied to /a (not encrypted) and s3://c (encrypted) 5 minutes ago"
    assert said(here, old) == "Copied, not encrypted, to /a 5 minutes ago, but not yet to s3://b"
    assert said(old).startswith("The newest one is not copied yet; at s3://b is the one made ")
