"""Settings of backups that change while the site runs."""

from pathlib import Path
from typing import Any

import pytest

from fastcms.backups.backup_settings import (
    change_settings,
    changed_settings,
    read_settings,
    settings_problem,
)
from fastcms.config import Settings, load_settings
from fastcms.errors import ConfigError, InvalidInputError
from fastcms.site import Site, new_site


def file_of(site: Site) -> Path:
    return site.settings.backups_dir / "settings.json"


def test_without_changes_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMS_BACKUP_SCHEDULE", "30 3 * * 0")
    monkeypatch.setenv("FASTCMS_BACKUP_KEEP_DAILY", "14")
    monkeypatch.setenv("FASTCMS_NOTIFY_URLS", " ntfy://topic  json://localhost ")
    site = new_site(Settings(_env_file=None, data_dir=tmp_path / "data"))
    settings = read_settings(site)
    assert (settings.schedule, settings.keep_daily) == ("30 3 * * 0", 14)
    assert settings.notify_urls == ("ntfy://topic", "json://localhost")
    assert changed_settings(site) == frozenset()


def test_a_change_is_kept_and_none_takes_it_back(site: Site) -> None:
    change_settings(site, {"schedule": "0  5 * * *", "max_total_size": "10GB"})
    again = read_settings(new_site(site.settings))
    assert (again.schedule, again.max_total_size, again.keep_daily) == ("0 5 * * *", 10_000_000_000, 7)
    assert changed_settings(site) == {"schedule", "max_total_size"}
    assert change_settings(site, {"schedule": None}).schedule == "0 2 * * *"
    assert changed_settings(site) == {"max_total_size"}
    assert file_of(site).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schedule": "daily"}, "schedule"),
        ({"timezone": "Mars"}, "timezone"),
        ({"keep_last": -1}, "keep_last"),
        ({"max_total_size": "50"}, "max_total_size"),  # bytes: somebody has left GB out
        ({"notify_urls": ["nonsense"]}, "notify_urls"),
        ({"heartbeat_url": "ftp://example.com"}, "heartbeat_url"),
        ({"heartbeat_url": "https://"}, "heartbeat_url"),
        ({"heartbeat_url": "http://[hunter2"}, "heartbeat_url"),
        ({"no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    site: Site, changes: dict[str, Any], field: str
) -> None:
    change_settings(site, {"keep_last": 5})
    with pytest.raises(InvalidInputError, match=field) as refused:
        change_settings(site, changes | {"keep_daily": 1})
    assert [error["field"] for error in refused.value.errors] == [field]
    assert "Value error" not in f"{refused.value} {refused.value.errors}"
    assert (read_settings(site).keep_last, read_settings(site).keep_daily) == (5, 7)


def test_a_password_in_an_address_is_not_told_again(site: Site) -> None:
    with pytest.raises(InvalidInputError) as refused:
        change_settings(site, {"notify_urls": ["mailto://me:hunter2"], "heartbeat_url": "http://[hunter2"})
    assert "hunter2" not in f"{refused.value} {refused.value.errors}"


def test_what_the_environment_may_say_is_what_is_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that only one of the two takes would leave no settings at all: no backup, and no status."""
    monkeypatch.setenv("FASTCMS_BACKUP_KEEP_DAILY", "100000")
    site = new_site(Settings(_env_file=None, data_dir=tmp_path / "data"))
    assert read_settings(site).keep_daily == 100_000
    monkeypatch.setenv("FASTCMS_BACKUP_KEEP_DAILY", "100001")
    with pytest.raises(ConfigError, match="FASTCMS_BACKUP_KEEP_DAILY"):
        load_settings()


@pytest.mark.parametrize("content", ["{", "[]", '{"schedule": "never"}', "\udcff"])
def test_a_file_that_cannot_be_used_leaves_the_environments_settings_and_says_so(
    site: Site, content: str
) -> None:
    file_of(site).write_bytes(content.encode(errors="surrogateescape"))
    assert read_settings(site).schedule == "0 2 * * *"
    assert str(file_of(site)) in (settings_problem(site) or "")
    change_settings(site, {"schedule": "0 5 * * *"})
    assert (read_settings(site).schedule, settings_problem(site)) == ("0 5 * * *", None)
    kept = [path.read_bytes() for path in file_of(site).parent.glob("settings.json.unreadable-*")]
    assert kept in ([], [content.encode(errors="surrogateescape")])
    assert bool(kept) is (content != '{"schedule": "never"}')  # which could be read
