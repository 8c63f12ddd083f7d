"""Clients of each cloud's object storage, set up from an address's options and credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from fastcms.backups.stores.answers import is_panic
from fastcms.errors import StoreDeniedError

if TYPE_CHECKING:  # obstore has these names for type checkers only
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config, S3Credential

Client = S3Store | GCSStore | AzureStore

# What credentials each kind of store takes, by the names of the environment variables that hold them, too.
CREDENTIAL_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    "file": (),
}
_WHAT_TO_GIVE: Final[Mapping[str, str]] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT_KEY, which is the whole of the key's JSON file",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
ENDPOINT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


@dataclass(frozen=True)
class Spot:
    """Where in which cloud, and who asks."""

    scheme: str
    bucket: str
    prefix: str
    options: Mapping[str, str]
    credentials: Mapping[str, str]

    @property
    def endpoint(self) -> str:
        """The server's address, empty for the cloud's own."""
        named = (os.environ.get(name, "") for name in ENDPOINT_NAMES[self.scheme])
        return self.options.get("endpoint") or next(filter(None, named), "")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a store; who wants the whole of something tries again later, too.

    A request that sends a part must be over in `send`: that bounds how slow a line may be (three parts of
    8 MiB at once: 42 kB a second), and how long a dead one goes unnoticed. An answer may take as long as it
    likes, but not pause for longer than `silence`.
    """

    connect: timedelta = timedelta(seconds=10)
    silence: timedelta = timedelta(seconds=60)
    send: timedelta = timedelta(minutes=10)
    retries: int = 3
    retry: timedelta = timedelta(seconds=10)

    @property
    def for_answers(self) -> ClientConfig:
        return {
            "connect_timeout": self.connect,
            "read_timeout": self.silence,
            "timeout": timedelta(days=7),  # of a whole answer; without it, it would be half a minute
        }

    @property
    def for_sending(self) -> ClientConfig:
        return {"connect_timeout": self.connect, "timeout": self.send}

    @property
    def for_retries(self) -> RetryConfig:
        return {
            "max_retries": self.retries,
            "retry_timeout": self.retry,
            "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2)},
        }


def open_client(place: str, spot: Spot, waits: ClientConfig, retries: RetryConfig) -> Client:
    """A client of a bucket; what is given wins over the environment, where obstore looks for the rest."""
    waits = {**waits, "allow_http": spot.endpoint.startswith("http://")}
    try:
        _require_sendable(spot)
        return _open_client(spot, client_options=waits, retry_config=retries)
    except BaseException as error:
        if not (isinstance(error, BaseError | ValueError | OSError) or is_panic(error)):
            raise
        # Not `from` it: its text may have what nobody should see.
        raise StoreDeniedError(
            f"The credentials for {place} are incomplete, or not what they should be.",
            hint=f"Give {_WHAT_TO_GIVE[spot.scheme]}, exactly as the cloud shows them.",
        ) from None


def _require_sendable(spot: Spot) -> None:
    """Refuse the end of a line within a key, with which obstore would panic."""
    for name in CREDENTIAL_NAMES[spot.scheme]:
        text = spot.credentials.get(name) or os.environ.get(name, "")
        if name != "GOOGLE_SERVICE_ACCOUNT_KEY" and not (text.isascii() and text.isprintable()):
            raise ValueError(name)


def _open_client(spot: Spot, *, client_options: ClientConfig, retry_config: RetryConfig) -> Client:
    prefix = spot.prefix or None
    if spot.scheme == "s3":
        access = _s3_credential(spot.credentials)
        return S3Store(
            spot.bucket,
            prefix=prefix,
            config=_s3_config(spot),
            client_options=client_options,
            retry_config=retry_config,
            credential_provider=(lambda: access) if access else None,
        )
    if spot.scheme == "gs":
        return GCSStore(
            spot.bucket,
            prefix=prefix,
            config=_gcs_config(spot),
            client_options=client_options,
            retry_config=retry_config,
        )
    return AzureStore(
        spot.bucket,
        prefix=prefix,
        config=_azure_config(spot),
        client_options=client_options,
        retry_config=retry_config,
    )


def _s3_config(spot: Spot) -> S3Config:
    config: S3Config = {"disable_bulk_delete": True}  # not every server that speaks S3 knows how to
    if spot.endpoint:
        config["aws_endpoint_url_s3"] = spot.endpoint
    if "region" in spot.options:
        config["region"] = spot.options["region"]
    return config


def _s3_credential(given: Mapping[str, str]) -> S3Credential | None:
    """All from one place: a key of the page must not meet a session token of the environment."""
    if not given:
        return None
    if not (given.get("AWS_ACCESS_KEY_ID") and given.get("AWS_SECRET_ACCESS_KEY")):
        raise ValueError("Only one half is given.")
    return {
        "access_key_id": given["AWS_ACCESS_KEY_ID"],
        "secret_access_key": given["AWS_SECRET_ACCESS_KEY"],
        "token": given.get("AWS_SESSION_TOKEN"),
        "expires_at": None,
    }


def _gcs_config(spot: Spot) -> GCSConfig:
    config: GCSConfig = {}
    if spot.endpoint:
        config["base_url"] = spot.endpoint
    if key := spot.credentials.get("GOOGLE_SERVICE_ACCOUNT_KEY"):
        config["service_account_key"] = key
    return config


def _azure_config(spot: Spot) -> AzureConfig:
    config: AzureConfig = {}
    if spot.endpoint:
        config["endpoint"] = spot.endpoint
    if account := spot.options.get("account") or spot.credentials.get("AZURE_STORAGE_ACCOUNT_NAME"):
        config["account_name"] = account
    if key := spot.credentials.get("AZURE_STORAGE_ACCOUNT_KEY"):
        config |= {"account_key": key, "credential_type": "access_key"}
    elif token := spot.credentials.get("AZURE_STORAGE_SAS_TOKEN"):
        config |= {"sas_key": token, "credential_type": "sas_token"}
    return config
