"""Everything that can go wrong, in one tree.

FastCMSError(message, hint, code)
├ ConfigError → DataFolderInUseError
├ SchemaTooNewError
├ InvalidInputError → NameNotTypedError
├ NotFoundError · ConflictError · TooLargeError · UnsatisfiableError
├ NotAuthenticatedError · TooManyAttemptsError · ActivityError
├ PermissionDeniedError → PasswordRequiredError
└ BackupError
  ├ BackupNotFoundError · BackupBusyError · NotEnoughSpaceError · SnapshotError
  ├ JobNotFoundError · JobOverError · JobCancelledError
  ├ ArchiveError
  │ ├ CorruptArchiveError · UnsafeArchiveError · UnsupportedVersionError · FailedTrialError
  │ └ KeyRequiredError · WrongKeyError
  ├ RestoreError
  │ └ RestorePendingError · NoPendingRestoreError · NoSafetyCopyError
  │   · UnusableSafetyCopyError · RolledBackError
  └ StoreError(is_permanent)
    ├ StoreUnreachableError · StoreDeniedError · StoreMissingError · StoreFullError · StoreClockError
    └ StoreCrowdedError · StoredObjectMissingError · StoredObjectChangedError

A message says what happened and to which file; a hint says what to do. `code` is stable: programs may
compare it. `STATUS` is the only place that knows about HTTP statuses and exit codes.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any


class FastCMSError(Exception):
    """Base of every error that FastCMS raises on purpose; `details` has more for programs, by name."""

    code = "error"
    details: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class ConfigError(FastCMSError):
    """A setting, or the folder it points at, cannot be used."""

    code = "config_invalid"


class DataFolderInUseError(ConfigError):
    """Another server, or a command, holds the data folder; the message says which process."""

    code = "data_folder_in_use"


class SchemaTooNewError(FastCMSError):
    """The database was written by a newer FastCMS."""

    code = "schema_too_new"


class InvalidInputError(FastCMSError):
    """What the caller sent does not fit; `errors` names each field and what is wrong with it."""

    code = "invalid_input"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.errors = list(errors)


class NameNotTypedError(InvalidInputError):
    """What cannot be taken back has its name typed first; it was not, or not as it is."""

    code = "name_not_typed"


class NotFoundError(FastCMSError):
    """What the caller named does not exist, or is not visible to them."""

    code = "not_found"


class ConflictError(FastCMSError):
    """The request is sound but contradicts what is there."""

    code = "conflict"


class TooLargeError(FastCMSError):
    """An upload is over its limit."""

    code = "too_large"


class UnsatisfiableError(FastCMSError):
    """A Range header asks for bytes that the file does not have."""

    code = "range_not_satisfiable"


class NotAuthenticatedError(FastCMSError):
    """No credentials, or none that are valid."""

    code = "not_authenticated"


class PermissionDeniedError(FastCMSError):
    """The credentials are valid but do not allow this."""

    code = "permission_denied"


class PasswordRequiredError(PermissionDeniedError):
    """Restoring an archive from another machine needs the password again; the details say whom it lets in."""

    code = "password_required"

    def __init__(self, message: str, *, hint: str, details: Mapping[str, Any]) -> None:
        super().__init__(message, hint=hint)
        self.details = details


class TooManyAttemptsError(FastCMSError):
    """Slowed down after repeated wrong passwords."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, retry_after_seconds: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class ActivityError(FastCMSError):
    """The activity log cannot be read."""

    code = "activity_unreadable"


class BackupError(FastCMSError):
    """Base of everything about backups."""

    code = "backup_failed"


class BackupNotFoundError(BackupError):
    """No backup has this name."""

    code = "backup_not_found"


class BackupBusyError(BackupError):
    """Another backup, staging or deletion holds the lock; the message says which process."""

    code = "backup_busy"


class NotEnoughSpaceError(BackupError):
    """The disk cannot hold what is about to be written; the message has the numbers."""

    code = "not_enough_space"


class JobNotFoundError(BackupError):
    """No job has this id, or it ended so long ago that it was forgotten."""

    code = "job_not_found"


class JobOverError(BackupError):
    """The job has ended: it cannot be cancelled any more."""

    code = "job_over"


class JobCancelledError(BackupError):
    """Somebody has cancelled the job that did the work, or its server was stopped."""

    code = "job_cancelled"


class SnapshotError(BackupError):
    """The database could not be copied consistently."""

    code = "snapshot_failed"


class ArchiveError(BackupError):
    """Base of what is wrong with an archive."""

    code = "archive_invalid"


class CorruptArchiveError(ArchiveError):
    """Bytes are missing or differ from their checksums."""

    code = "archive_corrupt"


class UnsafeArchiveError(ArchiveError):
    """An entry's name or type could harm the machine that unpacks it."""

    code = "archive_unsafe"


class UnsupportedVersionError(ArchiveError):
    """The archive was written by a newer FastCMS."""

    code = "archive_too_new"


class FailedTrialError(ArchiveError):
    """A site that was restored from the archive does not start, or is not what was backed up."""

    code = "trial_failed"


class KeyRequiredError(ArchiveError):
    """The archive is encrypted, and there is no key at hand."""

    code = "key_required"


class WrongKeyError(ArchiveError):
    """The archive is encrypted, and none of the keys at hand opens it."""

    code = "key_wrong"


class RestoreError(BackupError):
    """Base of what is wrong with a restore."""

    code = "restore_failed"


class RestorePendingError(RestoreError):
    """Another restore is already staged."""

    code = "restore_pending"


class NoPendingRestoreError(RestoreError):
    """There is no staged restore to cancel."""

    code = "restore_not_pending"


class NoSafetyCopyError(RestoreError):
    """There is no state before a restore to go back to."""

    code = "safety_copy_not_found"


class UnusableSafetyCopyError(RestoreError):
    """The state before a restore is there, but only by hand can it be gone back to."""

    code = "safety_copy_damaged"


class RolledBackError(RestoreError):
    """The restore failed at start; the old state is back."""

    code = "restore_rolled_back"


class StoreError(BackupError):
    """A place that keeps backups failed; `is_permanent`: it will again until somebody does something."""

    code = "store_failed"
    is_permanent = False


class StoreUnreachableError(StoreError):
    """There is no connection, it broke, or nothing came through it for too long."""

    code = "store_unreachable"


class StoreDeniedError(StoreError):
    """The store does not accept the credentials, or they do not allow this."""

    code = "store_denied"
    is_permanent = True


class StoreMissingError(StoreError):
    """There is no such bucket, container or folder."""

    code = "store_missing"
    is_permanent = True


class StoreFullError(StoreError):
    """The store has no space left, or the account's quota is used up."""

    code = "store_full"


class StoreCrowdedError(StoreError):
    """There are more objects in the folder than anybody should look through."""

    code = "store_crowded"
    is_permanent = True


class StoreClockError(StoreError):
    """The clocks of this machine and of the store differ by more than the store accepts."""

    code = "store_clock_wrong"
    is_permanent = True


class StoredObjectMissingError(StoreError):
    """The store has no object of this name."""

    code = "store_object_missing"
    is_permanent = True


class StoredObjectChangedError(StoreError):
    """The object is not, or no longer, what it was said to be."""

    code = "store_object_changed"
    is_permanent = True


# HTTP status and exit code of each class; a subclass that is not listed has those of its parent.
STATUS: dict[type[FastCMSError], tuple[int, int]] = {
    FastCMSError: (500, 1),
    ConfigError: (500, 2),
    SchemaTooNewError: (500, 2),
    InvalidInputError: (422, 2),
    NotFoundError: (404, 3),
    ConflictError: (409, 4),
    TooLargeError: (413, 2),
    UnsatisfiableError: (416, 2),
    NotAuthenticatedError: (401, 5),
    PermissionDeniedError: (403, 5),
    TooManyAttemptsError: (429, 5),
    ActivityError: (500, 1),
    BackupError: (500, 1),
    BackupNotFoundError: (404, 3),
    BackupBusyError: (409, 4),
    NotEnoughSpaceError: (507, 6),
    JobNotFoundError: (404, 3),
    JobOverError: (409, 4),
    JobCancelledError: (409, 4),
    SnapshotError: (500, 1),
    ArchiveError: (422, 7),
    RestoreError: (500, 1),
    RestorePendingError: (409, 4),
    NoPendingRestoreError: (404, 3),
    NoSafetyCopyError: (404, 3),
    UnusableSafetyCopyError: (409, 4),
    StoreError: (502, 8),
    StoreFullError: (507, 8),
    StoredObjectMissingError: (404, 3),
}


def describe(error: FastCMSError) -> dict[str, Any]:
    """What a program is told of an error."""
    return {
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "errors": error.errors if isinstance(error, InvalidInputError) else [],
        **error.details,
    }


def status_of(error: FastCMSError) -> tuple[int, int]:
    """HTTP status and exit code of an error."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
