"""What holds for every store, whatever is behind it."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from fastcms.backups.stores import base, folder
from fastcms.backups.stores.base import BackupStore
from fastcms.backups.stores.folder import FolderStore
from fastcms.errors import (
    InvalidInputError,
    StoreCrowdedError,
    StoredObjectChangedError,
    StoredObjectMissingError,
)

NAME = "backup_20250115_100000.zip"
MIB = 1024**2
# Nothing, a byte, one part, just one part, just more than that, and several parts.
SIZES = [0, 1, 6 * MIB, 8 * MIB, 8 * MIB + 1, 17 * MIB]


def content_of(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


def pieces_of(content: bytes) -> Iterator[bytes]:
    """Pieces of odd sizes, an empty one among them."""
    yield b""
    for start in range(0, len(content), 333_333):
        yield content[start : start + 333_333]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_what_was_put_comes_back_byte_for_byte(store: BackupStore, size_bytes: int) -> None:
    content = content_of(size_bytes)
    stored = store.put(NAME, pieces_of(content), size_bytes).stored
    assert (stored.name, stored.size_bytes) == (NAME, size_bytes)
    assert abs(datetime.now(UTC) - stored.modified) < timedelta(seconds=10)
    assert store.find(NAME) == stored
    assert store.list() == [stored]
    assert b"".join(store.read(NAME)) == content


def test_parts_of_an_object_are_read_without_the_rest(store: BackupStore) -> None:
    content = content_of(3 * MIB)
    store.put(NAME, [content], len(content))

    def read(offset: int, length: int | None = None) -> bytes:
        return b"".join(store.read(NAME, offset, length))

    assert read(1) == content[1:]
    assert read(0, 5) == content[:5]
    assert read(2 * MIB - 3, 7) == content[2 * MIB - 3 : 2 * MIB + 4]
    assert read(len(content) - 2, 100) == content[-2:]
    assert read(5, 0) == read(len(content)) == read(len(content), 9) == b""
    with pytest.raises(StoredObjectChangedError):
        read(len(content) + 1)


def test_reading_may_stop_anywhere(store: BackupStore) -> None:
    store.put(NAME, [content_of(3 * MIB)], 3 * MIB)
    chunks = store.read(NAME)
    assert len(next(chunks)) <= 2 * MIB
    chunks.close()
    assert b"".join(store.read(NAME, 0, 3)) == content_of(3 * MIB)[:3]


def test_an_object_is_replaced_by_one_of_the_same_name_or_stays(store: BackupStore) -> None:
    first = store.put(NAME, [b"first"], 5).stored
    if isinstance(store, FolderStore):
        with pytest.raises(StoredObjectChangedError):
            store.put(NAME, [b"other"], 5)
        assert store.list() == [first]
        return
    second = store.put(NAME, [b"other"], 5).stored
    assert second.version != first.version
    assert store.list() == [second]
    assert b"".join(store.read(NAME)) == b"other"


def test_objects_are_listed_by_name(store: BackupStore) -> None:
    names = ["b.zip", "a.zip", "ä +&=%41?#'.zip", "c.zip.age", "10"]
    for name in names:
        store.put(name, [name.encode()], len(name.encode()))
    assert [stored.name for stored in store.list()] == sorted(names)
    assert {name: b"".join(store.read(name)).decode() for name in names} == {name: name for name in names}
    for name in names:
        store.remove(name)
    assert store.list() == []


def test_what_would_fill_the_memory_is_not_listed(
    store: BackupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (base, folder):
        monkeypatch.setattr(module, "MOST_OBJECTS", 2)
    for name in ("a", "b", "c"):
        assert len(store.list()) < 3
        store.put(name, [b"x"], 1)
    with pytest.raises(StoreCrowdedError, match="more than 2 objects"):
        store.list()


def test_an_object_can_be_removed_twice(store: BackupStore) -> None:
    store.put(NAME, [b"x"], 1)
    store.remove(NAME)
    store.remove(NAME)
    assert store.find(NAME) is None
    assert store.list() == []
    with pytest.raises(StoredObjectMissingError) as caught:
        next(store.read(NAME))
    assert NAME in caught.value.message


@pytest.mark.parametrize("size_bytes", [4, 6, 9 * MIB - 1, 9 * MIB + 1])
def test_an_object_of_another_size_than_was_said_is_not_stored(store: BackupStore, size_bytes: int) -> None:
    content = content_of(9 * MIB) if size_bytes > 6 else b"12345"
    with pytest.raises(StoredObjectChangedError):
        store.put(NAME, pieces_of(content), size_bytes)
    assert store.list() == []


@pytest.mark.parametrize("read_bytes", [3, 9 * MIB])
def test_an_error_while_reading_what_is_sent_leaves_what_was_there(
    store: BackupStore, read_bytes: int
) -> None:
    class DiskError(OSError):
        pass

    before = store.put(NAME, [b"before"], 6).stored

    def failing() -> Iterator[bytes]:
        yield content_of(read_bytes)
        raise DiskError("The local disk is broken.")

    with pytest.raises(DiskError):
        store.put(NAME, failing(), 2 * read_bytes)
    assert store.list() == [before]
    assert b"".join(store.read(NAME)) == b"before"


def test_nobody_sees_an_object_before_it_is_whole(store: BackupStore) -> None:
    content = content_of(17 * MIB)
    seen: list[object] = []

    def looking() -> Iterator[bytes]:
        yield from pieces_of(content)
        with ThreadPoolExecutor() as others:
            seen.extend([others.submit(store.find, NAME).result(), others.submit(store.list).result()])

    store.put(NAME, looking(), len(content))
    assert seen == [None, []]


def test_a_check_leaves_nothing(store: BackupStore) -> None:
    store.put(NAME, [b"x"], 1)
    store.check()
    assert [stored.name for stored in store.list()] == [NAME]


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a/b", "/a", "a\\b", "a\nb", "a\x00", "x" * 201])
def test_a_name_that_could_be_a_path_is_refused(store: BackupStore, name: str) -> None:
    for act in (
        store.find,
        store.remove,
        lambda name: list(store.read(name)),
        lambda name: store.put(name, [], 0),
    ):
        with pytest.raises(InvalidInputError):
            act(name)
    assert store.list() == []
