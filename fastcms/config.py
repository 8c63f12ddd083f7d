"""Settings: one table of name, default and meaning, read from FASTCMS_* variables and `.env`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fastcms.errors import ConfigError


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

    @property
    def database_path(self) -> Path:
        return self.data_dir / "app.db"

    @property
    def files_dir(self) -> Path:
        return self.data_dir / "files"

    @property
    def backups_dir(self) -> Path:
        return self.data_dir / "backups"


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises: ConfigError, naming each variable that does not fit.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"FASTCMS_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigError(problems, hint="Correct the environment variable or the .env file.") from error
