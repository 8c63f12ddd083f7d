"""Die, fail and fill up at every file-system call of a backup and of a restore, then start again.

Run as a program under `LD_PRELOAD=faults.so`, by `tests/crash/test_sweep.py` and `make crash`: everything is
imported once, and each fault gets a fork. What must hold afterwards, whatever happened:

- there is an app.db at every moment;
- after the next start, live state and safety copy are exactly those from before or exactly those from after;
- what was reported as done is done, and what was reported as failed has changed nothing;
- every error is one of FastCMS's own, with words;
- one more start changes nothing, and nothing is left over.
"""

import argparse
import ctypes
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from fastcms.backups import creation, receiving, restoring, service
from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.progress import ignore_progress
from fastcms.errors import FastCMSError
from fastcms.site import Site
from fastcms.startup import serve_site
from tests.conftest import AS_ROOT
from tests.crash.site_states import (
    Content,
    content_of,
    fill,
    make_it_fail,
    make_template,
    reset,
    site_in,
    write,
)
from tests.crash.site_states import stage as stage_restore
from tests.unit.backups.engine.layouts import laid_out, mounted

Result = TypeVar("Result")

MODES = {"killed": 1, "EIO once": 2, "ENOSPC once": 3, "ENOSPC from there on": 4}
POWER_CUT = "power cut"
_MODULES_WITH_PROCESSES = (creation, receiving, restoring)
_DONE, _REFUSED, _UNEXPLAINED, _HIT = 0, 1, 2, 64
_MAY_REMAIN = {
    *("app.db", "files", "backups", ".secret_key", ".starting", ".serving", ".commands"),
    *("app.db.before_restore", "files.before_restore", "files/.restore/before_restore"),
    *("backups/restores.jsonl", "backups/.lock", "backups/.trash_lock"),
    *("backups/.receiving", "backups/.verifying_lock"),
    *("backups/history.db", "backups/history.db-journal", "backups/.history_lock"),
    *("activity.db", "activity.db-journal", ".activity_lock"),
}


@dataclass(frozen=True)
class Scenario:
    """Something that a fault interrupts, on a copy of a template."""

    name: str
    template: Path
    act: Callable[[Site], object]
    # An error that is reported means that nothing has changed. Not so at start, and where things are removed.
    changes_nothing_on_error: bool = True


@dataclass(frozen=True)
class Expected:
    """What may be in the data folder after the next start."""

    when_done: Content
    when_not_begun: Content
    also: Content


@dataclass
class Tally:
    """What a sweep has found."""

    points: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def call_here(function: Callable[..., Result], *arguments: object, **named: object) -> Result:
    """Stands in for `run_apart`: faults are armed in one process."""
    return function(*arguments, **named)


def start_and_stop(site: Site) -> None:
    """What `make run` and Ctrl-C do to a data folder."""
    with serve_site(site):
        pass
    restoring.remove_discarded(site)


def make_scenarios(data_dir: Path, work_dir: Path) -> Iterator[Scenario]:
    """Every operation on a site's state; a template is what a killed server leaves, commits in its WAL."""

    def template(name: str, source: Path | None, change: Callable[[Site], object]) -> Path:
        return make_template(data_dir, source, work_dir / name, change)

    def write_and_stage(site: Site) -> None:
        write(site, "fourth")
        stage_restore(site)

    def stage_undo(site: Site) -> object:
        return restoring.stage_undo(site, "me")

    live = template("live", None, fill)
    staged = template("staged", live, stage_restore)
    restored = template("restored", staged, lambda site: write(site, "third"))
    undo = template("undo", restored, stage_undo)
    again = template("again", restored, write_and_stage)
    yield Scenario("creating a backup", live, service.create_backup)
    archive = work_dir / "from elsewhere.zip"
    shutil.copy(next((live / "backups").glob("*.zip")), archive)
    empty = template("empty", None, lambda _site: None)
    importing = partial(receiving.import_archive, source_path=archive, imported_by="me")
    yield Scenario("importing a backup", empty, importing)
    yield Scenario("staging a restore", live, stage_restore)
    yield Scenario("cancelling a restore", staged, restoring.cancel_restore, changes_nothing_on_error=False)
    yield Scenario("restoring", staged, start_and_stop, changes_nothing_on_error=False)
    yield Scenario("restoring again", again, start_and_stop, changes_nothing_on_error=False)
    failing = make_it_fail(again, work_dir / "failing")
    yield Scenario("rolling back", failing, start_and_stop, changes_nothing_on_error=False)
    yield Scenario("staging an undo", restored, stage_undo)
    yield Scenario("undoing", undo, start_and_stop, changes_nothing_on_error=False)
    failing_undo = make_it_fail(undo, work_dir / "failing undo")
    yield Scenario("rolling back an undo", failing_undo, start_and_stop, changes_nothing_on_error=False)
    discard = restoring.discard_safety_copy
    yield Scenario("discarding the safety copy", restored, discard, changes_nothing_on_error=False)


class Sweep:
    """Runs scenarios in one data folder; `image` is set where that is an ext4 image whose power is cut."""

    def __init__(self, data_dir: Path, work_dir: Path, image: Path | None = None) -> None:
        self.tally = Tally()
        self._data_dir = data_dir
        self._work_dir = work_dir
        self._image = image
        self._shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._shim.hit.restype = ctypes.c_char_p

    def run(self, scenario: Scenario, mode: str, every: int, first: int) -> None:
        expected = self._expect(scenario)
        point = first
        while self._try(scenario, expected, mode, point):
            point += every

    def _expect(self, scenario: Scenario) -> Expected:
        def content_after(*acts: Callable[[Site], object]) -> Content:
            reset(self._data_dir, scenario.template)
            for act in acts:
                code = self._fork(lambda act=act: act(site_in(self._data_dir)))  # type: ignore[misc]
                assert code == _DONE, f"{scenario.name} fails by itself"
            return content_of(self._data_dir)

        return Expected(
            when_done=content_after(scenario.act, start_and_stop),
            when_not_begun=content_after(start_and_stop),
            also=content_after(),
        )

    def _try(self, scenario: Scenario, expected: Expected, mode: str, point: int) -> bool:
        """Let one call fail, and look what is left. Returns whether there was such a call."""
        where = f"{scenario.name}, {mode} at call {point}"
        reset(self._data_dir, scenario.template)
        if self._image is not None:
            os.sync()
        fault = MODES["killed"] if mode == POWER_CUT else MODES[mode]
        code = self._fork(lambda: scenario.act(site_in(self._data_dir)), fault, point)
        is_hit, outcome = bool(code & _HIT), code & ~_HIT
        if not is_hit and mode != POWER_CUT:
            return False
        self.tally.points[mode] += is_hit
        self.tally.refused += outcome == _REFUSED
        if outcome == _REFUSED and "importing" in where and list(self._data_dir.glob("backups/*.zip")):
            self._fail(where, "an archive that was refused is there")
        if outcome == _UNEXPLAINED:
            self._fail(where, (self._work_dir / "error.txt").read_text())
        if is_hit:
            self._look(where, self._allowed(scenario, expected, mode, outcome))
        else:  # it was done before the power was cut: it has to stay done
            self._look(where, {expected.when_done})
        return is_hit

    def _allowed(self, scenario: Scenario, expected: Expected, mode: str, outcome: int) -> set[Content]:
        if mode in ("killed", POWER_CUT):
            return {expected.when_done, expected.when_not_begun, expected.also}
        if outcome == _DONE and scenario.act is not start_and_stop:
            return {expected.when_done}
        if outcome == _REFUSED and scenario.changes_nothing_on_error:
            return {expected.when_not_begun}
        return {expected.when_done, expected.when_not_begun, expected.also}

    def _look(self, where: str, allowed: set[Content]) -> None:
        with ExitStack() as mounts:
            data_dir = self._data_dir
            if self._image is not None:
                data_dir = self._mount_copy(mounts)
            if not (data_dir / "app.db").exists():
                self._fail(where, "there is no app.db")
            seen = [self._start_and_look(where, data_dir) for _ in range(2)]
        if None in seen:
            return
        content, names = seen[0]  # type: ignore[misc]
        if content not in allowed:
            self._fail(where, f"{content} is none of {allowed}")
        if seen[1] != seen[0]:
            self._fail(where, f"one more start changes {seen[0]} to {seen[1]}")
        imported = {f"backups/.{Path(name).name}.uploaded" for name in names if name.endswith(".zip")}
        if "importing" in where and imported - set(names):
            self._fail(where, "an archive from elsewhere is not marked as such")
        may_remain = _MAY_REMAIN | imported
        if strange := {name for name in names if name not in may_remain and not name.endswith(".zip")}:
            self._fail(where, f"left over: {strange}")

    def _mount_copy(self, mounts: ExitStack) -> Path:
        """What a power cut leaves: what reached the image, without what the kernel still held."""
        assert self._image is not None
        copy = self._work_dir / "after.img"
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True)
        target = self._work_dir / "after"
        target.mkdir(exist_ok=True)
        mounts.enter_context(mounted(target, "-o", "loop", str(copy)))
        return target / "data"

    def _start_and_look(self, where: str, data_dir: Path) -> tuple[Content, list[str]] | None:
        result = self._work_dir / "result.json"

        def start_and_report() -> None:
            site = site_in(data_dir)
            start_and_stop(site)
            for backup in service.list_backups(site):
                _check_whole(Path(backup.path))
            content = content_of(data_dir)
            result.write_text(json.dumps([content.live, content.safety, _names(data_dir)]))

        if self._fork(start_and_report) != _DONE:
            self._fail(where, f"it does not start again: {(self._work_dir / 'error.txt').read_text()}")
            return None
        live, safety, names = json.loads(result.read_text())
        return Content(live, safety), names

    def _fork(self, act: Callable[[], object], mode: int = 0, point: int = 0) -> int:
        """Run something in a child, with a fault in it. Returns the code, and whether the fault was met."""
        child = os.fork()
        if child == 0:
            code = _UNEXPLAINED
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            try:
                self._shim.arm(mode, point)
                act()
                code = _DONE
            except FastCMSError as error:
                code = _REFUSED
                self._shim.arm(0, 0)
                (self._work_dir / "error.txt").write_text(error.message)
            except BaseException:  # noqa: BLE001 - the child must not return into the parent's code
                is_hit = self._shim.hit()
                self._shim.arm(0, 0)
                (self._work_dir / "error.txt").write_text(f"{is_hit} {traceback.format_exc()}")
            os._exit(code | (_HIT if self._shim.hit() else 0))
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return _HIT
        return os.WEXITSTATUS(status)

    def _fail(self, where: str, what: str) -> None:
        self.tally.failures.append(f"{where}: {what}")
        print(self.tally.failures[-1], flush=True)


def _check_whole(path: Path) -> None:
    """Raise when a listed backup is not whole."""
    scratch = path.with_name(".scratch")
    with open_archive(path) as archive:
        extract_archive(archive, database_path=scratch, files_dir=None, on_progress=ignore_progress)
    scratch.unlink()


def _names(data_dir: Path) -> list[str]:
    """What is in the data folder and in that of backups."""
    folders = {"": data_dir, "backups/": data_dir / "backups", "files/.restore/": data_dir / "files/.restore"}
    found = [f"{prefix}{path.name}" for prefix, folder in folders.items() for path in folder.glob("*")]
    return sorted(found + ["files/.restore_id" for _ in data_dir.glob("files/.restore_id")])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--layout", default="one folder", help="as in layouts.py, or 'ext4 image' to cut power"
    )
    parser.add_argument("--every", type=int, default=1, help="try every Nth call only")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--without-fsync", action="store_true", help="see whether the sweep notices")
    options = parser.parse_args()
    gc.freeze()  # so that no fork looks through what all of them share, and copies it
    with ExitStack() as mounts:
        for module in _MODULES_WITH_PROCESSES:
            mounts.enter_context(patch.object(module, "run_apart", call_here))
        work_dir: Path = options.folder
        data_dir, image = work_dir / "site" / "data", None
        if options.layout == "ext4 image":
            image = _mount_image(mounts, work_dir)
        for folder in ("files", "backups"):
            (data_dir / folder).mkdir(parents=True)
        if image is None:
            mounts.enter_context(laid_out(DataPaths(data_dir), options.layout, work_dir / "elsewhere"))
        (work_dir / "templates").mkdir()
        sweep = Sweep(data_dir, work_dir, image)
        if options.without_fsync:
            ctypes.CDLL(os.environ["LD_PRELOAD"]).ignore_fsync()
        modes = [POWER_CUT] if image else list(MODES)
        for scenario in make_scenarios(data_dir, work_dir / "templates"):
            if options.only not in scenario.name:
                continue
            before = sum(sweep.tally.points.values())
            for number, mode in enumerate(modes):
                sweep.run(scenario, mode, options.every, first=1 + number * options.every // len(modes))
            print(f"{scenario.name}: {sum(sweep.tally.points.values()) - before} points", flush=True)
    return _report(sweep.tally, options.layout)


def _mount_image(mounts: ExitStack, work_dir: Path) -> Path:
    """An ext4 disk that writes only what is fsynced."""
    image = work_dir / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    (work_dir / "site").mkdir()
    mounts.enter_context(mounted(work_dir / "site", "-o", "loop,commit=600", str(image)))
    subprocess.run([*AS_ROOT, "chown", str(os.getuid()), work_dir / "site"], check=True)
    return image


def _report(tally: Tally, layout: str) -> int:
    counts = ", ".join(f"{count:,} {mode}" for mode, count in tally.points.items())
    total = sum(tally.points.values())
    print(f"{layout}: {total:,} points ({counts}), {len(tally.failures)} mixed, lost or left over")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
