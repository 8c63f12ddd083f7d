"""What the tests of the backups' services share."""

import pytest

from fastcms.config import Settings
from fastcms.site import Site, make_folders, new_site


@pytest.fixture
def site(settings: Settings) -> Site:
    """A folder of backups; nothing is running."""
    site = new_site(settings)
    make_folders(settings.backups_dir)
    return site
