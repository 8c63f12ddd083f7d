"""Compile the faults and run sweeps: all of them for `make crash`, samples for the tests."""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.conftest import REPOSITORY, clean_environment

LAYOUTS = ["one folder", "each on a disk of its own", "ext4 image"]


def compile_faults(folder: Path) -> Path:
    """The library that makes calls fail; a C compiler is all it needs."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def run_sweep(folder: Path, layout: str, *options: str) -> tuple[bool, str]:
    """Run one sweep in a folder of its own. Returns whether nothing went wrong, and its report."""
    work_dir = folder / layout.replace(" ", "-")
    work_dir.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.sweep", work_dir, "--layout", layout, *options],
        env=clean_environment() | {"LD_PRELOAD": str(compile_faults(work_dir))},
        cwd=REPOSITORY,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode == 0, done.stdout


def count_points(report: str) -> int:
    """How many faults a sweep's last line says it has tried."""
    found = re.search(r": ([\d,]+) points \(", report)
    return int(found[1].replace(",", "")) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", default="1", help="try every Nth call only")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        results = list(
            pool.map(lambda layout: run_sweep(Path(folder), layout, "--every", options.every), LAYOUTS)
        )
    for _, report in results:
        print(report)
    total = sum(count_points(report) for _, report in results)
    is_clean = all(ok for ok, _ in results)
    verdict = "0 mixed, 0 lost" if is_clean else "SOMETHING WENT WRONG, see above"
    print(f"{total:,} kill points in {(time.monotonic() - started) / 60:.0f} minutes: {verdict}")
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
