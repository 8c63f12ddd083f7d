"""A site of very many small files."""

from functools import partial

from benchmarks.contestants.archivers import CONTENT
from benchmarks.contestants.archivers import run as run_program
from benchmarks.context import Bench
from benchmarks.measurements import stage
from benchmarks.measurements.create import create_durably_with_tar

CREATE = "create, many small files"
STAGE = "stage, many small files"


def run(bench: Bench) -> None:
    rounds = bench.plan.small_files_rounds
    bench.in_turn(CREATE, rounds, [bench.cms.create, partial(create_durably_with_tar, bench)])
    filename = bench.cms.create_backup()["filename"]
    tar = bench.folder / "archive.tar"
    run_program(["tar", "cf", str(tar), *CONTENT], bench.cms.data_dir)
    bench.in_turn(STAGE, rounds, [partial(stage.by_cms, bench, filename), partial(stage.by_tar, bench, tar)])
    tar.unlink()
