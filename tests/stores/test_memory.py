"""An upload needs a few parts of memory, whatever its size."""

import json
import os
import subprocess
import sys

from tests.object_servers import ObjectServer

PROGRAM = r"""if True:
    import json, os, re, sys
    from pathlib import Path
    from pyrage.x25519 import Identity
    from fastcms.backups.encryption import decrypted, encrypted
    from fastcms.backups.stores.addresses import open_store, parse_address
    from fastcms.backups.streams import Hashed, ahead
    store = open_store(parse_address(sys.argv[1]), json.loads(os.environ["CREDENTIALS"]))
    piece = bytes(1024**2)
    store.put("small", [piece] * 9, 9 * len(piece))
    # Not ru_maxrss, which begins with what the process that started this one had.
    def peak_kb():
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
    before_kb = peak_kb()
    assert store.put("large", (piece for _ in range(200)), 200 * len(piece)).is_checked
    received_bytes = sum(map(len, store.read("large")))
    assert received_bytes == 200 * len(piece)
    key = Identity.generate()
    with encrypted((piece for _ in range(200)), 200 * len(piece), [key.to_public()]) as stream:
        assert store.put("encrypted", Hashed(stream.chunks), stream.size_bytes).is_checked
    received_bytes = sum(map(len, decrypted(ahead(store.read("encrypted")), [key])))
    assert received_bytes == 200 * len(piece)
    print(peak_kb() - before_kb)
"""


def test_200_mb_go_and_come_back_encrypted_or_not_with_64_mb_of_memory(
    s3_server: ObjectServer, folder: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, s3_server.address(folder)],
        env={**os.environ, "CREDENTIALS": json.dumps(dict(s3_server.credentials))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 64 * 1024, f"{done.stdout} kB"
