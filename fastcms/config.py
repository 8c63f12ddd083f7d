"""Settings: one table of name, default and meaning, read from FASTCMS_* variables and `.env`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from fastcms.age_keys import check_key_path, check_public_keys
from fastcms.cron import check_schedule, check_timezone
from fastcms.errors import ConfigError

KeptCount = Annotated[int, Field(ge=0, le=100_000)]


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Settings(BaseSettings):
    """Every setting; `docs/user-guide.md` shows the same table, and a test compares the two."""

    model_config = SettingsConfigDict(
        env_prefix="FASTCMS_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(
        Path("data"), description="Folder of everything that matters: app.db, files/ and backups/."
    )
    host: str = Field("127.0.0.1", description="Address that `fastcms serve` listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8000, description="Port that `fastcms serve` listens on."
    )
    log_format: LogFormat = Field(LogFormat.CONSOLE, description="`console` for people, `json` for machines.")
    log_level: LogLevel = Field(LogLevel.INFO, description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.")
    session_hours: Annotated[int, Field(ge=1, le=24 * 365)] = Field(
        24 * 7, description="Hours after which a login ends."
    )
    max_upload_size: Annotated[ByteSize, Field(gt=0)] = Field(
        ByteSize(1024**3), description="Largest file that may be uploaded, such as `500MB` or `2GiB`."
    )
    admin_password: SecretStr | None = Field(
        None, description="Password for `fastcms admin create`, instead of asking for it."
    )
    timezone: Annotated[str, AfterValidator(check_timezone)] = Field(
        "UTC", description="Time zone of the schedules, and of the days and weeks of which backups are kept."
    )
    backup_schedule: Annotated[str, AfterValidator(check_schedule)] = Field(
        "0 2 * * *", description="When the server makes a backup: a cron expression, or `off`."
    )
    backup_verify_schedule: Annotated[str, AfterValidator(check_schedule)] = Field(
        "0 4 1 * *",
        description="When the server restores the newest backup into a scratch folder, as a test: a cron "
        "expression, or `off`.",
    )
    backup_keep_last: KeptCount = Field(3, description="Keep so many of the newest backups.")
    backup_keep_daily: KeptCount = Field(7, description="Keep the newest backup of each of so many days.")
    backup_keep_weekly: KeptCount = Field(4, description="Keep the newest backup of each of so many weeks.")
    backup_keep_monthly: KeptCount = Field(
        12, description="Keep the newest backup of each of so many months."
    )
    backup_keep_yearly: KeptCount = Field(0, description="Keep the newest backup of each of so many years.")
    backup_max_total_size: Annotated[ByteSize, Field(ge=1_000_000)] | None = Field(
        None, description="Remove the oldest backups beyond this size of all together, such as `50GB`."
    )
    backup_destinations: SecretStr = Field(
        SecretStr(""),
        description="Where backups are copied to: addresses with spaces between, such as "
        "`s3://bucket/folder file:///mnt/nas/backups`. Credentials stand in each cloud's own variables.",
    )
    backup_copy_limit: Annotated[ByteSize, Field(ge=1000)] | None = Field(
        None, description="How many bytes a second copying to one destination may send, such as `5MB`."
    )
    backup_encrypt_to: Annotated[str, AfterValidator(check_public_keys)] = Field(
        "",
        description="Encrypt what is copied to destinations to these public keys of age (`age1...`, with "
        "spaces between), as `fastcms backup keygen` makes them. Without one, copies are not encrypted.",
    )
    backup_identity: Annotated[Path | None, AfterValidator(check_key_path)] = Field(
        None,
        description="File of the secret key, only on a machine that may read encrypted backups: with it, "
        "each encrypted copy is decrypted as a test.",
    )
    notify_urls: SecretStr = Field(
        SecretStr(""),
        description="Whom to tell when a backup needs attention: addresses as Apprise knows them, with "
        "spaces between, such as `mailto://user:password@example.com ntfy://topic`.",
    )
    notify_success: bool = Field(False, description="Tell them of every backup that succeeds, too.")
    heartbeat_url: SecretStr = Field(
        SecretStr(""),
        description="Address to call when a scheduled backup starts (`/start` is added), succeeds, or fails "
        "(`/fail`), as healthchecks.io takes it.",
    )
    supervised: bool = Field(
        False,
        description="Something always starts the server again when it ends, so it may end itself to restart; "
        "`fastcms serve` needs no such thing.",
    )
    metrics_public: bool = Field(False, description="Show `/metrics` to everybody, without a token.")

    @property
    def database_path(self) -> Path:
        return self.data_dir / "app.db"

    @property
    def files_dir(self) -> Path:
        return self.data_dir / "files"

    @property
    def backups_dir(self) -> Path:
        return self.data_dir / "backups"


def message_of(problem: ErrorDetails) -> str:
    """What does not fit, without Pydantic's word for the kind of error."""
    return problem["msg"].removeprefix("Value error, ")


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises: ConfigError, naming each variable that does not fit.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"FASTCMS_{'_'.join(str(part) for part in problem['loc']).upper()}: {message_of(problem)}"
            for problem in error.errors()
        )
        raise ConfigError(problems, hint="Correct the environment variable or the .env file.") from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"The .env file in {Path.cwd()} cannot be read: {error}.",
            hint="Save it as plain text in UTF-8, readable for the user that the server runs as.",
        ) from error
