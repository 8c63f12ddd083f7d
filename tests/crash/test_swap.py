"""Die at every rename, link, unlink and fsync of a restore, then start again: all old or all new.

Source of the method: https://www.sqlite.org/testing.html#anomaly_testing; strace delivers the kill.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.pending import read_receipts
from fastcms.backups.engine.swap import apply_pending_restore
from tests.unit.backups.engine.conftest import archive_path, paths, posts  # noqa: F401 - fixtures
from tests.unit.backups.engine.test_staging import stage
from tests.unit.backups.engine.test_swap import do_nothing, state_of

APPLY = """
import sys
from pathlib import Path
from fastcms.backups.engine.paths import DataPaths
from fastcms.backups.engine.swap import apply_pending_restore
from fastcms.sqlite import sqlite3

def bring_up():
    connection = sqlite3.connect(sys.argv[1] + "/app.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE migrated (id)")
    if sys.argv[2] == "fails":
        raise ValueError("the restored site does not open")
    connection.execute("DROP TABLE migrated")
    connection.close()

apply_pending_restore(DataPaths(Path(sys.argv[1])), bring_up)
"""
# Everything by which the folder can change or become durable.
CALLS = ["rename", "link", "linkat", "unlink", "unlinkat", "fsync", "rmdir"]


def apply(data_dir: Path, ending: str, *strace: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["strace", "-f", "-qq", *strace, sys.executable, "-c", APPLY, str(data_dir), ending],
        check=False,
        capture_output=True,
        text=True,
    )


def count_calls(data_dir: Path, ending: str, trace_path: Path) -> dict[str, int]:
    done = apply(data_dir, ending, "-o", str(trace_path), "-e", f"trace={','.join(CALLS)}")
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^\d+ +(\w+)\(", trace_path.read_text(), re.MULTILINE)
    return {name: names.count(name) for name in CALLS if name in names}


@pytest.mark.parametrize("ending", ["restores", "fails"])
def test_a_restore_killed_at_any_step_is_finished_by_the_next_start(
    paths: DataPaths,  # noqa: F811 - the fixture
    archive_path: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
    ending: str,
) -> None:
    stage(paths, archive_path)
    before = Path(shutil.copytree(paths.data_dir, tmp_path / "before"))
    counts = count_calls(paths.data_dir, ending, tmp_path / "trace")
    assert counts["rename"] >= 4
    for call, count in counts.items():
        for number in range(1, count + 1):
            data_dir = Path(shutil.copytree(before, tmp_path / f"{call}{number}"))
            injection = f"inject={call}:signal=KILL:when={number}"
            apply(data_dir, ending, "-o", "/dev/null", "-e", f"trace={call}", "-e", injection)
            killed = DataPaths(data_dir)
            assert killed.database.exists(), "a moment without app.db"
            check_next_start(killed, ending, f"{call} {number}")
            shutil.rmtree(data_dir)


def check_next_start(killed: DataPaths, ending: str, where: str) -> None:
    apply_pending_restore(killed, do_nothing)
    receipts = list(read_receipts(killed.receipts))
    assert len(receipts) == 1, where
    receipt = receipts[0]
    # Killed before it failed, a restore succeeds at the next start; what had been rolled back stays so.
    assert receipt.outcome in (["restored"] if ending == "restores" else ["restored", "rolled_back"]), where
    assert state_of(killed) == ("new" if receipt.outcome == "restored" else "old"), where
    assert not killed.marker.exists(), where
    assert not killed.staging_dir.exists(), where
    if receipt.outcome == "restored":
        assert posts(killed.safety(files_apart=False).database) == ["old"], where
        assert (killed.safety(files_apart=False).files / "picture.txt").read_text() == "old picture", where
    assert apply_pending_restore(killed, do_nothing) is None, where
