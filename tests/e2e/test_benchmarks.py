"""The benchmarks do what they say, on a site so small that it takes seconds."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.contestants.archivers import COMMANDS, ZIPFILE_LOOPS
from benchmarks.contestants.cms import CmsSite
from benchmarks.contestants.pocketbase import PocketBaseSite, find_program
from benchmarks.context import Bench
from benchmarks.dataset import Dataset
from benchmarks.http_client import Connection
from benchmarks.measurements import download, offsite, stage, swap, uploads
from benchmarks.plan import QUICK
from benchmarks.results import Results

TINY = Dataset(records=200, record_bytes=1_000, pictures=10, picture_bytes=50_000, texts=10, text_bytes=5_000)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    site = CmsSite(folder / "fastcms", TINY)
    yield Bench(QUICK, folder, Results("quick", {}, {}), Console(quiet=True), site, None)
    site.stop()


@pytest.mark.parametrize("contestant", [*COMMANDS, *ZIPFILE_LOOPS], ids=lambda contestant: contestant.name)
def test_every_program_archives_the_database_and_the_files(
    bench: Bench, contestant: object, tmp_path: Path
) -> None:
    metrics = contestant.create(bench.cms.data_dir, tmp_path / "archive.zip")[contestant.name]  # type: ignore[attr-defined]
    assert metrics["archive_bytes"] > TINY.pictures * TINY.picture_bytes
    assert list(tmp_path.iterdir()) == []


def test_fastcms_is_measured_by_its_api_and_its_command(bench: Bench) -> None:
    for measured in (bench.cms.create(), bench.cms.create_by_command()):
        for metrics in measured.values():
            assert metrics["seconds"] > 0
            assert metrics["archive_bytes"] > TINY.pictures * TINY.picture_bytes
    assert bench.cms.client.call("GET", "/backups")["total"] == 0


def test_backups_under_uploads_and_deletes_are_restored_and_compared(bench: Bench, tmp_path: Path) -> None:
    with uploads.uploads_and_deletes(bench.cms.api) as done:
        archives = [bench.cms.backups_dir / bench.cms.create_backup()["filename"] for _ in range(2)]
    assert done["uploads"] > 0
    assert done["failed_requests"] == 0
    for archive in archives:
        files, missing, different = uploads.restore_and_compare(archive, tmp_path / "restored")
        assert files >= TINY.pictures + TINY.texts
        assert (missing, different) == (0, 0)
        bench.cms.delete_backup(archive.name)


def test_the_comparison_notices_files_that_are_missing_or_different(bench: Bench, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    bench.cms.stop()
    shutil.copytree(bench.cms.data_dir, data_dir)
    bench.cms.server.start()
    files = uploads.count_wrong_files(data_dir)[0]
    (data_dir / "files/photo-000003.jpg").unlink()
    os.truncate(data_dir / "files/photo-000004.jpg", 10)
    (data_dir / "files/notes-000001.txt").write_bytes(b"x" * TINY.text_bytes)
    assert uploads.count_wrong_files(data_dir) == (files, 1, 2)


def test_staging_starting_and_downloading_leave_nothing_behind(bench: Bench) -> None:
    filename = bench.cms.create_backup()["filename"]
    assert stage.by_cms(bench, filename)["FastCMS"]["seconds"] > 0
    bench.cms.delete_backup(filename)
    swap.run(bench, "tiny", rounds=1)
    download.run(bench)
    assert bench.results.facts[download.DIFFERING] == 0
    assert bench.cms.client.call("GET", "/backups")["total"] == 0
    status = bench.cms.client.call("GET", "/backups/restore")
    assert (status["state"], status["safety_copy"]) == ("restored", None)


@pytest.mark.slow
def test_copies_are_made_by_every_program_and_come_back_as_they_were(bench: Bench) -> None:
    bench = replace(bench, plan=replace(bench.plan, copied_rounds=1))
    offsite.run(bench)
    for contestant in (offsite.ENCRYPTED, offsite.RCLONE, offsite.AGE):
        assert bench.results.get(offsite.COPY, contestant, "seconds"), contestant
    for contestant in (offsite.CHECKED, offsite.RCLONE_BACK, offsite.AGE_BACK):
        assert bench.results.get(offsite.FETCH, contestant, "seconds"), contestant
    assert bench.cms.client.call("GET", "/backups")["total"] == 0
    assert bench.cms.client.call("GET", "/backups/destinations")["total"] == 0


@pytest.mark.skipif(find_program() is None, reason="`make bench` installs PocketBase")
def test_pocketbase_has_the_same_content_and_gets_it_back(bench: Bench, tmp_path: Path) -> None:
    program = find_program()
    assert program is not None
    server = PocketBaseSite(tmp_path / "pocketbase", program)
    try:
        server.fill_like(bench.cms)
        backup = server.create_backup()
        with closing(Connection(server.api.port)) as connection:
            assert connection.send(server.api.new_record)[0] == 200
        assert server.restore(backup)[0] > 0
        with closing(Connection(server.api.port)) as connection:
            path = "/api/collections/articles/records?perPage=1"
            status, body = connection.send(server.api.reading_of(path, ""))
        assert status == 200
        assert f'"totalItems":{TINY.records}'.encode() in body
        server.delete_backup(backup)
    finally:
        server.stop()
