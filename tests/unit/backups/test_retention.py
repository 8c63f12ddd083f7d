"""Which backups stay: what holds for all policies and backups, and the days on which clocks change."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcms.backups.retention import (
    Candidate,
    Decision,
    Policy,
    Reason,
    ReasonCode,
    decide,
    find_excess_bytes,
)

BERLIN = "Europe/Berlin"
# Half an hour of summer time; a clock that went back from the first minute of a day; a day that never was.
ZONES = st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"])
PINNED = Reason(ReasonCode.PINNED, "pinned by somebody")
UPLOADED = Reason(ReasonCode.UPLOADED, "brought from another machine")
FUTURE = Reason(ReasonCode.FUTURE, "dated in the future")
DEFAULT = Policy(keep_last=3, keep_daily=7, keep_weekly=4, keep_monthly=12)
RULES = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
CODES = dict(zip(RULES, ("last", "daily", "weekly", "monthly", "yearly"), strict=True))
# The clock of St. John's went back from 0:01 until 2011, and Apia lost a day in that year.
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)

policies = st.builds(Policy, **dict.fromkeys(RULES, st.integers(0, 5)))
limited = st.builds(
    Policy, **dict.fromkeys(RULES, st.integers(0, 5)), max_total_size=st.none() | st.integers(1, 300)
)
# Minutes or months apart.
times = st.builds(
    lambda days, minutes: EARLIEST + timedelta(days=days, minutes=minutes),
    st.one_of(st.integers(0, 20), st.integers(0, 1500)),
    st.integers(0, 1439),
)
candidates = st.builds(
    lambda created, **given: Candidate(f"backup_{created:%Y%m%d_%H%M%S}.zip", created, **given),
    times,
    size_bytes=st.integers(0, 100),
    protections=st.sampled_from([(), (), (), (), (PINNED,), (UPLOADED,), (FUTURE,)]),
    is_sound=st.sampled_from([None, None, True, True, False]),
    is_proven=st.booleans(),
)
histories = st.lists(candidates, max_size=40, unique_by=lambda backup: backup.filename)
# Nothing but backups that were made here, of which nothing else is known.
plain_histories = st.lists(times, max_size=40, unique=True).map(lambda created: [*map(plain, created)])


def plain(created: datetime) -> Candidate:
    return Candidate(f"backup_{created:%Y%m%d_%H%M%S}.zip", created, 10)


def at(text: str, zone: str = "UTC") -> Candidate:
    return plain(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))


def kept(decisions: Iterable[Decision]) -> list[str]:
    return [decision.filename for decision in decisions if decision.keep]


def left(backups: list[Candidate], policy: Policy, zone: str) -> list[Candidate]:
    names = kept(decide(backups, policy, zone))
    return [backup for backup in backups if backup.filename in names]


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def newest_of(backups: Iterable[Candidate]) -> Candidate | None:
    return max(backups, key=lambda backup: backup.created, default=None)


def leaf_of(rule: str, moment: datetime) -> object:
    """The leaf of the calendar that shows a moment: one for each day, for each week and so on."""
    return {
        "keep_last": moment.timestamp(),
        "keep_daily": moment.date(),
        "keep_weekly": moment.date() - timedelta(days=moment.weekday()),
        "keep_monthly": moment.date().replace(day=1),
        "keep_yearly": moment.year,
    }[rule]


def oracle(backups: list[Candidate], policy: Policy, zone: str) -> set[str]:
    """The same rules, said in another way: a calendar with the newest backup on each of its leaves."""
    if policy == Policy():
        return {backup.filename for backup in backups}
    found: set[str] = set()
    for rule in RULES:
        leaves: dict[object, Candidate] = {}
        for backup in sorted(backups, key=lambda backup: backup.created):
            leaves[leaf_of(rule, backup.created.astimezone(ZoneInfo(zone)))] = backup
        latest = sorted(leaves.values(), key=lambda backup: backup.created)[-getattr(policy, rule) :]
        found |= {backup.filename for backup in latest if getattr(policy, rule)}
    return found


@given(plain_histories, policies, ZONES)
def test_what_is_kept_is_the_newest_of_each_leaf_of_the_calendar(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    assert set(kept(decide(backups, policy, zone))) == oracle(backups, policy, zone)


@given(histories, limited, ZONES)
def test_every_backup_is_decided_once_newest_first_with_a_reason(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    decisions = decide(backups, policy, zone)
    assert sorted(decision.filename for decision in decisions) == sorted(
        backup.filename for backup in backups
    )
    assert [decision.created for decision in decisions] == sorted((b.created for b in backups), reverse=True)
    for decision in decisions:
        assert decision.keep is set(codes(decision)).isdisjoint(("not_kept", "total_size"))
        assert all(reason.message for reason in decision.reasons)
        assert decision.reasons


@given(histories, limited, ZONES)
def test_pruning_twice_removes_no_more_than_pruning_once(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    once = left(backups, policy, zone)
    assert left(once, policy, zone) == once


@given(plain_histories, policies, ZONES)
def test_pruning_after_each_backup_keeps_the_same_as_pruning_at_the_end(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    step_by_step: list[Candidate] = []
    for backup in sorted(backups, key=lambda backup: backup.created):
        step_by_step = left([*step_by_step, backup], policy, zone)
    assert kept(decide(step_by_step, policy, zone)) == kept(decide(backups, policy, zone))


@given(histories, limited, ZONES)
def test_what_is_needed_most_always_stays(backups: list[Candidate], policy: Policy, zone: str) -> None:
    names = kept(decide(backups, policy, zone))
    own = [backup for backup in backups if backup.counts]
    for needed in (
        *(backup for backup in backups if backup.protections),
        newest_of(own),
        newest_of(backup for backup in own if backup.is_sound is not False),
        newest_of(backup for backup in own if backup.is_sound),
        newest_of(backup for backup in own if backup.is_sound and backup.is_proven),
    ):
        assert needed is None or needed.filename in names


@given(histories, policies, ZONES)
def test_no_rule_keeps_more_than_its_number_or_less_than_there_is(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    decisions = decide(backups, policy, zone)
    sound = {b.filename for b in backups if b.is_sound is not False and b.counts}
    alone = [backup for backup in backups if backup.filename in sound]
    for rule, code in CODES.items():
        by_rule = [d.filename for d in decisions if code in codes(d) and d.filename in sound]
        assert len(by_rule) <= getattr(policy, rule)
        expected = oracle(alone, Policy(**{rule: getattr(policy, rule)}), zone)
        assert set(by_rule) == (expected if getattr(policy, rule) else set())


@given(plain_histories, policies, ZONES, times)
def test_an_older_backup_that_turns_up_makes_no_newer_one_go(
    backups: list[Candidate], policy: Policy, zone: str, created: datetime
) -> None:
    older = plain(min([backup.created for backup in backups], default=created) - timedelta(days=1))
    before, after = decide(backups, policy, zone), decide([*backups, older], policy, zone)
    assert set(kept(before)) <= set(kept(after))


@given(histories, policies, ZONES, st.sampled_from(RULES))
def test_keeping_more_of_a_period_makes_nothing_go(
    backups: list[Candidate], policy: Policy, zone: str, rule: str
) -> None:
    if policy == Policy():
        return  # everything stays; the first rule ends that
    more = replace(policy, **{rule: getattr(policy, rule) + 1})
    assert set(kept(decide(backups, policy, zone))) <= set(kept(decide(backups, more, zone)))


@given(histories, policies, ZONES)
def test_backups_that_are_damaged_of_another_machine_or_of_the_future_push_no_sound_one_out(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    own = [b for b in backups if b.is_sound is not False and b.counts]
    names = {backup.filename for backup in own}
    among_others = [name for name in kept(decide(backups, policy, zone)) if name in names]
    assert among_others == kept(decide(own, policy, zone))


@given(histories, limited, ZONES)
def test_the_total_size_is_kept_to_unless_all_that_is_left_must_stay(
    backups: list[Candidate], policy: Policy, zone: str
) -> None:
    decisions = decide(backups, policy, zone)
    without_limit = decide(backups, replace(policy, max_total_size=None), zone)
    going = [decision for decision in decisions if "total_size" in codes(decision)]
    assert {d.filename for d in going} == set(kept(without_limit)) - set(kept(decisions))
    must_stay = {"newest", "newest_verified", "pinned", "uploaded", "future"}
    movable = [d for d in decisions if d.keep and must_stay.isdisjoint(codes(d))]
    assert all(gone.created < stays.created for gone in going for stays in movable)
    excess_bytes = find_excess_bytes(decisions, policy)
    assert excess_bytes == 0 or not movable
    if policy.max_total_size is not None:
        total_bytes = sum(decision.size_bytes for decision in decisions if decision.keep)
        assert total_bytes <= policy.max_total_size + excess_bytes
        if going:  # the last one to go had to
            spared_bytes = max(going, key=lambda d: d.created).size_bytes
            assert total_bytes + spared_bytes > policy.max_total_size


def test_a_policy_without_a_rule_keeps_everything() -> None:
    backups = [at(f"2025-01-{day:02}T02:00") for day in range(1, 32)]
    assert len(kept(decide(backups, Policy(), "UTC"))) == 31
    assert codes(decide(backups, Policy(), "UTC")[-1]) == ["no_rule"]


def test_days_without_a_backup_do_not_count() -> None:
    """The site was off for years: what was kept then is kept now."""
    backups = [at("2025-06-01T02:00"), *(at(f"2021-03-{day:02}T02:00") for day in range(1, 11))]
    names = kept(decide(backups, Policy(keep_daily=4), "UTC"))
    assert [name[7:15] for name in names] == ["20250601", "20210310", "20210309", "20210308"]


def test_the_iso_week_of_a_turn_of_the_year_is_one_week() -> None:
    backups = [at("2024-12-30T02:00"), at("2025-01-01T02:00"), at("2025-01-05T02:00"), at("2024-12-29T02:00")]
    decisions = decide(backups, Policy(keep_weekly=2), "UTC")
    assert [(d.filename[7:15], d.reasons[-1].message) for d in decisions if d.keep] == [
        ("20250105", "the newest of 2025-W01, week 1 of 2"),
        ("20241229", "the newest of 2024-W52, week 2 of 2"),
    ]


@pytest.mark.parametrize(
    ("moments", "days"),
    [
        # Twice 2:30 in one night: one day, of which the second is the newest.
        (["2025-10-26T00:30", "2025-10-26T01:30"], ["20251026_013000"]),
        # 23 hours: 22:30 and 23:30 UTC are two days in summer time, not in UTC.
        (["2025-03-30T21:30", "2025-03-30T22:30"], ["20250330_223000", "20250330_213000"]),
        # 25 hours: the day begins at 22:00 UTC and ends at 23:00 UTC of the next.
        (["2025-10-25T22:00", "2025-10-26T22:59"], ["20251026_225900"]),
    ],
)
def test_days_are_those_of_the_time_zone_when_the_clock_changes(moments: list[str], days: list[str]) -> None:
    names = kept(decide([at(moment) for moment in moments], Policy(keep_daily=5), BERLIN))
    assert [name[7:22] for name in names] == days


def test_a_clock_that_goes_back_to_the_day_before_makes_no_day_count_twice() -> None:
    """On 7 November 2010, at 0:01, it was 23:01 of the day before in St. John's."""
    minutes = ["02:30:30", "02:31:30", "03:40"]  # 0:00:30 on the 7th, 23:01:30 on the 6th, 0:10 on the 7th
    backups = [at(f"2010-11-07T{minute}") for minute in minutes]
    names = kept(decide(backups, Policy(keep_daily=2), "America/St_Johns"))
    assert [name[16:22] for name in names] == ["034000", "023130"]


def test_a_year_of_daily_backups_ends_with_what_the_default_promises() -> None:
    """Every night at 2:00 in Berlin, pruned every night."""
    backups: list[Candidate] = []
    for number in range(365 + 31):
        night = date(2024, 1, 1) + timedelta(days=number)
        backups = left([*backups, at(f"{night}T02:00", BERLIN)], DEFAULT, BERLIN)
    days = [f"{backup.created.astimezone(ZoneInfo(BERLIN)):%Y-%m-%d}" for backup in backups]
    assert days == [
        *("2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31", "2024-06-30", "2024-07-31"),
        *("2024-08-31", "2024-09-30", "2024-10-31", "2024-11-30", "2024-12-31"),
        *("2025-01-12", "2025-01-19"),
        *(f"2025-01-{day}" for day in range(24, 31)),
    ]


def test_the_example_of_the_documentation_is_true() -> None:
    """docs/backup-restore.md, "Which backups stay"."""
    nights = [at("2024-09-01T02:00").created + timedelta(days=number) for number in range(137)]
    backups = [replace(backup, is_sound=True) for backup in map(plain, nights)]
    backups[122] = replace(backups[122], is_proven=True)
    decisions = decide([*backups, at("2025-01-14T16:30")], DEFAULT, "UTC")
    stays = {f"{d.created:%m-%d %H}": codes(d) for d in decisions if d.keep}
    assert (len(decisions), len(stays)) == (138, 15)
    assert stays["01-01 02"] == ["newest_verified"]
    assert list(stays)[:3] == ["01-15 02", "01-14 16", "01-14 02"]
    assert stays["01-14 02"] == ["last"]
    assert [day for day in stays if "daily" in stays[day]][1:] == [
        *("01-14 16", "01-13 02", "01-12 02", "01-11 02", "01-10 02", "01-09 02")
    ]
    assert [day for day in stays if "weekly" in stays[day]][1:] == ["01-12 02", "01-05 02", "12-29 02"]
    assert [day for day in stays if "monthly" in stays[day]][1:] == [
        *("12-31 02", "11-30 02", "10-31 02", "09-30 02")
    ]


def test_times_at_the_ends_of_the_calendar_are_taken_as_they_are() -> None:
    backups = [at("9999-12-31T23:59:59"), at("0001-01-01T00:00")]
    assert len(kept(decide(backups, Policy(keep_daily=2), "Pacific/Apia"))) == 2
    assert len(kept(decide(backups, Policy(keep_daily=2), "America/New_York"))) == 2


def test_a_limit_says_that_it_is_not_kept_when_what_is_left_must_stay() -> None:
    backups = [at("2025-01-01T02:00"), at("2025-01-02T02:00"), at("2025-01-03T02:00")]
    backups[0] = replace(backups[0], protections=(PINNED,))
    policy = replace(DEFAULT, max_total_size=15)
    decisions = decide(backups, policy, "UTC")
    assert [decision.keep for decision in decisions] == [True, False, True]
    assert find_excess_bytes(decisions, policy) == 5


def test_a_damaged_backup_stays_beside_the_sound_one_that_it_does_not_replace() -> None:
    backups = [
        at("2025-01-01T02:00"),
        replace(at("2025-01-01T14:00"), is_sound=False),
        at("2024-12-31T02:00"),
    ]
    assert len(kept(decide(backups, Policy(keep_daily=1), "UTC"))) == 2
    sound_again = [*backups, at("2025-01-01T16:00")]
    assert kept(decide(sound_again, Policy(keep_daily=1), "UTC")) == ["backup_20250101_160000.zip"]
