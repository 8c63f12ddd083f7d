"""How backups are made by themselves: the environment's settings, and what was changed while the site runs.

Changes are kept in data/backups/settings.json, which no restore touches. It may hold passwords of mail
servers: its mode is 0600, and nothing shows them again.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from fastcms.age_keys import check_public_keys
from fastcms.backups.engine.paths import beside
from fastcms.backups.folder import data_paths, explained
from fastcms.config import KeptCount, Settings, message_of
from fastcms.cron import check_schedule, check_timezone
from fastcms.database import utc_now
from fastcms.durability import write_durably
from fastcms.errors import ConfigError, InvalidInputError
from fastcms.locks import FileLock
from fastcms.logs import get_logger
from fastcms.site import Site, make_folders

_BEGIN_ANEW = (
    "Mend the file, or put back one that you have kept. If there is none, change a setting of backups, which "
    "begins it anew, and set again all that you had changed: above all the public keys that copies are "
    "encrypted to."
)


def _check_encrypt_to(keys: tuple[str, ...]) -> tuple[str, ...]:
    check_public_keys(" ".join(keys))
    return keys


class BackupSettings(BaseModel):
    """What is in force. Schedules are cron expressions or `off`.

    Addresses are only checked when they are changed: one that the environment has wrong stops nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    schedule: Annotated[str, AfterValidator(check_schedule)]
    verify_schedule: Annotated[str, AfterValidator(check_schedule)]
    timezone: Annotated[str, AfterValidator(check_timezone)]
    keep_last: KeptCount
    keep_daily: KeptCount
    keep_weekly: KeptCount
    keep_monthly: KeptCount
    keep_yearly: KeptCount
    max_total_size: Annotated[ByteSize, Field(ge=1_000_000)] | None
    copy_limit: Annotated[ByteSize, Field(ge=1000)] | None
    encrypt_to: Annotated[tuple[str, ...], AfterValidator(_check_encrypt_to)]
    notify_urls: tuple[str, ...]
    notify_success: bool
    heartbeat_url: str


class _ChangedSettings(BackupSettings):
    @field_validator("notify_urls")
    @classmethod
    def _check_notify_urls(cls, urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        from apprise import Apprise  # noqa: PLC0415 - takes longer to import than most commands to work

        for number, url in enumerate(urls if "notify_urls" in (info.context or {}) else (), 1):
            # Not quoted: it holds a password.
            if Apprise.instantiate(url) is None:
                raise ValueError(f"number {number} is no address that Apprise knows: mailto://, ntfy://")
        return urls

    @field_validator("heartbeat_url")
    @classmethod
    def _check_heartbeat_url(cls, url: str, info: ValidationInfo) -> str:
        is_changed = "heartbeat_url" in (info.context or {})
        if is_changed and url:
            try:
                TypeAdapter(HttpUrl).validate_python(url)
            except ValidationError:  # which quotes it
                raise ValueError("a heartbeat's address is https:// or http://, a host, and a path") from None
        return url


def read_settings(site: Site) -> BackupSettings:
    """What is in force now. Changes that cannot be read are left out: see `settings_problem`."""
    try:
        return require_settings(site)
    except ConfigError as error:
        _log_once(error.message, error.hint)
    return environment_settings(site)


def require_settings(site: Site) -> BackupSettings:
    """What is in force now. Raises: ConfigError when it is not known what was changed."""
    try:
        return BackupSettings.model_validate(_given(site.settings) | _read_changes(site))
    except ValidationError as error:
        raise ConfigError(
            f"{_path(site)} holds settings that do not fit: {_describe(error)}.",
            hint=_BEGIN_ANEW,
            code="backup_settings_unreadable",
        ) from error


@lru_cache(maxsize=1)
def _log_once(message: str, hint: str = "") -> None:
    """Log what every look at the settings finds: a server looks several times a minute."""
    get_logger().error(message, hint=hint)


def settings_problem(site: Site) -> str | None:
    """Why the changes that were made while the site ran are not in force; None when they are."""
    try:
        require_settings(site)
    except ConfigError as error:
        return error.message
    return None


def changed_settings(site: Site) -> frozenset[str]:
    """The names of the settings that differ from the environment's because somebody has changed them."""
    try:
        return frozenset(_read_changes(site))
    except ConfigError:
        return frozenset()


def change_settings(site: Site, changes: Mapping[str, Any]) -> BackupSettings:
    """Change settings by name, for this and every later start; None goes back to the environment's value.

    Raises: InvalidInputError, naming each setting that does not fit; then nothing is changed. BackupError.
    """
    folder = data_paths(site).backups_dir
    make_folders(folder)
    with (
        explained("Changing the settings of backups"),
        FileLock(folder / ".settings_lock").hold(purpose="changing the settings of backups"),
    ):
        try:
            kept = _read_changes(site)
        except ConfigError as error:  # somebody may still read an address in it
            kept_path = beside(_path(site), f".unreadable-{utc_now():%Y%m%d_%H%M%S}")
            _path(site).replace(kept_path)
            get_logger().warning(error.message, kept=str(kept_path))
            kept = {}
        kept = _merged(kept, changes)
        settings = _understand(site, kept, changes)
        # As they were understood: "10GB" as a number of bytes.
        understood = settings.model_dump(mode="json", include=set(kept))
        write_durably(_path(site), json.dumps(understood, indent=2).encode())
    return settings


def try_settings(site: Site, changes: Mapping[str, Any]) -> BackupSettings:
    """What would be in force with these changes; nothing is changed. Raises: InvalidInputError."""
    try:
        kept = _read_changes(site)
    except ConfigError:
        kept = {}
    return _understand(site, _merged(kept, changes), changes)


def environment_settings(site: Site) -> BackupSettings:
    """What the environment says, whatever was changed since."""
    return BackupSettings.model_validate(_given(site.settings))


def variable_of(name: str) -> str:
    """The name of the application's setting, FASTCMS_* in the environment, that a setting begins with."""
    is_general = name == "timezone" or name.startswith(("notify", "heartbeat"))
    return name if is_general else f"backup_{name}"


def _merged(kept: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is changed altogether: None goes back to the environment's value."""
    return {name: value for name, value in (dict(kept) | dict(changes)).items() if value is not None}


def _understand(site: Site, kept: Mapping[str, Any], changes: Mapping[str, Any]) -> BackupSettings:
    try:
        return _ChangedSettings.model_validate({**_given(site.settings), **kept}, context=dict(changes))
    except ValidationError as error:
        raise InvalidInputError(
            f"The settings were not changed: {_describe(error)}.",
            code="settings_invalid",
            errors=[
                {"field": str(problem["loc"][0]), "message": message_of(problem)}
                for problem in error.errors()
            ],
        ) from error


def _path(site: Site) -> Path:
    return data_paths(site).backups_dir / "settings.json"


def _given(settings: Settings) -> dict[str, Any]:
    return {
        "schedule": settings.backup_schedule,
        "verify_schedule": settings.backup_verify_schedule,
        "timezone": settings.timezone,
        "keep_last": settings.backup_keep_last,
        "keep_daily": settings.backup_keep_daily,
        "keep_weekly": settings.backup_keep_weekly,
        "keep_monthly": settings.backup_keep_monthly,
        "keep_yearly": settings.backup_keep_yearly,
        "max_total_size": settings.backup_max_total_size,
        "copy_limit": settings.backup_copy_limit,
        "encrypt_to": settings.backup_encrypt_to.split(),
        "notify_urls": settings.notify_urls.get_secret_value().split(),
        "notify_success": settings.notify_success,
        "heartbeat_url": settings.heartbeat_url.get_secret_value(),
    }


def _read_changes(site: Site) -> dict[str, Any]:
    path = _path(site)
    try:
        changes = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}. The environment's settings of backups are in force.",
            hint=_BEGIN_ANEW,
            code="backup_settings_unreadable",
        ) from error
    if not isinstance(changes, dict):
        raise ConfigError(
            f"{path} holds no settings. The environment's settings of backups are in force.",
            hint=_BEGIN_ANEW,
            code="backup_settings_unreadable",
        )
    return changes


def _describe(error: ValidationError) -> str:
    return "; ".join(f"{problem['loc'][0]}: {message_of(problem)}" for problem in error.errors())
