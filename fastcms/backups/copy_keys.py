"""To which keys copies are encrypted, and how that is changed.

A pair of keys that is made here is shown once and kept nowhere. Copies are encrypted to it when somebody has
shown that they have its secret key, which alone can read them.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from pyrage.x25519 import Identity

from fastcms.age_keys import describe_key_file, parse_recipients
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.copies import CopyState, list_copies
from fastcms.backups.copy_list import require_known_settings
from fastcms.backups.destinations import list_destinations
from fastcms.backups.folder import try_to_see
from fastcms.backups.recovery_sheet import describe_sheet, render_sheet
from fastcms.backups.shown_settings import change_shown_settings
from fastcms.backups.sources import find_keys
from fastcms.database import utc_now
from fastcms.errors import ConflictError, FastCMSError, InvalidInputError, NotFoundError
from fastcms.noting import note
from fastcms.site import Site

_ENDING_LENGTH = 6
# So long the sheet of a new pair may be printed and put away before it is confirmed.
_CONFIRMED_WITHIN = timedelta(hours=1)
_MOST_DIGITS = 10  # of the seconds since 1970


@dataclass(frozen=True)
class PublicKey:
    """A key that copies are encrypted to; is_opened_here: this server has its secret key, too."""

    text: str
    is_opened_here: bool


@dataclass(frozen=True)
class Encryption:
    """How copies leave the machine, and how those that have left it are.

    plain_copies: how many are at destinations as they are; None where that cannot be told.
    problem: why it is not known whether copies are to be encrypted, and what to do. key_file_problem: why the
    server's own secret key cannot be used.
    """

    public_keys: Sequence[PublicKey]
    destination_count: int
    plain_copies: int | None
    encrypted_copies: int | None
    problem: str | None
    key_file_problem: str | None

    @property
    def is_on(self) -> bool:
        return bool(self.public_keys)


@dataclass(frozen=True)
class NewPair:
    """A pair of keys that nobody else has, its recovery sheet, and its key file as keygen writes it.

    proof goes with the public key until the secret one is confirmed: the server keeps neither.
    """

    public_key: str
    secret_key: str
    sheet: str
    key_file: str
    proof: str


def describe_encryption(site: Site) -> Encryption:
    """What is in force, and what follows from it."""
    opened_here, key_file_problem = _find_own_keys(site)
    copies = try_to_see(list_copies, site)
    there = None if copies is None else [copy for copy in copies if copy.state == CopyState.COPIED]
    encrypted = None if there is None else sum(copy.is_encrypted for copy in there)
    return Encryption(
        public_keys=[PublicKey(key, key in opened_here) for key in read_settings(site).encrypt_to],
        destination_count=len(list_destinations(site)),
        plain_copies=None if there is None or encrypted is None else len(there) - encrypted,
        encrypted_copies=encrypted,
        problem=_find_problem(site),
        key_file_problem=key_file_problem,
    )


def _find_problem(site: Site) -> str | None:
    try:
        require_known_settings(site)
    except FastCMSError as error:
        return f"{error.message} {error.hint}"
    return None


def make_pair(site: Site) -> NewPair:
    """Make a pair of keys. Nothing is encrypted to it yet, and nothing of it is kept."""
    identity = Identity.generate()
    public_key, secret_key = str(identity.to_public()), str(identity)
    return NewPair(
        public_key=public_key,
        secret_key=secret_key,
        sheet=render_sheet(describe_sheet(site, [public_key], secret_key)),
        key_file=describe_key_file(identity, utc_now()),
        proof=_prove(site, public_key, secret_key, utc_now()),
    )


def confirm_pair(site: Site, public_key: str, proof: str, typed: str, confirmed_by: str) -> None:
    """Encrypt copies to a new key, too, whose secret key somebody has shown to have: they know how it ends.

    Raises: InvalidInputError; ConflictError; BackupError.
    """
    _note(parse_recipients([public_key]))
    made = _made_of(proof)
    if not hmac.compare_digest(_prove(site, public_key, typed, made).encode(), proof.encode()):
        raise InvalidInputError(
            "The secret key on the sheet ends otherwise.",
            hint=f"Look at the sheet, and type its last {_ENDING_LENGTH} characters. Nothing is encrypted to "
            "this key yet: if you do not have the sheet any more, make another key.",
            code="key_not_confirmed",
        )
    if not utc_now() - made <= _CONFIRMED_WITHIN:
        raise InvalidInputError(
            "This key was made more than an hour ago.",
            hint="Make another one. If you have kept its sheet, add its public key instead.",
        )
    if public_key not in read_settings(site).encrypt_to:  # a double click
        add_keys(site, public_key, confirmed_by)


def add_keys(site: Site, text: str, added_by: str) -> Sequence[str]:
    """Encrypt copies to these public keys, too, from now on; spaces stand between several.

    Returns: those that were not there yet.
    Raises: InvalidInputError, which repeats none of them; ConflictError; BackupError.
    """
    _note(())
    known = read_settings(site).encrypt_to
    added = [key for key in dict.fromkeys(map(str, parse_recipients(text.split()))) if key not in known]
    if not text.strip():
        raise InvalidInputError("There is no key.", hint="A public key begins with age1.", code="key_invalid")
    if not added:
        raise ConflictError("Copies are encrypted to this key already.", hint="There is nothing to do.")
    _note(added)
    change_shown_settings(site, {"encrypt_to": [*known, *added]}, added_by)
    return added


def remove_key(site: Site, public_key: str, removed_by: str) -> None:
    """Encrypt copies to this key no more. Raises: NotFoundError; ConflictError for the last; BackupError."""
    _note(())
    known = read_settings(site).encrypt_to
    if public_key not in known:
        raise NotFoundError(
            "Copies are not encrypted to this key.", hint="Somebody else has removed it: look anew."
        )
    _note([public_key])
    if len(known) == 1:
        raise ConflictError(
            "This is the last key: without it, copies would leave the machine as they are.",
            hint="Add another key first, or turn encryption off.",
        )
    change_shown_settings(site, {"encrypt_to": [key for key in known if key != public_key]}, removed_by)


def turn_off(site: Site, turned_off_by: str) -> None:
    """Let copies leave the machine as they are, whatever the environment says. Raises: BackupError."""
    change_shown_settings(site, {"encrypt_to": []}, turned_off_by)


def _note(public_keys: Sequence[object]) -> None:
    """Say which keys it is about; what was not understood may be a secret one."""
    keys = ", ".join(map(str, public_keys))
    note(key=f"the public key {keys}" if keys else "a public key")


def _made_of(proof: str) -> datetime:
    """When the pair was made, as its proof says: true if the rest of the proof is."""
    seconds = proof.partition("-")[0]
    is_number = seconds.isascii() and seconds.isdigit() and len(seconds) <= _MOST_DIGITS
    return datetime.fromtimestamp(int(seconds) if is_number else 0, UTC)


def _prove(site: Site, public_key: str, secret_key: str, made: datetime) -> str:
    """What only this server can compute of a pair: public key, end of its secret key as typed, and time."""
    seconds = int(made.timestamp())
    ending = "".join(secret_key.split()).upper()[-_ENDING_LENGTH:]
    text = f"{public_key} {ending} {seconds}"
    return f"{seconds}-{hmac.new(site.secret_key.encode(), text.encode(), sha256).hexdigest()}"


def _find_own_keys(site: Site) -> tuple[set[str], str | None]:
    """The public keys of the secret ones that this server has, and why those cannot be read."""
    try:
        return {str(identity.to_public()) for identity in find_keys(site, None)}, None
    except InvalidInputError as error:
        return set(), f"{error.message} {error.hint}"
