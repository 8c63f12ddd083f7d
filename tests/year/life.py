"""Live through simulated days: what happens by itself at night, what people do, and what must be true then.

Everything that happens goes into the books, from which `oracle` reckons what ought to be there; every evening
the two are compared.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, auto
from zipfile import ZipFile

from fastcms.backups.history import Run
from fastcms.backups.status import describe_status
from fastcms.errors import FastCMSError
from tests.year.oracle import RETRIES, ZONE, Backup, Timetable, counting, kept
from tests.year.simulated_site import SimulatedSite

DAY = timedelta(days=1)
_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)
_LONG_AGO = timedelta(days=45)
_GRACE = timedelta(minutes=61)
_EVENING = time(21)
_ALSO_WHILE_OFF = ("switch_on", "compare")
_ALARMS = ("Backups need attention", "Backups still need attention", "A problem with backups is over")
_SERIOUS = {"backup_failed", "backup_overdue", "space_critical", "verification_failed"}
_ALARMING = {*_SERIOUS, "verification_old"}


class Fault(Enum):
    """What is wrong with the machine when a backup is made."""

    FULL_DISK = auto()
    KILLED = auto()
    READ_ONLY_DISK = auto()


_CODES = {Fault.FULL_DISK: "not_enough_space", Fault.KILLED: "process_ended"}

Entry = tuple[str, str, str, str, str]


class Life:
    """A site, its days, and the books of what has happened to it."""

    def __init__(self, site: SimulatedSite, now: datetime, say: Callable[[str], object]) -> None:
        self.site = site
        self.say = say
        self.now = now
        self.fault: Fault | None = None
        self.is_muted = False
        self.backups: dict[str, Backup] = {}
        self.history: Counter[Entry] = Counter()
        self.records = 0
        self.has_failed = False
        self.latest_verified: Backup | None = None
        self.undelivered: set[str] = set()
        self.daily = Timetable(time(2), now)
        self.monthly = Timetable(time(4), now, range(1, 2))
        self.what = ""
        self.look()

    @property
    def own(self) -> list[Backup]:
        """The backups of this site that count, newest first."""
        return counting(self.backups.values(), self.now)

    def live(self, day: date, actions: "Sequence[tuple[time, Action]]" = ()) -> None:
        """Live through a day, and compare everything in its evening."""
        self.what = " ".join(action.__name__ for _clock, action in actions)
        moments: list[tuple[datetime, Action]] = [(moment, Life.look) for moment in self._night(day)]
        moments += [(at(day, clock), action) for clock, action in [*actions, (_EVENING, Life.compare)]]
        to_come = [found for found in moments if found[0] > self.now]
        for moment, action in sorted(to_come, key=lambda found: found[0]):
            self.go_to(moment)
            if self.site.is_running or action.__name__ in _ALSO_WHILE_OFF:
                action(self)

    def go_to(self, now: datetime) -> None:
        self.now = now
        self.site.set_clock(now)

    def _night(self, day: date) -> Iterator[datetime]:
        """The moments at which something must happen, or must not."""
        due = self.daily.on(day)
        yield from (due - 30 * _SECOND, due + 5 * _SECOND, due + 90 * _SECOND, due + 10 * _MINUTE)
        if self.fault is not None:
            yield from (due + sum(RETRIES[:number], number * _MINUTE) for number in (1, 2, 3))
        if self.daily.on(day + DAY) - due != DAY or due - self.daily.on(day - DAY) != DAY:
            yield from (due + 30 * number * _MINUTE for number in range(-4, 6) if number)
        if day.day == 1:
            yield self.monthly.on(day) + 10 * _SECOND

    def look(self) -> None:
        """Let the server look for what is due, and enter what it does: it must be what ought to be done."""
        if self.fault is Fault.READ_ONLY_DISK:
            self._look_in_vain()
            return
        is_backup_due, is_verification_due = self.daily.look(self.now), self.monthly.look(self.now)
        told = len(self.told)
        is_killed = is_backup_due and self.fault is Fault.KILLED
        with self.site.killing() if is_killed else nullcontext():
            runs = iter(self.site.look())
        if is_backup_due:
            self._check_backup(runs)
        if is_verification_due and self.own:
            self._check_verification(next(runs), self.own[0], "full")
        assert list(runs) == []
        if len(self.told) > told:
            self._deliver("message")

    def _look_in_vain(self) -> None:
        """Where nothing can be noted nothing is begun, and it stays due; but people are told."""
        with suppress(FastCMSError):
            assert self.site.look() == []
        told = len(self.told)
        self.site.raise_alarms()
        if len(self.told) > told:
            self._deliver("message")

    def _check_backup(self, runs: Iterator[Run]) -> None:
        created = next(runs)
        self._deliver("heartbeat")
        code = "" if self.fault is None else _CODES[self.fault]
        state = "failed" if code else "succeeded"
        self.enter("create", state, "scheduled", created.backup_filename, code)
        assert _entry_of(created) in self.history, created
        self.has_failed = bool(code)
        self.daily.settle(self.now, is_done=not code)
        if code:
            self.fault = None if self.fault is Fault.KILLED else self.fault
            return
        backup = self.add(created.backup_filename or "", "scheduled")
        self._check_verification(next(runs), backup, "light")
        going = sorted(self.backups.keys() - kept(self.backups.values(), self.now))
        if going:
            pruned = next(runs)
            assert pruned.details["removed"] == going
            self.enter("prune", "succeeded", "scheduled", None)
            for filename in going:
                del self.backups[filename]

    def _check_verification(self, verified: Run, backup: Backup, level: str) -> None:
        code = verified.error.code if verified.error else ""
        assert code.startswith("archive_") == backup.is_damaged
        self.enter("verify", "failed" if code else "succeeded", "scheduled", backup.filename, code)
        assert _entry_of(verified) in self.history, verified
        self.verify(backup, level)

    def verify(self, backup: Backup, level: str) -> None:
        """Enter the verdict of a verification."""
        backup.is_sound = not backup.is_damaged
        backup.proven = self.now if backup.is_sound and level == "full" else None
        self.latest_verified = backup

    def add(self, filename: str, trigger: str) -> Backup:
        """Enter a backup that was made now."""
        created = datetime.strptime(f"{filename}+0000", "backup_%Y%m%d_%H%M%S.zip%z")
        assert filename not in self.backups
        assert -_SECOND < created - self.now < _MINUTE, (created, self.now)
        self.backups[filename] = Backup(filename, created, self.records, trigger)
        return self.backups[filename]

    def enter(self, kind: str, state: str, trigger: str, filename: str | None, code: str = "") -> None:
        self.history[kind, state, trigger, filename or "", code] += 1

    def _deliver(self, what: str) -> None:
        (self.undelivered.add if self.is_muted else self.undelivered.discard)(what)

    @property
    def told(self) -> list[str]:
        """The titles of the messages so far, whether they were taken or not."""
        found = (received for received in self.site.far_side.received if received.path == "/told")
        return [json.loads(received.body)["title"].partition("] ")[2] for received in found]

    def compare(self) -> None:
        """Compare what the site says with the books."""
        if not self.site.is_running:
            self._compare_while_off()
            return
        self.look()
        codes = self._expected_reasons()
        state = "attention" if codes & _SERIOUS else "warnings" if codes else "ok"
        shown = self.site.ask("GET", "/backups/status")
        assert {reason["code"] for reason in shown["reasons"]} == codes, shown
        assert shown["state"] == (state if self.own else "waiting"), shown
        assert shown["is_safe"] == (shown["state"] in ("ok", "warnings"))
        next_run = datetime.fromisoformat(shown["next_run"])
        if self.daily.missed_since(self.now) is None:
            assert next_run == self.daily.on(self.now.astimezone(ZONE).date() + DAY)
        else:
            assert next_run < self.now + _MINUTE
        if not self.is_muted:
            is_alarmed = bool(self.told) and self.told[-1] in _ALARMS
            assert is_alarmed == bool(codes & _ALARMING), self.told[-3:]
        self._compare_backups()
        if self.site.ask("GET", "/backups/history?per_page=1")["total"] != self.history.total():
            self.compare_history()
        records = self.site.ask("GET", "/collections/notes/records?per_page=1")["total"]
        assert records == self.records
        days = " ".join(map(_describe, self.own))
        self._report(f"{shown['state']:9} {len(self.backups):2}: {days}")

    def _compare_while_off(self) -> None:
        """What a command says, or a monitor that has not heard of the site for long."""
        status = describe_status(self.site.site)
        missed_since = self.daily.missed_since(self.now)
        is_overdue = missed_since is not None and self.now > missed_since + _GRACE
        assert status.overdue_since == (missed_since if is_overdue else None)
        assert (status.state == "attention") == is_overdue
        self._report(f"off: {status.state}")

    def _report(self, text: str) -> None:
        self.say(f"{self.now.astimezone(ZONE):%Y-%m-%d} {text}  {self.what}".rstrip())

    def _compare_backups(self) -> None:
        listed = self.site.ask("GET", "/backups")["items"]
        assert {item["filename"] for item in listed} == self.backups.keys()
        for item in listed:
            backup = self.backups[item["filename"]]
            assert (item["kind"], item["pinned"]) == (backup.kind, backup.is_pinned)
        # Nothing goes after a failed backup, or a damaged one.
        is_frozen = self.has_failed or (self.own and self.own[0].is_sound is False)
        staying = self.backups.keys() if is_frozen else kept(self.backups.values(), self.now)
        planned = self.site.ask("GET", "/backups/retention")["items"]
        assert {item["filename"] for item in planned if item["keep"]} == staying

    def compare_history(self) -> None:
        """Compare every run so far: each is there once."""
        found: Counter[Entry] = Counter()
        page = items = 1
        while items:
            answer = self.site.ask("GET", f"/backups/history?per_page=500&page={page}")["items"]
            found.update(_entry_of(Run.model_validate(run)) for run in answer)
            page, items = page + 1, len(answer)
        assert found == self.history, (found - self.history, self.history - found)

    def count_runs(self) -> Counter[str]:
        """How many runs of each kind, and end, there were."""
        counts: Counter[str] = Counter()
        for (kind, state, *_), count in self.history.items():
            counts[f"{kind} {state}"] += count
        return counts

    def compare_archives(self) -> None:
        """Compare what is in each backup that is there with what was in the site when it was made."""
        for backup in self.own:
            with ZipFile(self.site.settings.backups_dir / backup.filename) as archive:
                assert (archive.testzip() is not None) == backup.is_damaged
                counts = json.loads(archive.read("metadata.json"))["counts"]
                assert counts.get("records:notes", 0) == backup.records

    def _expected_reasons(self) -> set[str]:
        codes = {"notification_failed"} if self.undelivered else set()
        if self.has_failed:
            codes |= {"backup_failed", "backup_overdue"}
        if self.fault in (Fault.FULL_DISK, Fault.READ_ONLY_DISK):
            codes.add("space_critical")
        missed_since = self.daily.missed_since(self.now)
        if missed_since is not None and self.now > missed_since + _GRACE:
            codes.add("backup_overdue")
        for backup in self.own:
            if backup.is_sound is False:
                is_serious = backup in (self.own[0], self.latest_verified)
                codes.add("verification_failed" if is_serious else "damaged_backup_kept")
        proven = (backup.proven for backup in self.own if backup.proven is not None)
        if self.own and self.now - next(proven, self.own[-1].created) > _LONG_AGO:
            codes.add("verification_old")
        if any(not backup.is_uploaded and backup not in self.own for backup in self.backups.values()):
            codes.add("backup_from_the_future")
        return codes


Action = Callable[[Life], None]


def at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, ZONE).astimezone(UTC)


def _entry_of(run: Run) -> Entry:
    code = run.error.code if run.error else ""
    return run.kind, run.state, run.trigger, run.backup_filename or "", code


def _describe(backup: Backup) -> str:
    marks = {"m": backup.kind == "manual", "p": backup.is_pinned, "d": backup.is_sound is False}
    return f"{backup.local:%m-%d}" + "".join(mark for mark, is_so in marks.items() if is_so)
