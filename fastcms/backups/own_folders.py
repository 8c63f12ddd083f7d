"""Keep copies apart from the site itself: what lies in its own folders is no copy, and is lost with it."""

import os
from pathlib import Path

from fastcms.backups.stores.addresses import Address
from fastcms.errors import InvalidInputError
from fastcms.site import Site

ON_SAME_DISK = (
    "But it is on the same disk as the site: whoever loses that disk loses both. Use another place, too."
)


def require_apart(site: Site, address: Address) -> None:
    """Refuse a folder of the site's own, one in it, and one around it, by whatever way it is named.

    A backup would be taken for its own copy there, and be removed as one.
    Raises: InvalidInputError.
    """
    folder = Path(address.path)
    if address.scheme == "file" and any(
        _lies_in(folder, own) or _lies_in(own, folder) for own in _own_folders(site)
    ):
        raise InvalidInputError(
            "Copies cannot be kept in the folders of this site, nor in a folder around them.",
            hint="Name a folder apart from the data folder; better one on another disk or machine: what "
            "happens to this one would happen to the copies.",
            code="destination_is_own_folder",
        )


def is_on_same_disk(site: Site, address: Address) -> bool:
    """Whether it is a folder that would be lost with the disk that the site, or its backups, are on."""
    if address.scheme != "file":
        return False
    try:
        disk = Path(address.path).stat().st_dev
        return any(own.stat().st_dev == disk for own in _own_folders(site) if own.exists())
    except OSError:
        return False


def is_same_place(one: Address, other: Address) -> bool:
    """Whether two addresses mean one place: of a folder, also by links, or because it is mounted twice."""
    if one.scheme == other.scheme == "file":
        return _is_same_folder(Path(one.path), Path(other.path))
    return one.place == other.place


def _is_same_folder(one: Path, other: Path) -> bool:
    one, other = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _own_folders(site: Site) -> tuple[Path, ...]:
    return site.settings.data_dir, site.settings.backups_dir, site.settings.files_dir


def _lies_in(path: Path, folder: Path) -> bool:
    real = Path(os.path.realpath(path))
    return any(_is_same_folder(above, folder) for above in (real, *real.parents))
