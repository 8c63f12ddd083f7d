"""Data folders whose parts lie on different mounts, as containers and network disks have them."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fastcms.backups.engine.paths import DataPaths
from tests.conftest import AS_ROOT

LAYOUTS = [
    "one folder",
    "backups on another disk",
    "files on another disk",
    "each on a disk of its own",
    "the same disk mounted twice",  # a container with a volume for each folder
    "files are a link",
    "overlayfs",  # a container without a volume
]


@contextmanager
def laid_out(paths: DataPaths, layout: str, scratch_dir: Path) -> Iterator[None]:
    """Bring a data folder into a layout, with everything that is in it, for as long as it takes."""
    scratch_dir.mkdir()
    parts = {
        "backups on another disk": [paths.backups_dir],
        "files on another disk": [paths.files_dir],
        "each on a disk of its own": [paths.files_dir, paths.backups_dir],
        "the same disk mounted twice": [paths.files_dir, paths.backups_dir],
    }.get(layout, [])
    with ExitStack() as mounts:
        for part in parts:
            content = Path(shutil.copytree(part, scratch_dir / part.name))
            if layout == "the same disk mounted twice":
                mounts.enter_context(mounted(part, "--bind", str(content)))
            else:
                mounts.enter_context(mounted(part, "-t", "tmpfs", "-o", "size=64m", "tmpfs"))
                shutil.copytree(content, part, dirs_exist_ok=True)
        if layout == "files are a link":
            elsewhere = paths.files_dir.rename(scratch_dir / "elsewhere")
            paths.files_dir.symlink_to(elsewhere)
        if layout == "overlayfs":
            mounts.enter_context(_overlaid(paths.data_dir, scratch_dir))
        yield


@contextmanager
def mounted(target: Path, *options: str) -> Iterator[None]:
    subprocess.run([*AS_ROOT, "mount", *options, target], check=True)
    try:
        yield
    finally:
        subprocess.run([*AS_ROOT, "umount", target], check=True)


@contextmanager
def _overlaid(folder: Path, scratch_dir: Path) -> Iterator[None]:
    """Everything that is in the folder becomes its lower layer: folders of it cannot be renamed."""
    # overlayfs does not lie on overlayfs, and the tests may run in a container.
    with mounted(scratch_dir, "-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        lower = Path(shutil.copytree(folder, scratch_dir / "lower"))
        for name in ("upper", "work"):
            (scratch_dir / name).mkdir()
        options = f"lowerdir={lower},upperdir={scratch_dir / 'upper'},workdir={scratch_dir / 'work'}"
        with mounted(folder, "-t", "overlay", "-o", options, "overlay"):
            yield
