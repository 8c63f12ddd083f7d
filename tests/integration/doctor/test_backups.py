"""The doctor on the backups."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fastcms.backups import history, service
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.history_file import history_path
from fastcms.site import Site
from fastcms.startup import use_site
from tests.integration.doctor.conftest import (
    add_private_file,
    backup_path,
    change_database,
    data,
    found,
    message_of,
    overwrite,
    upload_path,
)


def make_old(site: Site, age: timedelta) -> None:
    made = datetime.now(UTC) - age
    path = backup_path(site)
    path.rename(path.with_name(f"backup_{made:%Y%m%d_%H%M%S}.zip"))


def damage_history(site: Site) -> None:
    history.write_mark(site, "anything", "so that there is one")
    overwrite(history_path(site), 4096, b"?" * 100)


BACKUPS: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "none": (lambda site: backup_path(site).unlink(), {"backup_none"}),
    "old": (lambda site: make_old(site, timedelta(days=9)), {"backup_attention"}),
    "in time": (lambda site: make_old(site, timedelta(minutes=30)), set()),
    "of the future": (lambda site: make_old(site, -timedelta(days=2)), {"clock_wrong"}),
    "cut off": (lambda site: os.truncate(backup_path(site), 1000), {"backup_damaged"}),
    "empty": (lambda site: os.truncate(backup_path(site), 0), {"backup_damaged"}),
    "with a spoilt history": (
        lambda site: add_private_file(data(site, "backups/history.db"), b"no database" * 1000),
        {"backup_warning", "history_damaged"},
    ),
    "with a damaged history": (damage_history, {"backup_warning", "history_damaged"}),
    "without a schedule": (lambda site: change_settings(site, {"schedule": "off"}), {"backup_warning"}),
    "for everybody": (lambda site: backup_path(site).chmod(0o644), {"mode_open"}),
}


@pytest.mark.parametrize("name", BACKUPS)
def test_what_is_wrong_with_the_backups_is_found(stopped: Site, name: str) -> None:
    breaks, expected = BACKUPS[name]
    breaks(stopped)
    assert found(stopped) == expected


def test_what_the_newest_backup_says_of_itself_is_repeated(stopped: Site) -> None:
    backup_path(stopped).unlink()
    upload = upload_path(stopped)
    content = upload.read_bytes()
    upload.unlink()
    with use_site(stopped):
        service.create_backup(stopped)
    add_private_file(upload, content)
    assert found(stopped) == {"backup_problems"}
    assert f"files/{upload.name} is missing on disk" in message_of(stopped, "backup_problems")


def test_a_newest_backup_that_could_not_be_restored_is_a_problem(stopped: Site) -> None:
    backup_path(stopped).unlink()
    change_database(stopped, "CREATE TABLE mine (id)")
    with use_site(stopped):
        service.create_backup(stopped)
    assert found(stopped) == {"backup_refused"}
