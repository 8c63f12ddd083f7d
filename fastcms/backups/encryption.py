"""Encrypt a stream to public keys, and decrypt it, in bounded memory: what age reads and writes.

pyrage reads from a file and writes to a file, so it works in a thread of its own, between the chunks that
it is given and those that are taken from it. Only what is whole is decrypted to its end: an altered or a
missing byte raises before the chunks end, also where the end itself is missing.
Format: https://github.com/C2SP/C2SP/blob/main/age.md
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pyrage
from pyrage.x25519 import Identity, Recipient

from fastcms.backups.streams import in_thread
from fastcms.errors import CorruptArchiveError, KeyRequiredError, WrongKeyError

AGE_MAGIC = b"age-encryption.org/v1"
_BLOCK_BYTES = 65_536  # of what is encrypted; each becomes 16 bytes longer
_TAG_BYTES = 16
_NONCE_BYTES = 16
_MAC_BYTES = 44  # of the header, in base64, with its line's end
_CHUNK_BYTES = 1_048_576
# Each public key takes 98 bytes. The reader of headers looks at all that it has read again after each line.
MAX_HEADER_BYTES = 16_384
_HEADER_END = b"\n--- "


@dataclass(frozen=True)
class EncryptedStream:
    """size_bytes is exact, if as many bytes come as were announced."""

    chunks: Iterator[bytes]
    size_bytes: int


@contextmanager
def encrypted(
    chunks: Iterable[bytes], plain_bytes: int, recipients: Sequence[Recipient]
) -> Iterator[EncryptedStream]:
    """Encrypt so many bytes to public keys. Another thread reads them; what that raises is raised here.

    How long the result is can be told only from its header: pyrage puts a stanza of random length in it.
    """

    def encrypt(source: "_Source", sink: "_Sink") -> None:
        pyrage.encrypt_io(source, sink, recipients)

    with closing(_piped(chunks, encrypt)) as pieces:
        first = next(pieces)
        yield EncryptedStream(_chained(first, pieces), encrypted_size(first, plain_bytes))


def encrypted_size(head: bytes, plain_bytes: int) -> int:
    """How long so many bytes are, encrypted behind this header. Raises: ValueError when it is none."""
    header_bytes = head.index(_HEADER_END) + len(_HEADER_END) + _MAC_BYTES
    return header_bytes + _NONCE_BYTES + _sealed_size(plain_bytes)


def longest_encrypted_size(plain_bytes: int) -> int:
    """How long they are at the most."""
    return MAX_HEADER_BYTES + _NONCE_BYTES + _sealed_size(plain_bytes)


def decrypted(chunks: Iterable[bytes], identities: Sequence[Identity]) -> Generator[bytes]:
    """Decrypt with any of the secret keys. The end is only reached by what is whole and unaltered.

    The chunks are read in another thread, and what that raises is raised here.
    Raises: WrongKeyError, CorruptArchiveError.
    """

    def decrypt(source: "_Source", sink: "_Sink") -> None:
        source.limit_header()
        try:
            pyrage.decrypt_io(source, sink, identities)
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise WrongKeyError(
                    "The backup is encrypted, and not to this key.",
                    hint="Use the key file whose public key was among those that it was encrypted to.",
                ) from error
            raise _corrupt(error) from error
        except OSError as error:
            raise _corrupt(error) from error

    return _piped(chunks, decrypt)


def opened(chunks: Iterable[bytes], identities: Sequence[Identity]) -> Generator[bytes]:
    """The same bytes, decrypted if they begin as age begins a file.

    Raises: KeyRequiredError without any key for what is encrypted; as `decrypted`.
    """
    rest = iter(chunks)
    first = next(rest, b"")
    while len(first) <= len(AGE_MAGIC) and (more := next(rest, b"")):
        first += more
    whole = _chained(first, rest)
    if not looks_encrypted(first):
        yield from whole
        return
    require_any(identities)
    yield from decrypted(whole, identities)


def require_any(identities: Sequence[Identity]) -> None:
    """Raise KeyRequiredError without any key."""
    if not identities:
        raise KeyRequiredError(
            "The backup is encrypted, and there is no key to decrypt it with.",
            hint="Give its secret key: it begins with AGE-SECRET-KEY-1, and stands in the key file or on the "
            "recovery sheet. The dashboard has a field for it, the command takes --identity key.txt, and the "
            "API the form's field `identity`.",
        )


def require_fitting(head: bytes, identities: Sequence[Identity]) -> None:
    """Raise WrongKeyError if none of the keys opens what begins like this."""
    with suppress(CorruptArchiveError), closing(decrypted([head], identities)) as pieces:
        next(pieces, None)  # it ends too early, which is all that is wrong with it


def find_public_keys(head: bytes, identities: Sequence[Identity]) -> list[str]:
    """To which of the keys what begins like this is encrypted; to none if it is not encrypted at all."""

    def fits(identity: Identity) -> bool:
        try:
            require_fitting(head, [identity])
        except WrongKeyError:
            return False
        return True

    return [str(key.to_public()) for key in identities if fits(key)] if looks_encrypted(head) else []


def prove_decryptable(chunks: Iterable[bytes], identities: Sequence[Identity], expected_sha256: str) -> None:
    """Decrypt to the end, and compare. Raises: WrongKeyError, CorruptArchiveError."""
    digest = sha256()
    with closing(decrypted(chunks, identities)) as pieces:
        for piece in pieces:
            digest.update(piece)
    if digest.hexdigest() != expected_sha256:
        raise CorruptArchiveError(
            f"The encrypted copy holds other bytes than the backup: SHA-256 {digest.hexdigest()}, "
            f"not {expected_sha256}.",
            hint="Remove this copy; the next one is made from the backup anew.",
        )


def looks_encrypted(first_bytes: bytes) -> bool:
    """Whether a file begins as age begins one. Its name says nothing about that."""
    return first_bytes.startswith(AGE_MAGIC + b"\n")


def is_encrypted_file(path: Path) -> bool:
    """Whether a file begins so; one that cannot be read does not."""
    if not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        return looks_encrypted(file.read(len(AGE_MAGIC) + 1))
    return False


def _sealed_size(plain_bytes: int) -> int:
    blocks = max(1, -(-plain_bytes // _BLOCK_BYTES))
    return plain_bytes + blocks * _TAG_BYTES


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _corrupt(error: Exception) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"The encrypted backup is damaged or incomplete: {error}.",
        hint="Use another copy of this backup, or another backup.",
    )


class _Source:
    """The file that pyrage reads from; it would turn what the chunks raise into words, so that is kept."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = BytesIO()
        self._header: bytearray | None = None
        self.error: BaseException | None = None

    def limit_header(self) -> None:
        """Give up what has a header without an end: it would be read into memory, however long it is."""
        self._header = bytearray()

    def read(self, size: int) -> bytes:
        try:
            while not (piece := self._rest.read(size)):
                self._rest = BytesIO(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        if self._header is not None:
            self._header += piece
            if _HEADER_END in self._header:
                self._header = None
            elif len(self._header) > MAX_HEADER_BYTES:
                self.error = CorruptArchiveError(
                    f"The header of the encrypted backup is longer than {MAX_HEADER_BYTES:,} bytes: "
                    "it is encrypted to more than 160 keys, or damaged.",
                    hint="Decrypt it where age is: age -d -i key.txt -o backup.zip FILE. If that fails, too, "
                    "use another copy of this backup, or another backup.",
                )
                raise self.error
        return piece

    def close(self) -> None:
        """Let a generator of chunks end in the thread that it ran in."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


class _Sink:
    """The file that pyrage writes to."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._gathered = bytearray()
        self._held_bytes = 0
        self.error: BaseException | None = None

    def write(self, piece: bytes) -> int:
        self._gathered += piece
        self._held_bytes += len(piece)
        if self._held_bytes >= _BLOCK_BYTES:
            # pyrage holds the interpreter: without this, requests would wait for it, 5 ms each time.
            time.sleep(0)
            self._held_bytes = 0
        if len(self._gathered) >= _CHUNK_BYTES:
            self.flush()
        return len(piece)

    def flush(self) -> None:
        if self._gathered:
            try:
                self._put(bytes(self._gathered))
            except BaseException as error:  # pyrage takes no notice of some
                self.error = error
                raise
            self._gathered.clear()


def _piped(chunks: Iterable[bytes], work: Callable[[_Source, _Sink], None]) -> Generator[bytes]:
    """What work writes when it reads the chunks, in a thread that ends with this generator."""

    def make(put: Callable[[bytes], None]) -> None:
        source, sink = _Source(chunks), _Sink(put)
        try:
            work(source, sink)
            sink.flush()
        finally:
            source.close()
            if error := source.error or sink.error:
                raise error

    return in_thread(make, "age")
