"""A month in the life of the club's site: what its server does every night, and what people do by day.

All of it is real, done by the services at the time that it pretends to be; so are its failures.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

import time_machine

from fastcms.accounts import service as accounts
from fastcms.accounts.schemas import Role, Scope
from fastcms.backups import jobs, pinning, service, tasks, upkeep
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.progress import OnProgress, Progress
from fastcms.database import utc_now
from fastcms.durability import require_free_space
from fastcms.site import Site
from tests.browser.club import add_picture, found_club, publish_news
from tests.browser.visiting import EMAIL, PASSWORD, log_in_admin, open_site

DAYS = 30
_FULL_DISK, _SHORT_OF_SPACE, _SERVER_OFF = 12, 19, 23  # days on which something is wrong
_PINNED, _UPLOADED = 8, 15
# The schedule's time and those at which it tries again.
_NIGHT = [timedelta(hours=2, minutes=m) for m in (1, 17)] + [timedelta(hours=h, minutes=25) for h in (3, 6)]


def live_a_month(folder: Path, days: int = DAYS) -> str:
    """Found the club so many days ago, and live until this morning; return a session of its admin."""
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    with time_machine.travel(midnight - timedelta(days=days), tick=True) as clock, open_site(folder) as site:
        log_in_admin(site)
        found_club(site)
        _let_others_in(site)
        upkeep.run_due(site)  # from its first look on, a server notices what is due
        for day in range(days):
            clock.move_to(midnight + timedelta(days=day - days, hours=17))
            _live_an_afternoon(site, day)
            if day != _SERVER_OFF:
                _live_a_night(site, clock, day, midnight + timedelta(days=day - days + 1))
    with open_site(folder) as site:
        return accounts.log_in(site, EMAIL, PASSWORD, "127.0.0.1")[0]


def _let_others_in(site: Site) -> None:
    with site.database.write() as session:
        accounts.create_account(session, "tomas@example.com", PASSWORD, Role.EDITOR)
        accounts.create_account(session, "ada@example.com", PASSWORD, Role.EDITOR)
        accounts.create_token(session, "website", [Scope.CONTENT_READ], None)
        accounts.create_token(session, "nightly-check", [Scope.BACKUPS_READ], timedelta(days=90))


def _live_an_afternoon(site: Site, day: int) -> None:
    for number in range(3 + day % 4):
        add_picture(site, 100 * (day + 1) + number)
    publish_news(site, day)
    if day == _PINNED:
        made = jobs.run(site, tasks.creation(site, EMAIL))
        pinning.pin(site, made.filename, EMAIL)
    if day == _UPLOADED:
        _bring_from_elsewhere(site)


def _live_a_night(site: Site, clock: time_machine.Traveller, day: int, midnight: datetime) -> None:
    for number, time in enumerate(_NIGHT):
        clock.move_to(midnight + time)
        is_full = day == _FULL_DISK or (day == _SHORT_OF_SPACE and number == 0)
        with full_disk() if is_full else nullcontext():
            upkeep.run_due(site)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let the backup find as little space as there was; the process that writes it would find today's."""
    real = os.statvfs

    def almost_full(path: str | int | Path) -> os.statvfs_result:
        values = list(real(path))
        values[3] = values[4] = 900  # blocks that are free
        return os.statvfs_result(values)

    def refuse(
        _site: Site, paths: DataPaths, _path: Path, _created: datetime, on_progress: OnProgress
    ) -> None:
        on_progress(Progress("starting", 0, 6_500_000))
        with mock.patch.object(os, "statvfs", almost_full):
            require_free_space(paths.backups_dir, 6_500_000, "A backup")

    with mock.patch.object(service, "write_backup", refuse):
        yield


def _bring_from_elsewhere(site: Site) -> None:
    """Upload what the club's old machine had."""
    folder = site.settings.data_dir.parent / "elsewhere"
    with time_machine.travel(utc_now() - timedelta(days=200)), open_site(folder) as old:
        log_in_admin(old)
        archive = Path(service.create_backup(old).path)
    jobs.run(site, tasks.importing(site, archive, EMAIL))
