"""Restores, roll-backs and undos wherever the parts of the data folder lie."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcms.backups.engine.paths import DataPaths, State, are_files_apart, is_one_mount
from fastcms.backups.engine.staging import cancel_restore, remove_discarded
from fastcms.backups.engine.swap import apply_pending_restore
from fastcms.backups.engine.undo import discard_safety_copy, find_safety_copy, stage_undo
from tests.unit.backups.engine.conftest import posts
from tests.unit.backups.engine.layouts import LAYOUTS, laid_out
from tests.unit.backups.engine.test_staging import stage
from tests.unit.backups.engine.test_swap import do_nothing, fail


@pytest.fixture(params=LAYOUTS)
def layout(
    request: pytest.FixtureRequest, paths: DataPaths, archive_path: Path, tmp_path: Path
) -> Iterator[str]:
    with laid_out(paths, request.param, tmp_path / "elsewhere"):
        yield request.param


def content_of(state: State) -> str:
    """Old or new, when database and files agree."""
    [title] = posts(state.database)
    names = {
        path.relative_to(state.files).as_posix()
        for path in state.files.rglob("*")
        if path.is_file() and ".restore" not in path.relative_to(state.files).parts
    }
    assert names == {"old": {"picture.txt"}, "new": {"one.txt", "deep/日本語.txt"}}[str(title)]
    return str(title)


def apply(paths: DataPaths) -> None:
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "restored", receipt.reason
    remove_discarded(paths)


def safety_of(paths: DataPaths) -> str:
    found = find_safety_copy(paths)
    assert found is not None
    return content_of(found.state)


def test_a_restore_and_its_undos_take_the_whole_state_there_and_back(
    paths: DataPaths, archive_path: Path, layout: str
) -> None:
    stage(paths, archive_path)
    assert content_of(paths.live) == "old"
    apply(paths)
    for live, kept in (("new", "old"), ("old", "new"), ("new", "old")):
        assert (content_of(paths.live), safety_of(paths)) == (live, kept)
        stage_undo(paths, requested_by="me", check=lambda _state: None)
        apply(paths)
    stage_undo(paths, requested_by="me", check=lambda _state: None)
    cancel_restore(paths)
    discard_safety_copy(paths)
    assert content_of(paths.live) == "old"
    assert find_safety_copy(paths) is None


def test_a_failed_restore_and_a_failed_undo_leave_everything_as_it_was(
    paths: DataPaths, archive_path: Path, layout: str
) -> None:
    stage(paths, archive_path)
    assert (receipt := apply_pending_restore(paths, fail)) is not None
    assert receipt.outcome == "rolled_back"
    assert content_of(paths.live) == "old"
    stage(paths, archive_path)
    apply(paths)
    stage_undo(paths, requested_by="me", check=lambda _state: None)
    assert (receipt := apply_pending_restore(paths, fail)) is not None
    assert receipt.outcome == "rolled_back"
    assert (content_of(paths.live), safety_of(paths)) == ("new", "old")


def test_a_cancelled_restore_leaves_nothing_in_any_place(
    paths: DataPaths, archive_path: Path, layout: str
) -> None:
    before = {path for path in paths.data_dir.rglob("*") if path.name != ".restore"}
    stage(paths, archive_path)
    cancel_restore(paths)
    assert {path for path in paths.data_dir.rglob("*") if path.name != ".restore"} == before


def test_files_that_are_a_mount_point_or_a_link_are_told_apart(paths: DataPaths, layout: str) -> None:
    one_by_one = ("files on", "each on", "the same", "files are")
    assert are_files_apart(paths) == layout.startswith(one_by_one)


def test_the_probe_agrees_with_a_real_rename(paths: DataPaths, layout: str) -> None:
    for folder in (paths.files_dir, paths.backups_dir):
        (folder / "probe").touch()
        assert is_one_mount(folder, paths.data_dir) == can_be_renamed(
            folder / "probe", paths.data_dir / "probe"
        )


def test_a_folder_of_a_lower_layer_cannot_be_renamed(
    paths: DataPaths, archive_path: Path, tmp_path: Path
) -> None:
    """Otherwise the layout would prove nothing."""
    with laid_out(paths, "overlayfs", tmp_path / "elsewhere"):
        assert not can_be_renamed(paths.files_dir, paths.data_dir / "files.moved")


def can_be_renamed(path: Path, target: Path) -> bool:
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True
