"""What people and machines do to a site, and on which days of a simulated year."""

from datetime import datetime, time, timedelta

from tests.year.life import DAY, Action, Fault, Life
from tests.year.oracle import ZONE
from tests.year.simulated_site import make_archive_elsewhere

NOON = time(12)


def write_records(life: Life) -> None:
    for _ in range(1 + life.now.day % 2):
        life.site.ask("POST", "/collections/notes/records", json={"data": {"text": f"{life.now}"}})
        life.records += 1


def back_up(life: Life) -> None:
    """Somebody makes a backup."""
    filename = life.site.ask("POST", "/backups")["filename"]
    life.add(filename, "manual")
    life.enter("create", "succeeded", "manual", filename)


def pin(life: Life) -> None:
    """Somebody makes a backup that is to stay."""
    back_up(life)
    life.own[0].is_pinned = True
    assert life.site.ask("PUT", f"/backups/{life.own[0].filename}/pin")["status"] == "pinned"


def unpin(life: Life) -> None:
    """It goes at the next pruning, unless that is not the time to remove anything."""
    for backup in life.own:
        if backup.is_pinned:
            assert life.site.ask("DELETE", f"/backups/{backup.filename}/pin")["status"] == "unpinned"
            backup.is_pinned = False


def upload(life: Life) -> None:
    """Somebody brings a backup of another machine, which is older than all others."""
    life.site.set_clock(life.now - 50 * DAY)
    archive = make_archive_elsewhere(life.site.settings.data_dir.parent)
    life.site.set_clock(life.now)
    with archive.open("rb") as file:
        filename = life.site.ask("POST", "/backups/upload", files={"file": file})["filename"]
    life.now -= 50 * DAY
    life.add(filename, "uploaded")
    life.now += 50 * DAY
    life.enter("upload", "succeeded", "manual", filename)


def fill_disk(life: Life) -> None:
    life.site.fill_disk()
    life.fault = Fault.FULL_DISK


def free_disk(life: Life) -> None:
    life.site.empty_disk()
    life.fault = None


def lose_disk(life: Life) -> None:
    """The disk has an error: the kernel lets nobody write any more."""
    life.site.make_read_only()
    life.fault = Fault.READ_ONLY_DISK


def mend_disk(life: Life) -> None:
    """What was missed is made up for at the next look."""
    life.site.make_read_only(is_read_only=False)
    life.fault = None
    life.look()


def kill_next(life: Life) -> None:
    """The next backup's process is killed, as by a machine that is out of memory."""
    life.fault = Fault.KILLED


def damage(life: Life) -> None:
    """The disk damages the newest backup, which nobody notices."""
    life.site.damage(life.own[0].filename)
    life.own[0].is_damaged = True


def damage_and_verify(life: Life) -> None:
    damage(life)
    newest = life.own[0]
    code = life.site.ask("POST", f"/backups/{newest.filename}/verify")["code"]
    life.enter("verify", "failed", "manual", newest.filename, code)
    life.verify(newest, "full")


def mute(life: Life) -> None:
    """Nobody can be told anything."""
    life.is_muted, life.site.far_side.status = True, 503


def unmute(life: Life) -> None:
    life.is_muted, life.site.far_side.status = False, 200
    assert life.site.ask("POST", "/backups/notifications/test")["ok"]
    life.undelivered.discard("message")


def switch_off(life: Life) -> None:
    life.site.stop()


def switch_on(life: Life) -> None:
    """The server starts; a little later it looks, and catches up with what it has missed, once."""
    life.site.start()
    life.go_to(life.now + timedelta(seconds=20))
    life.look()


def restore(life: Life) -> None:
    """Somebody wants the state of some days ago, and restarts the server."""
    backup = life.own[3]
    staged = life.site.ask("POST", f"/backups/{backup.filename}/restore")
    assert staged["status"] == "pending_restart"
    life.enter("restore", "succeeded", "manual", backup.filename)
    life.records = backup.records
    switch_off(life)
    switch_on(life)


def schedule_at_noon(life: Life) -> None:
    _set_schedule(life, "30 13 * * *", time(13, 30))


def schedule_as_before(life: Life) -> None:
    _set_schedule(life, None, time(2))


def _set_schedule(life: Life, schedule: str | None, clock: time) -> None:
    shown = life.site.ask("PUT", "/backups/settings", json={"schedule": schedule})
    life.daily.look(life.now)
    life.daily.change(clock, life.now)
    first = life.daily.on(life.now.astimezone(ZONE).date())
    times = [datetime.fromisoformat(run["utc"]) for run in shown["next_runs"]]
    assert times[0] == (first if first > life.now else life.daily.on(first.astimezone(ZONE).date() + DAY))
    life.look()
    assert len(times) == 5


def set_clock_back_an_hour(life: Life) -> None:
    """What is due in this hour is due once more."""
    due = life.daily.on(life.now.astimezone(ZONE).date())
    life.go_to(life.now - timedelta(hours=1))
    life.look()
    for seconds in (-30, 5, 90):
        life.go_to(due + timedelta(seconds=seconds))
        life.look()


def set_clock_back_a_day(life: Life) -> None:
    life.go_to(life.now - DAY)
    life.compare()


NIGHT, MORNING, AFTERNOON, LATE = time(2, 30), time(9), time(17), time(22)
Calendar = dict[str, list[tuple[time, Action]]]

YEAR: Calendar = {
    "02-12": [(NOON, upload)],
    "02-14": [(NOON, pin)],
    "03-05": [(NOON, fill_disk)],
    "03-07": [(NOON, free_disk)],
    "03-12": [(NOON, kill_next)],
    "04-08": [(LATE, switch_off)],
    "04-09": [(MORNING, switch_on)],
    "04-15": [(MORNING, switch_off), (AFTERNOON, switch_on)],
    "04-22": [(MORNING, switch_off)],
    "04-25": [(AFTERNOON, switch_on)],
    "05-01": [(time(3), damage)],
    "05-12": [(NOON, mute), (NOON, kill_next)],
    "05-13": [(NOON, unmute)],
    "05-20": [(NOON, damage_and_verify)],
    "06-03": [(NIGHT, set_clock_back_an_hour)],
    "06-10": [(LATE, set_clock_back_a_day)],
    "06-20": [(NOON, schedule_at_noon), (time(13, 30, 5), Life.look)],
    "06-22": [(AFTERNOON, restore)],
    "06-25": [(AFTERNOON, schedule_as_before)],
    "07-14": [(NOON, unpin)],
    "08-25": [(MORNING, switch_off)],
    "09-08": [(AFTERNOON, switch_on)],
    "09-15": [(NOON, pin)],
    "10-01": [(NOON, kill_next)],
    "10-02": [(NOON, fill_disk)],
    "10-03": [(NOON, unpin)],
    "10-04": [(NOON, free_disk)],
    "11-10": [(NOON, damage_and_verify)],
    "11-30": [(LATE, lose_disk)],
    "12-02": [(NOON, mend_disk)],
    "12-24": [(MORNING, switch_off)],
    "12-27": [(AFTERNOON, switch_on)],
}

# The same, closer together, around a change to summer time.
WEEKS: Calendar = {
    "03-16": [(NOON, upload), (NOON, pin)],
    "03-20": [(NOON, kill_next)],
    "03-22": [(LATE, switch_off)],
    "03-23": [(MORNING, switch_on), (LATE, fill_disk)],
    "03-24": [(NOON, unpin), (AFTERNOON, free_disk)],
    "03-26": [(LATE, lose_disk)],
    "03-27": [(LATE, mend_disk)],
    "03-28": [(NOON, damage_and_verify)],
    "03-30": [(NOON, schedule_at_noon), (time(13, 30, 5), Life.look)],
    "04-01": [(AFTERNOON, schedule_as_before)],
    "04-02": [(NIGHT, set_clock_back_an_hour)],
    "04-03": [(MORNING, switch_off)],
    "04-06": [(AFTERNOON, switch_on)],
}


def live(life: Life, calendar: Calendar, days: int) -> None:
    """Live through so many days from today on; every eleventh, somebody makes a backup."""
    first = life.now.astimezone(ZONE).date()
    for number in range(days):
        day = first + number * DAY
        actions = calendar.get(f"{day:%m-%d}", [])
        extra = [(NOON, back_up)] if number % 11 == 10 else []
        life.live(day, [(NOON, write_records), *extra, *actions])
        if set_clock_back_a_day in [action for _time, action in actions]:
            life.live(day)
    life.compare_history()
    life.compare_archives()
