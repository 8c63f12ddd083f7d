"""Samples of `make crash`, which tries every call: a minute instead of half an hour."""

from pathlib import Path

import pytest

from tests.crash.run import count_points, run_sweep


@pytest.mark.parametrize(
    ("layout", "every", "at_least"),
    [
        ("one folder", "97", 40),
        ("ext4 image", "97", 14),
        pytest.param("each on a disk of its own", "97", 40, marks=pytest.mark.slow),
    ],
)
def test_whatever_interrupts_a_backup_or_a_restore_the_next_start_is_all_old_or_all_new(
    tmp_path: Path, layout: str, every: str, at_least: int
) -> None:
    is_clean, report = run_sweep(tmp_path, layout, "--every", every)
    assert is_clean, report
    assert count_points(report) >= at_least, report


def test_a_sweep_notices_what_would_be_lost_without_fsync(tmp_path: Path) -> None:
    """A proof that cannot fail is none: with fsync doing nothing, a power cut has to take something."""
    options = ("--every", "9", "--only", "staging a restore", "--without-fsync")
    is_clean, report = run_sweep(tmp_path, "ext4 image", *options)
    assert not is_clean, report
    assert "is none of" in report or "there is no app.db" in report or "does not start" in report
