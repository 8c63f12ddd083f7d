"""Memory of a process and its children."""

import subprocess
import sys

from benchmarks.measurements.memory import measure_memory

PARENT = """
import subprocess, sys
child = "content = bytes(60_000_000).replace(b'\\\\0', b'1'); print('ready', flush=True); input()"
subprocess.run([sys.executable, "-c", child])
"""


def test_memory_of_children_is_counted() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert 60_000_000 < measure_memory(process.pid) < 200_000_000
        process.communicate("\n")


def test_a_process_that_has_ended_takes_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert measure_memory(process.pid) == 0
