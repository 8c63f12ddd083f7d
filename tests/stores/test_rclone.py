"""Others read what we wrote, and we what others wrote: nothing about the objects is our own."""

import random
from pathlib import Path

from tests.object_servers import BUCKET, ObjectServer
from tests.stores.conftest import open_at

MIB = 1024**2


def test_rclone_copies_what_was_put(server: ObjectServer, folder: str, tmp_path: Path) -> None:
    store = open_at(server, f"{folder}/a b")
    contents = {"ä.zip": b"small", "large.zip": random.Random(1).randbytes(17 * MIB), "empty.zip": b""}
    for name, content in contents.items():
        store.put(name, [content], len(content))
    far = f"far:{BUCKET}/{folder}/a b"
    assert sorted(server.rclone("lsf", far).splitlines()) == sorted(contents)
    server.rclone("copy", far, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_what_rclone_puts_is_listed_and_read_and_what_lies_deeper_is_not(
    server: ObjectServer, folder: str, tmp_path: Path
) -> None:
    content = random.Random(2).randbytes(9 * MIB)
    (tmp_path / "one.zip").write_bytes(content)
    for target in ("", "/deeper", "-beside"):
        server.rclone("copy", tmp_path, f"far:{BUCKET}/{folder}{target}")
    store = open_at(server, folder)
    assert [(stored.name, stored.size_bytes) for stored in store.list()] == [("one.zip", len(content))]
    assert b"".join(store.read("one.zip")) == content
    store.remove("one.zip")
    assert server.rclone("lsf", "-R", "--files-only", f"far:{BUCKET}/{folder}").splitlines() == [
        "deeper/one.zip"
    ]
