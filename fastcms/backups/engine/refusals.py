"""The two ways to refuse an archive, each with the code that names the reason."""

from fastcms.errors import CorruptArchiveError, UnsafeArchiveError


def unsafe(message: str, *, code: str, hint: str = "") -> UnsafeArchiveError:
    """An archive that no FastCMS has made: somebody built it, or another program packed it in its own way."""
    return UnsafeArchiveError(
        message, hint=hint or "Do not trust where this file came from; use another backup.", code=code
    )


def corrupt(message: str, *, code: str, hint: str = "") -> CorruptArchiveError:
    """An archive in which bytes are missing or changed."""
    return CorruptArchiveError(
        message, hint=hint or "Copy the file again from where it came, or use another backup.", code=code
    )
