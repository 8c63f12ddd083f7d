"""The keys of encrypted copies: that they fit together, and that the secret one is where it should be."""

from collections.abc import Iterator

from fastcms.age_keys import is_readable_by_others, read_identities
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.destinations import list_destinations
from fastcms.doctor.findings import Finding, Subject, count, note, ok, problem, warning
from fastcms.errors import InvalidInputError
from fastcms.site import new_site


def check_keys(subject: Subject) -> Iterator[Finding]:
    site = new_site(subject.settings)
    public_keys = set(read_settings(site).encrypt_to)
    if public_keys:
        yield ok("copies_encrypted", f"Copies are encrypted to {count(len(public_keys), 'key')}")
    elif list_destinations(site):
        yield note(
            "copies_not_encrypted",
            "Backups are copied to destinations as they are: who can read those can read the whole site.",
            "To encrypt them: /admin/backups/keys in the dashboard, or `fastcms backup keygen`.",
        )
    path = subject.settings.backup_identity
    if path is None:
        return
    try:
        identities = read_identities(path)
    except InvalidInputError as error:
        hint = f"Correct FASTCMS_BACKUP_IDENTITY, or unset it. {error.hint}"
        yield problem("key_file_unusable", error.message, hint)
        return
    if is_readable_by_others(path):
        yield warning(
            "key_file_open",
            f"Other users of this machine may read {path}, and with it every encrypted backup.",
            f"Close it: chmod 600 {path}",
        )
    if public_keys and not public_keys & {str(identity.to_public()) for identity in identities}:
        yield problem(
            "key_file_foreign",
            f"{path} has none of the keys that copies are encrypted to: it opens none that are made now.",
            "Set FASTCMS_BACKUP_IDENTITY to the file of the secret key, or encrypt to its public key: "
            "`fastcms backup set encrypt_to`.",
        )
