"""What is encrypted comes back, byte for byte, or an error does."""

import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage.x25519 import Identity

from fastcms.backups.encryption import (
    decrypted,
    encrypted,
    looks_encrypted,
    opened,
    prove_decryptable,
    require_fitting,
)
from fastcms.errors import CorruptArchiveError, FastCMSError, KeyRequiredError, WrongKeyError

IDENTITY = Identity.generate()
OTHER = Identity.generate()
RECIPIENT = IDENTITY.to_public()
BLOCK = 65_536
# Three blocks and a half, no two of them alike.
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(56_000))


BY_PASSPHRASE = (
    b"age-encryption.org/v1\n"
    b"-> scrypt Uv8+hRSDbAv7WJ82DEALPw 17\n"
    b"ttGaiB/Doj2gnAvzaBOcT+30HSHKHS9tY9N4Y9zESV8\n"
    b"--- iFddcI7saTnUSuN+lJ0WDsyb7RSAdbVvzFrspnjNG/Q\n"
)


def encrypt(content: bytes, recipients: int = 1) -> bytes:
    keys = [RECIPIENT, *(OTHER.to_public() for _ in range(recipients - 1))]
    with encrypted([content], len(content), keys) as stream:
        result = b"".join(stream.chunks)
    assert stream.size_bytes == len(result)
    return result


def decrypt(chunks: Iterable[bytes], *identities: Identity) -> bytes:
    with closing(decrypted(chunks, identities or [IDENTITY])) as pieces:
        return b"".join(pieces)


@pytest.fixture(autouse=True)
def every_thread_ends() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "age"] == []


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3_000_000])
@pytest.mark.parametrize("recipients", [1, 2, 100])
def test_the_size_is_known_before_the_content_is_read(size: int, recipients: int) -> None:
    content = (CONTENT * 20)[:size]
    assert decrypt([encrypt(content, recipients)]) == content


@given(st.lists(st.binary(max_size=70_000), max_size=5), st.integers(1, 3), st.integers(1, 100_000))
def test_any_content_in_any_chunks_comes_back(chunks: list[bytes], recipients: int, cut: int) -> None:
    content = b"".join(chunks)
    keys = [Identity.generate().to_public() for _ in range(recipients - 1)] + [RECIPIENT]
    with encrypted(chunks, len(content), keys) as stream:
        sealed = b"".join(stream.chunks)
    assert len(sealed) == stream.size_bytes
    assert decrypt(sealed[at : at + cut] for at in range(0, len(sealed), cut)) == content
    prove_decryptable([sealed], [OTHER, IDENTITY], sha256(content).hexdigest())


def test_each_of_several_keys_opens_it() -> None:
    sealed = encrypt(CONTENT, recipients=2)
    assert (
        decrypt([sealed], OTHER)
        == decrypt([sealed], IDENTITY)
        == decrypt([sealed], OTHER, IDENTITY)
        == CONTENT
    )


def test_another_key_opens_nothing() -> None:
    with pytest.raises(WrongKeyError) as caught:
        decrypt([encrypt(CONTENT)], OTHER)
    assert str(OTHER)[20:] not in caught.value.message + caught.value.hint
    with pytest.raises(WrongKeyError):
        decrypt([BY_PASSPHRASE + bytes(100)])


@pytest.mark.parametrize("size", [100, BLOCK, len(CONTENT)])
def test_what_is_cut_off_anywhere_never_comes_to_its_end(size: int) -> None:
    """Also where it ends with a whole block: the last one is marked."""
    sealed = encrypt(CONTENT[:size])
    ends = [len(sealed) * part // 50 for part in range(50)]
    header_bytes = sealed.index(b"\n--- ") + len("\n--- \n") + 43 + 16
    whole_blocks = [header_bytes + count * (BLOCK + 16) for count in range(len(sealed) // BLOCK)]
    for end in [*ends, *whole_blocks, len(sealed) - 1]:
        with pytest.raises(CorruptArchiveError):
            decrypt([sealed[:end]])


@given(st.data())
def test_one_flipped_bit_anywhere_is_found(data: st.DataObject) -> None:
    sealed = bytearray(_SEALED)
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((CorruptArchiveError, WrongKeyError)):
        decrypt([bytes(sealed)])


_SEALED = encrypt(CONTENT[:70_000])


def test_something_behind_the_end_is_found() -> None:
    for suffix in (b"x", _SEALED, bytes(BLOCK)):
        with pytest.raises(CorruptArchiveError):
            decrypt([_SEALED, suffix])


def test_blocks_that_changed_places_are_found() -> None:
    sealed = encrypt(CONTENT)
    start = sealed.index(b"\n--- ") + len("\n--- \n") + 43 + 16
    one, two = sealed[start : start + BLOCK + 16], sealed[start + BLOCK + 16 : start + 2 * (BLOCK + 16)]
    with pytest.raises(CorruptArchiveError):
        decrypt([sealed[:start], two, one, sealed[start + 2 * (BLOCK + 16) :]])
    with pytest.raises(CorruptArchiveError):
        decrypt([sealed[:start], one, sealed[start + 2 * (BLOCK + 16) :]])


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4" + bytes(1000), b"age-encryption.org/v2\n", b"\n" * 100_000]
)
def test_what_age_did_not_write_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptArchiveError):
        decrypt([content])


@pytest.mark.parametrize(
    "line", [b"-> X25519 " + b"A" * 65_000, b"-> X25519 abc\n" + b"A" * 64 + b"\n", b"-> a\n\n"]
)
def test_a_header_without_an_end_is_not_read_to_its_end(line: bytes) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b"age-encryption.org/v1\n"
        for piece in itertools.repeat(line * (4096 // len(line) + 1)):
            taken += len(piece)
            yield piece

    with pytest.raises(CorruptArchiveError, match=r"damaged or incomplete|more than 160 keys, or damaged"):
        decrypt(endless())
    assert taken < 100_000


def test_what_is_encrypted_to_more_keys_than_can_be_read_is_told_as_that() -> None:
    assert decrypt([encrypt(b"x", recipients=160)]) == b"x"
    sealed = encrypt(b"x", recipients=300)
    with pytest.raises(CorruptArchiveError, match="more than 160 keys, or damaged") as caught:
        decrypt(sealed[at : at + 4096] for at in range(0, len(sealed), 4096))
    assert "age -d" in caught.value.hint


class LostError(Exception):
    """Of the disk, or of the network."""


def broken(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks
    raise LostError("gone")


@pytest.mark.parametrize("before", [b"", b"x", CONTENT * 30])
def test_what_the_source_raises_comes_out_as_it_was(before: bytes) -> None:
    with pytest.raises(LostError, match="gone"), encrypted(broken([before]), 10**9, [RECIPIENT]) as stream:
        b"".join(stream.chunks)
    for sealed in (_SEALED, _SEALED[:100], encrypt(before)):
        with pytest.raises(LostError, match="gone"):
            decrypt(broken([sealed]))


def test_an_error_of_our_own_from_the_source_keeps_its_code() -> None:
    def cancelled() -> Iterator[bytes]:
        yield CONTENT
        raise FastCMSError("stopped", code="job_cancelled")

    with pytest.raises(FastCMSError) as caught, encrypted(cancelled(), 1, [RECIPIENT]) as stream:
        b"".join(stream.chunks)
    assert caught.value.code == "job_cancelled"


def test_whoever_takes_no_more_ends_the_thread_and_closes_the_source() -> None:
    closed = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield CONTENT
        finally:
            closed.append(threading.current_thread().name)

    with encrypted(endless(), 10**12, [RECIPIENT]) as stream:
        next(stream.chunks)
    with encrypted(endless(), 10**12, [RECIPIENT]):
        pass
    pieces = decrypted(itertools.chain([_SEALED[:500]], endless()), [IDENTITY])
    pieces.close()  # nothing was taken: nothing had begun
    assert closed == ["age", "age"]


def test_an_abandoned_stream_that_nobody_closes_ends_its_thread() -> None:
    sealed = encrypt(CONTENT * 50)
    pieces = decrypted([sealed], [IDENTITY])
    next(pieces)
    del pieces
    assert "age" not in {thread.name for thread in threading.enumerate()}


def test_only_some_megabytes_wait_between_the_source_and_whoever_takes() -> None:
    read = 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 100_000
            yield bytes(100_000)

    with encrypted(counted(), 100_000_000, [RECIPIENT]) as stream:
        taken = 0
        for piece in stream.chunks:
            taken += len(piece)
            assert read - taken < 8_000_000
    assert (read, taken) == (100_000_000, stream.size_bytes)


def test_a_copy_with_other_content_is_not_proven() -> None:
    with pytest.raises(CorruptArchiveError, match="other bytes than the backup"):
        prove_decryptable([_SEALED], [IDENTITY], sha256(b"other").hexdigest())
    with pytest.raises(WrongKeyError):
        prove_decryptable([_SEALED], [OTHER], sha256(CONTENT[:70_000]).hexdigest())


def test_only_what_begins_as_age_begins_looks_encrypted() -> None:
    assert looks_encrypted(_SEALED[:22])
    for first in (b"", b"PK\3\4", b"age-encryption.org/v1", b"age-encryption.org/v10\n", b" " + _SEALED[:30]):
        assert not looks_encrypted(first)


@pytest.mark.parametrize("size", [1, 22, 100_000])
def test_what_is_encrypted_is_opened_however_it_is_cut_and_the_rest_stays_as_it_is(size: int) -> None:
    for content in (encrypt(CONTENT[:5000]), CONTENT[:5000]):
        chunks = (content[start : start + size] for start in range(0, len(content), size))
        assert b"".join(opened(chunks, [OTHER, IDENTITY])) == CONTENT[:5000]
    assert b"".join(opened([], [])) == b""
    assert b"".join(opened([b"age"], [])) == b"age"


def test_without_a_key_nothing_encrypted_is_opened() -> None:
    with pytest.raises(KeyRequiredError):
        next(opened([encrypt(CONTENT)], []))


def test_a_beginning_is_enough_to_tell_a_wrong_key() -> None:
    for content in (CONTENT, b""):
        head = encrypt(content, 3)[:8192]
        require_fitting(head, [IDENTITY])
        with pytest.raises(WrongKeyError):
            require_fitting(head, [Identity.generate()])
