"""The doctor on restores: pending, interrupted, left over, done."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from fastcms.backups import restoring
from fastcms.backups.engine.pending import Phase, advance, read_marker
from fastcms.backups.folder import data_paths
from fastcms.site import Site
from fastcms.startup import use_site
from tests.integration.doctor.conftest import (
    add_private_file,
    backup_path,
    data,
    found,
    message_of,
    restore,
    serve_until_tidy,
    stage,
)


def interrupt(site: Site) -> None:
    stage(site)
    paths = data_paths(site)
    pending = read_marker(paths)
    assert pending is not None
    advance(paths, pending, Phase.MOVING_OUT)


def lose_the_marker(site: Site) -> None:
    stage(site)
    data(site, "backups/.restore_pending").unlink()


def spoil_the_marker(site: Site) -> None:
    for name in ("app.db.replaced", "backups/.restore_pending"):
        add_private_file(data(site, name))


def change_what_is_staged(site: Site) -> None:
    stage(site)
    os.utime(data(site, "backups/restore_staging/database.db"), (0, 0))


def unzip_by_hand(site: Site) -> None:
    shutil.unpack_archive(backup_path(site), data(site, "backups/restore_staging"))


def fail_to_restore(site: Site) -> None:
    change_what_is_staged(site)
    serve_until_tidy(site)


RESTORES: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "staged": (stage, {"restore_pending"}),
    "changed after staging": (change_what_is_staged, {"restore_staging_changed"}),
    "interrupted": (interrupt, {"restore_interrupted"}),
    "with a marker of somebody else": (
        lambda site: add_private_file(data(site, "backups/.restore_pending")),
        {"restore_marker_unreadable", "backup_warning"},
    ),
    "with such a marker moved aside": (
        lambda site: add_private_file(data(site, "backups/.restore_pending.unreadable")),
        {"restore_marker_kept"},
    ),
    "by hand": (unzip_by_hand, {"staging_by_hand"}),
    "with a partial backup": (
        lambda site: add_private_file(data(site, "backups/.backup_20250115_100000.zip.partial")),
        {"left_over"},
    ),
    "without a marker": (lose_the_marker, {"left_over"}),
    "interrupted, then without its marker": (
        lambda site: add_private_file(data(site, "app.db.replaced")),
        {"restore_marker_lost"},
    ),
    "interrupted, then with a marker of somebody else": (
        spoil_the_marker,
        {"restore_marker_unreadable", "restore_marker_lost", "backup_warning"},
    ),
    "done": (restore, {"safety_copy"}),
    "rolled back": (fail_to_restore, {"restore_rolled_back"}),
}


@pytest.mark.parametrize("name", RESTORES)
def test_what_there_is_of_a_restore_is_found(stopped: Site, name: str) -> None:
    breaks, expected = RESTORES[name]
    breaks(stopped)
    assert found(stopped) == expected


def test_nothing_is_called_left_over_while_somebody_works_with_it(stopped: Site) -> None:
    add_private_file(data(stopped, "backups/.backup_20250115_100000.zip.partial"))
    add_private_file(data(stopped, "files/.upload-0123"))
    program = (
        "import fcntl, os, sys\n"
        "for path in sys.argv[1:]: fcntl.flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    paths = [data(stopped, "backups/.lock"), data(stopped, "files/.upload-0123")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert found(stopped) == set()
        holder.kill()


def test_an_undo_is_called_an_undo(stopped: Site) -> None:
    restore(stopped)
    with use_site(stopped):
        restoring.stage_undo(stopped, "me")
    assert "The undo of the restore of backup_" in message_of(stopped, "restore_pending")
    os.utime(data(stopped, "app.db.before_restore"), (0, 0))
    serve_until_tidy(stopped)
    assert "The undo of the restore of backup_" in message_of(stopped, "restore_rolled_back")
