"""Unpacking with several threads: one error ends them all, and is the one that is told."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcms.backups.engine.archive_reader import open_archive
from fastcms.backups.engine.extraction import extract_archive
from fastcms.backups.engine.manifest import BackupManifest
from fastcms.backups.engine.progress import OnProgress, Progress, Work, WorkStoppedError, ignore_progress
from fastcms.errors import CorruptArchiveError, UnsafeArchiveError
from tests.hostile.grafting import Graft

MANIFEST = BackupManifest("a", "2025-01-15T10:00:00Z", "0.1.0", "0001", {"files": 2}, 1, 2)
FILES = {f"files/{number}.bin": bytes([number]) * 70_000 for number in range(250)}
ENTRIES = {
    "database.db": b"a database" * 200_000,
    **FILES,
    "files/very/deep/down/text.txt": b"text",
    "files/very/long": b"0123456789" * 2_000_000,
    "metadata.json": MANIFEST.to_json(),
    "checksums.sha256": b"",
}


@pytest.fixture
def graft() -> Graft:
    graft = Graft(ENTRIES)
    for part in graft.parts[1:-2:2]:
        part.method = 0
    return graft


@pytest.fixture
def extract(graft: Graft, tmp_path: Path) -> Callable[..., Path]:
    def build_and_extract(
        on_progress: OnProgress = ignore_progress, **jobs: Callable[[Work], None] | None
    ) -> Path:
        path, out = tmp_path / "a.zip", tmp_path / "out"
        path.write_bytes(graft.build())
        out.mkdir()
        with open_archive(path) as archive:
            extract_archive(
                archive,
                database_path=out / "database.db",
                files_dir=out / "files",
                on_progress=on_progress,
                **jobs,
            )
        return out

    return build_and_extract


def test_every_byte_arrives_in_private_files_and_folders(extract: Callable[..., Path]) -> None:
    out = extract()
    found = {str(path.relative_to(out)): path for path in out.rglob("*")}
    files = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
    assert files == {name: content for name, content in ENTRIES.items() if name.startswith(("f", "d"))}
    assert {path.stat().st_mode & 0o777 for path in found.values() if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found.values() if path.is_file()} == {0o600}


def test_progress_never_falls_and_ends_with_every_byte(graft: Graft, extract: Callable[..., Path]) -> None:
    seen: list[Progress] = []
    extract(seen.append)
    total_bytes = sum(len(part.content) for part in graft.parts)
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done)
    assert seen[-1] == Progress("extracting", total_bytes, total_bytes)


def test_the_database_is_there_when_it_is_used(extract: Callable[..., Path], tmp_path: Path) -> None:
    seen: list[bytes] = []
    extract(then=lambda _work: seen.append((tmp_path / "out/database.db").read_bytes()))
    assert seen == [ENTRIES["database.db"]]


def test_one_error_ends_the_other_threads_and_is_the_one_that_is_raised(
    graft: Graft, extract: Callable[..., Path]
) -> None:
    ended: list[type[Exception]] = []

    def go_on_for_ever(work: Work) -> None:
        try:
            while True:
                work.add(0)
        except WorkStoppedError as error:
            ended.append(type(error))
            raise

    graft.part("files/very/long").packed = b"\xff" * 20_000
    with pytest.raises(CorruptArchiveError) as raised:
        extract(then=go_on_for_ever, meanwhile=go_on_for_ever)
    assert raised.value.code == "archive_deflate"
    assert ended == [WorkStoppedError] * 2
    assert [thread for thread in threading.enumerate() if "ThreadPool" in thread.name] == []


@pytest.mark.parametrize("job", ["then", "meanwhile"])
def test_what_a_job_raises_is_raised_as_it_is(extract: Callable[..., Path], job: str) -> None:
    def refuse(_work: Work) -> None:
        raise UnsafeArchiveError("a strange row")

    with pytest.raises(UnsafeArchiveError, match=r"^a\.zip: a strange row"):
        extract(**{job: refuse})


def test_a_cancelled_extraction_ends_with_what_the_watcher_raised(extract: Callable[..., Path]) -> None:
    def cancel(progress: Progress) -> None:
        if progress.done_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(cancel)
