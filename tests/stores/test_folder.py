"""What only a folder has: names that are no text, and drives that know no links."""

import errno
import os
from pathlib import Path

import pytest

from fastcms.errors import StoredObjectChangedError
from tests.stores.conftest import open_folder


def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "good.zip").write_bytes(b"PK")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_bytes(b"x")
    assert [stored.name for stored in open_folder(tmp_path).list()] == ["good.zip"]
