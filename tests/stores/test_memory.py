"""An upload needs a few parts of memory, whatever its size."""

import json
import os
import subprocess
import sys

from tests.object_servers import ObjectServer

PROGRAM = """if True:
    import json, os, resource, sys
    from fastcms.backups.stores.addresses import open_store, parse_address
    store = open_store(parse_address(sys.argv[1]), json.loads(os.environ["CREDENTIALS"]))
    piece = bytes(1024**2)
    store.put("small", [piece] * 9, 9 * len(piece))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert store.put("large", (piece for _ in range(300)), 300 * len(piece)).is_checked
    received_bytes = sum(map(len, store.read("large")))
    assert received_bytes == 300 * len(piece)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb)
"""


def test_300_mb_go_and_come_back_with_64_mb_of_memory(s3_server: ObjectServer, folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, s3_server.address(folder)],
        env={**os.environ, "CREDENTIALS": json.dumps(dict(s3_server.credentials))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 64 * 1024, f"{done.stdout} kB"
