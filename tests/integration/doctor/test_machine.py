"""The doctor on the machine: versions, space, mounts."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastcms.site import Site
from fastcms.sqlite import WITHOUT_WAL_RESET_BUG
from tests.conftest import AS_ROOT
from tests.e2e.conftest import clean_environment
from tests.integration.doctor.conftest import add_private_file, data, found, message_of, restore
from tests.unit.backups.engine.layouts import mounted

Mount = Callable[[Path, str], None]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small file system over a folder, and move what was there onto it."""
    folders: list[Path] = []

    def mount_over(folder: Path, options: str) -> None:
        kept = Path(shutil.copytree(folder, tmp_path / f"kept {folder.name}"))
        options = f"uid={os.getuid()},mode=700,{options}"
        subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        folders.append(folder)
        shutil.copytree(kept, folder, dirs_exist_ok=True)

    yield mount_over
    for folder in reversed(folders):
        subprocess.run([*AS_ROOT, "umount", folder], check=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("size=2m", "disk_full"),
        ("size=40m", "space_critical"),
        ("size=44m", "space_low"),
        ("size=64m,nr_inodes=60", "inodes_low"),
    ],
)
def test_a_disk_that_is_too_small_for_a_backup_is_found(
    stopped: Site, mount: Mount, options: str, expected: str
) -> None:
    mount(stopped.settings.data_dir, options)
    if expected.startswith("space"):
        add_private_file(data(stopped, "files/by hand"), bytes(13 * 1024**2))
    assert found(stopped) - {"file_without_row"} == {expected}


def test_folders_on_other_disks_are_noted(stopped: Site, mount: Mount) -> None:
    mount(stopped.settings.backups_dir, "size=64m")
    assert found(stopped) == {"other_disk"}


def test_a_folder_of_the_same_disk_mounted_once_more_is_noted(stopped: Site) -> None:
    folder = stopped.settings.files_dir
    with mounted(folder, "--bind", str(folder)):
        assert folder.stat().st_dev == folder.parent.stat().st_dev
        assert found(stopped) == {"other_disk"}
        assert str(folder) in message_of(stopped, "other_disk")


def test_deleted_files_and_the_safety_copy_need_no_space_in_a_backup(stopped: Site, mount: Mount) -> None:
    mount(stopped.settings.data_dir, "size=48m")
    mount(stopped.settings.files_dir, "size=64m")
    restore(stopped)
    for folder in ("files/.restore/before_restore", "files/.trash"):
        data(stopped, folder).mkdir(mode=0o700, exist_ok=True)
        add_private_file(data(stopped, f"{folder}/large"))
        os.truncate(data(stopped, f"{folder}/large"), 40 * 1024**2)
    assert found(stopped) == {"other_disk", "safety_copy", "trash_not_empty"}


def test_a_read_only_disk_is_found(stopped: Site, mount: Mount) -> None:
    mount(stopped.settings.data_dir, "size=64m")
    subprocess.run([*AS_ROOT, "mount", "-o", "remount,ro", stopped.settings.data_dir], check=True)
    assert "disk_read_only" in found(stopped)


def test_an_old_sqlite_is_named(stopped: Site) -> None:
    """As on a machine for which there is no wheel of pysqlite3."""
    program = "import sys; sys.modules['pysqlite3'] = None; from fastcms.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--json"],
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(stopped.settings.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    finding = next(f for f in json.loads(done.stdout)["findings"] if "SQLite" in f["message"])
    version = re.search(r"SQLite (\d+)\.(\d+)\.(\d+)", finding["message"])
    assert version is not None
    is_old = tuple(int(part) for part in version.groups()) < WITHOUT_WAL_RESET_BUG
    assert (finding["code"], done.returncode) == (("sqlite_old", 1) if is_old else ("versions", 0))
