"""Making one backup: FastCMS, and everything that could be used instead."""

import shutil
from functools import partial

from benchmarks.contestants.archivers import COMMANDS, TAR_DURABLE, ZIPFILE_LOOPS, Restic
from benchmarks.context import Bench, Contestant
from benchmarks.results import Metrics

NAME = "create"


def run(bench: Bench) -> None:
    bench.results.facts["content_bytes"] = content_bytes(bench)
    data_dir, archive = bench.cms.data_dir, bench.folder / "archive.zip"
    contestants: list[Contestant] = [bench.cms.create, bench.cms.create_by_command]
    contestants += [partial(c.create, data_dir, archive) for c in COMMANDS if c.is_installed]
    contestants += [partial(loop.create, data_dir, archive) for loop in ZIPFILE_LOOPS]
    restic = Restic(bench.folder)
    if shutil.which("restic"):
        contestants.append(partial(restic.create, data_dir))
    if bench.pocketbase:
        contestants.append(bench.pocketbase.create)
    bench.in_turn(NAME, bench.plan.rounds, contestants)
    restic.remove()


def create_durably_with_tar(bench: Bench) -> dict[str, Metrics]:
    """The limit: the same bytes in one durable file, neither checked nor compressed."""
    tar = next(command for command in COMMANDS if command.name == TAR_DURABLE)
    return tar.create(bench.cms.data_dir, bench.folder / "archive.tar")


def content_bytes(bench: Bench) -> int:
    """The size of the database and the files."""
    files = sum(path.stat().st_size for path in (bench.cms.data_dir / "files").iterdir() if path.is_file())
    return files + (bench.cms.data_dir / "app.db").stat().st_size
