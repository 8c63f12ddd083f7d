"""What only a folder has: names that are no text, and drives that know no links."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcms.errors import StoredObjectChangedError
from tests.stores.conftest import open_folder


def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "good.zip").write_bytes(b"PK")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_bytes(b"x")
    assert [stored.name for stored in open_folder(tmp_path).list()] == ["good.zip"]


def without_links(*_paths: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("has_links", [True, False])
def test_what_got_the_name_while_it_was_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    store = open_folder(tmp_path)

    def slowly() -> Iterator[bytes]:
        yield b"mine"
        (tmp_path / "backup.zip").write_bytes(b"somebody else's")

    with pytest.raises(StoredObjectChangedError):
        store.put("backup.zip", slowly(), 4)
    assert (tmp_path / "backup.zip").read_bytes() == b"somebody else's"
    store.put("other.zip", [b"mine"], 4)
    assert {path.name for path in tmp_path.iterdir()} == {"backup.zip", "other.zip"}
