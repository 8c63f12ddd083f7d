"""Getting a backup back: what FastCMS does before the restart, and what others do in its place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.contestants import cms, pocketbase
from benchmarks.contestants.archivers import CONTENT, UNTAR, UNZIP, Restic, time_of
from benchmarks.contestants.archivers import run as run_program
from benchmarks.contestants.pocketbase import PocketBaseSite
from benchmarks.context import Bench, Contestant
from benchmarks.results import Metrics

NAME = "stage"
RESTIC = "restic restore"


def run(bench: Bench) -> None:
    backup = bench.cms.create_backup()
    archive = bench.cms.backups_dir / backup["filename"]
    tar, restic = bench.folder / "archive.tar", Restic(bench.folder)
    run_program(["tar", "cf", str(tar), *CONTENT], bench.cms.data_dir)
    contestants: list[Contestant] = [
        partial(by_cms, bench, archive.name),
        partial(by_tar, bench, tar),
    ]
    if shutil.which("unzip"):
        contestants.append(partial(_extract, bench, UNZIP, ["unzip", "-q", str(archive)]))
    if shutil.which("restic"):
        restic.create(bench.cms.data_dir)
        contestants.append(partial(_restore_by_restic, bench, restic))
    if bench.pocketbase:
        contestants.append(
            partial(_restore_by_pocketbase, bench.pocketbase, bench.pocketbase.create_backup())
        )
    bench.in_turn(NAME, bench.plan.rounds, contestants)
    bench.cms.delete_backup(archive.name)


def by_cms(bench: Bench, filename: str) -> dict[str, Metrics]:
    seconds = bench.cms.stage(filename)
    bench.cms.cancel()
    return {cms.NAME: {"seconds": seconds}}


def by_tar(bench: Bench, tar: Path) -> dict[str, Metrics]:
    return _extract(bench, UNTAR, ["tar", "xf", str(tar)])


def _extract(bench: Bench, name: str, command: list[str]) -> dict[str, Metrics]:
    with _new_folder(bench) as target:
        return {name: {"seconds": time_of(lambda: run_program(command, target))}}


def _restore_by_restic(bench: Bench, restic: Restic) -> dict[str, Metrics]:
    with _new_folder(bench) as target:
        return {RESTIC: {"seconds": restic.restore(target)}}


def _restore_by_pocketbase(server: PocketBaseSite, name: str) -> dict[str, Metrics]:
    seconds, refusing_seconds = server.restore(name)
    return {pocketbase.NAME: {"seconds": seconds, "refusing_seconds": refusing_seconds}}


@contextmanager
def _new_folder(bench: Bench) -> Iterator[Path]:
    target = bench.folder / "extracted"
    target.mkdir()
    yield target
    shutil.rmtree(target)
