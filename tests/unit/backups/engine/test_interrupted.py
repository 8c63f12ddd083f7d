"""What happens to the data folder between a crash in the middle of a restore and the next start."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcms.backups.engine import swap
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import Phase, read_marker, read_receipts
from fastcms.backups.engine.swap import apply_pending_restore, give_way_to_hand
from fastcms.errors import RestoreError
from tests.unit.backups.engine.conftest import posts
from tests.unit.backups.engine.layouts import laid_out
from tests.unit.backups.engine.test_mounts import content_of
from tests.unit.backups.engine.test_staging import stage
from tests.unit.backups.engine.test_swap import Died, do_nothing, state_of

# Each dies when the phase has been recorded, before the first and after the last step of it.
DEATHS = {
    "before anything is moved out": (Phase.MOVING_OUT, "move_out", False),
    "after everything is moved out": (Phase.MOVING_OUT, "move_out", True),
    "before anything is moved in": (Phase.MOVING_IN, "move_in", False),
    "after everything is moved in": (Phase.MOVING_IN, "move_in", True),
}
Interrupt = Callable[[DataPaths], None]


@pytest.fixture(params=DEATHS)
def interrupt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Start a restore that dies at a chosen moment."""
    phase, step, is_done = DEATHS[request.param]
    move = getattr(swap, step)

    def die(*states: object) -> None:
        if is_done:
            move(*states)
        raise Died

    def start(paths: DataPaths) -> None:
        monkeypatch.setattr(swap, step, die)
        with pytest.raises(Died):
            apply_pending_restore(paths, do_nothing)
        monkeypatch.setattr(swap, step, move)
        pending = read_marker(paths)
        assert pending is not None
        assert pending.phase is phase

    return start


def test_a_staging_folder_that_was_removed_meanwhile_is_no_success(
    paths: DataPaths, archive_path: Path, interrupt: Interrupt
) -> None:
    stage(paths, archive_path)
    interrupt(paths)
    shutil.rmtree(paths.staging_dir)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    # Where all of it had moved already, nothing was missing.
    assert state_of(paths) == {"restored": "new", "rolled_back": "old"}[receipt.outcome]
    assert (receipt.outcome == "restored") == receipt_is_of_a_whole_state(paths)


def receipt_is_of_a_whole_state(paths: DataPaths) -> bool:
    return posts(paths.database) == ["new"]


def test_files_that_are_not_mounted_any_more_stop_the_start_until_they_are_again(
    paths: DataPaths, archive_path: Path, interrupt: Interrupt, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    shutil.copytree(paths.files_dir, volume)
    shutil.rmtree(paths.files_dir)
    paths.files_dir.symlink_to(volume)
    stage(paths, archive_path)
    interrupt(paths)
    paths.files_dir.unlink()
    paths.files_dir.mkdir()
    with pytest.raises(RestoreError, match="is not the mount that it was"):
        apply_pending_restore(paths, do_nothing)
    assert read_marker(paths) is not None
    paths.files_dir.rmdir()
    paths.files_dir.symlink_to(volume)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "restored"
    assert content_of(paths.live) == "new"


@pytest.mark.parametrize("layout", ["one folder", "backups on another disk"])
def test_a_marker_that_is_out_of_sight_stops_the_start_until_it_is_back(
    paths: DataPaths, archive_path: Path, interrupt: Interrupt, tmp_path: Path, layout: str
) -> None:
    with laid_out(paths, layout, tmp_path / "elsewhere"):
        stage(paths, archive_path)
        interrupt(paths)
        hidden = paths.marker.rename(paths.backups_dir / "hidden")
        if swap.find_strays(paths):
            with pytest.raises(RestoreError, match=r"marker .* is gone"):
                apply_pending_restore(paths, do_nothing)
        hidden.rename(paths.marker)
        receipt = apply_pending_restore(paths, do_nothing)
        assert receipt is not None
        assert receipt.outcome == "restored"
        assert content_of(paths.live) == "new"


def test_a_database_that_somebody_puts_in_place_by_hand_is_not_replaced_again(
    paths: DataPaths, archive_path: Path, interrupt: Interrupt, tmp_path: Path
) -> None:
    stage(paths, archive_path)
    interrupt(paths)
    shutil.copy(paths.database, tmp_path / "before")
    by_hand = tmp_path / "database.db"
    shutil.unpack_archive(archive_path, tmp_path, "zip")
    # As `cp` does it: into the file that is there, whatever other names it has.
    paths.database.write_bytes(by_hand.read_bytes())
    paths.files_dir.mkdir(exist_ok=True)
    assert give_way_to_hand(paths)
    receipt = apply_pending_restore(paths, do_nothing)
    assert receipt is not None
    assert receipt.outcome == "rolled_back"

    assert "another app.db in place" in receipt.reason
    assert posts(paths.database) == ["new"]
    assert paths.database.stat().st_nlink == 1
    assert len(list(read_receipts(paths.receipts))) == 1
    assert apply_pending_restore(paths, do_nothing) is None


def test_what_fastcms_put_in_place_itself_is_not_taken_for_somebody_s(
    paths: DataPaths, archive_path: Path, interrupt: Interrupt
) -> None:
    stage(paths, archive_path)
    interrupt(paths)
    assert not give_way_to_hand(paths)


def test_an_old_state_that_was_removed_is_not_said_to_be_back(paths: DataPaths, archive_path: Path) -> None:
    def lose_the_old_state() -> None:
        paths.replaced(files_apart=False).database.unlink()
        raise ValueError("the restored site does not open")

    stage(paths, archive_path)
    with pytest.raises(RestoreError, match="cannot be put back"):
        apply_pending_restore(paths, lose_the_old_state)
    assert read_marker(paths) is not None
