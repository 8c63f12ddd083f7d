"""What object storage answers, told in our words.

obstore's messages end in its internals, and what a server answers may repeat keys and signatures. So of them
only the HTTP status and the error's code are told, and of a broken connection the kind of break.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError

from fastcms.backups.stores.base import missing_object
from fastcms.errors import (
    StoreClockError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    StoreMissingError,
    StoreUnreachableError,
)

_STATUS = re.compile(r"status code: (\d{3})")
# S3, Azure and most of Google Cloud Storage answer with XML, the rest and who gives out tokens with JSON.
_CODE = re.compile(r"<Code>([A-Za-z]\w{1,60})</Code>|\"(?:reason|error)\":\s*\"([A-Za-z]\w{1,60})\"")


class _Meaning(NamedTuple):
    error: type[StoreError]
    message: str
    hint: str


_CLOCK = _Meaning(
    StoreClockError,
    "{place} says that the clock of this machine is wrong",
    "Set the clock of this machine, best by a time service (timedatectl set-ntp true).",
)
_NO_BUCKET = _Meaning(
    StoreMissingError,
    "{place} is not there: there is no such bucket or container",
    "See whether its name is spelled right, and create it if it does not exist yet.",
)
_FULL = _Meaning(
    StoreFullError, "{place} has no space left", "Make space there, or keep fewer backups there."
)
_WRONG_KEY = _Meaning(
    StoreDeniedError,
    "{place} does not accept the credentials",
    "See whether the key and the secret are complete, belong together, and are still valid.",
)
_UNKNOWN_KEY = _Meaning(
    StoreDeniedError,
    "{place} does not accept the credentials: it knows no such access key ID",
    "See whether the access key ID is complete, belongs to this store, and was not deleted there.",
)
_WRONG_SECRET = _Meaning(
    StoreDeniedError,
    "{place} does not accept the credentials: the secret does not fit the key ID",
    "The key ID is known there. Give its secret again, complete and without spaces; if it is lost, make "
    "a new pair there.",
)
_FORBIDDEN = _Meaning(
    StoreDeniedError,
    "{place} does not allow this with these credentials",
    "The credentials must be allowed to list, read, write and delete there. See whether they are right.",
)
_NO_CREDENTIALS = _Meaning(
    StoreDeniedError,
    "No credentials were given for {place}",
    "Set the environment variables of its cloud, or store credentials on the page of destinations.",
)
_REGION = _Meaning(
    StoreError,
    "{place} is in another region",
    "Name the bucket's region in the address, like ?region=eu-central-1.",
)
_BUSY = _Meaning(
    StoreUnreachableError,
    "{place} cannot answer at the moment",
    "Try again later. If it lasts, see how the store is doing, and whether it has space left.",
)
_AWAY = _Meaning(
    StoreUnreachableError,
    "{place} cannot be reached",
    "See whether the network works, the address is right, and the store is running.",
)
_SILENT = _Meaning(
    StoreUnreachableError,
    "{place} did not answer in time",
    "See whether the network is up, and fast enough.",
)
_UNTRUSTED = _Meaning(
    StoreUnreachableError,
    "The connection to {place} cannot be secured",
    "See whether its certificate is valid, and whether the endpoint begins with https:// or http:// rightly.",
)
_ODD_NAME = _Meaning(
    StoreError,
    "{place} holds an object whose name cannot be read",
    "Rename or remove what has // or control characters in its name, or choose an empty folder.",
)
_FAILED = _Meaning(
    StoreError,
    "{place} did not do what was asked",
    "Test the connection on the page of destinations; if it fails there, ask who runs the store.",
)

_PANIC = _Meaning(
    StoreError,
    "{place} cannot be asked: its address or credentials are not what they should be",
    "See whether the endpoint is right, in the address and in the environment, like https://s3.example.com.",
)

_CODES: dict[str, _Meaning] = {
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired", "RequestNotYetValid"), _CLOCK),
    **dict.fromkeys(
        ("NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "ContainerBeingDeleted"), _NO_BUCKET
    ),
    **dict.fromkeys(
        ("QuotaExceeded", "StorageQuotaExceeded", "XMinioStorageFull", "InsufficientStorage"), _FULL
    ),
    **dict.fromkeys(
        (
            "AuthenticationFailed",
            "ExpiredToken",
            "InvalidAuthenticationInfo",
            "InvalidToken",
            "invalid_client",
            "invalid_grant",
        ),
        _WRONG_KEY,
    ),
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _WRONG_SECRET,
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"), _REGION
    ),
    **dict.fromkeys(("SlowDown", "ServerBusy", "ServiceUnavailable", "InternalError"), _BUSY),
}
_STATUSES: dict[int, _Meaning] = {
    301: _REGION,
    307: _REGION,
    401: _WRONG_KEY,
    403: _FORBIDDEN,
    404: _NO_BUCKET,
    408: _SILENT,
    429: _BUSY,
    500: _BUSY,
    502: _BUSY,
    503: _BUSY,
    504: _BUSY,
    507: _FULL,
}

_TOLD_BY_TEXT = (
    # Where a machine of a cloud asks for credentials when it was given none.
    (re.compile(r"/latest/(api/token|meta-data)|/computeMetadata/|/metadata/identity/"), _NO_CREDENTIALS),
    # Azure and Google have no code for it.
    (re.compile(r"date header too old|in a reasonable timeframe"), _CLOCK),
)
# Where no server has answered: the kinds are those of reqwest, in the last part of the text.
_BREAKS = (
    (re.compile(r"certificate|TlsAlert|CorruptMessage|InvalidContentType", re.IGNORECASE), _UNTRUSTED),
    (re.compile(r"kind: Timeout|TimedOut"), _SILENT),
    (re.compile(r"redirect"), _REGION),
    (re.compile(r"HTTP error|HttpError"), _AWAY),
)


@contextmanager
def explained(place: str, name: str = "") -> Iterator[None]:
    """Turn obstore's errors into a StoreError; `name` is the object that is asked for, if one is."""
    try:
        yield
    except FileNotFoundError as error:
        # Their text stays out of the chain of errors: it has what nobody should see.
        raise _explain_missing(str(error), place, name) from None
    except (BaseError, OSError, ValueError) as error:
        raise _tell(_meaning_of(error), str(error), place) from None
    except BaseException as error:
        if not is_panic(error):
            raise
        raise _tell(_PANIC, "", place) from None


def is_panic(error: BaseException) -> bool:
    """Whether obstore has come upon what its authors held for impossible. It is no Exception."""
    return type(error).__name__ == "PanicException"


def _explain_missing(text: str, place: str, name: str) -> StoreError:
    if not name or _CODES.get(_code_in(text)) is _NO_BUCKET:
        return _tell(_NO_BUCKET, text, place)
    return missing_object(place, name)


def _meaning_of(error: Exception) -> _Meaning:
    text = str(error)
    if isinstance(error, InvalidPathError):
        return _ODD_NAME
    if told := _find(_TOLD_BY_TEXT, text):
        return told
    if (code := _code_in(text)) in _CODES:
        return _CODES[code]
    if found := _STATUS.search(text):
        return _STATUSES.get(int(found[1]), _FAILED)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return _FORBIDDEN
    return _find(_BREAKS, text) or _FAILED


def _find(meanings: Sequence[tuple[re.Pattern[str], _Meaning]], text: str) -> _Meaning | None:
    return next((meaning for pattern, meaning in meanings if pattern.search(text)), None)


def _tell(meaning: _Meaning, text: str, place: str) -> StoreError:
    found = _STATUS.search(text)
    said = " ".join(part for part in (found[1] if found else "", _code_in(text)) if part)
    answer = f" (it answered {said})" if said and meaning is not _NO_CREDENTIALS else ""
    return meaning.error(f"{meaning.message.format(place=place)}{answer}.", hint=meaning.hint)


def _code_in(text: str) -> str:
    found = _CODE.search(text)
    return (found[1] or found[2]) if found else ""
