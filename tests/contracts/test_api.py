"""The OpenAPI schema and the server agree, whatever is sent: with an admin's token, and without one.

A real server, so that what would be an exception in a test client is the 500 that a user would see.
"""

import secrets
import shutil
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from fastcms.config import Settings
from fastcms.main import create_app
from tests.e2e.conftest import Server

API = schemathesis.openapi.from_dict(create_app(Settings(_env_file=None)).openapi())
CHECKS: list[Any] = [
    checks.not_a_server_error,
    *checks.CHECKS.get_by_names(
        [
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
        ]
    ),
]
AnyCase = schemathesis.Case[Any]
WITHOUT_TOKEN = {"POST /api/v1/auth/login", "GET /files/{file_id}/{filename}", "GET /health"}
bounded = settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class LiveApi:
    """A server with an admin's token, and things that exist for the paths of each operation."""

    def __init__(self, server: Server, token: str) -> None:
        self.server = server
        self.admin = requests.Session()
        self.admin.headers["Authorization"] = f"Bearer {token}"
        self.stranger = requests.Session()
        self.things_of = cache(self._make_things)

    def _make_things(self, operation: str) -> dict[str, str]:
        """The value of each path parameter, made for one operation: another one may delete its own."""
        name = f"things_{secrets.token_hex(8)}"
        fields = [{"name": "title", "type": "text"}, {"name": "count", "type": "number"}]
        self._make("/collections", json={"name": name, "schema": fields})
        record = self._make(f"/collections/{name}/records", json={"data": {"title": "one", "count": 1}})
        file = self._make("/files", files={"file": ("note.txt", b"some text")})
        things = {"name": name, "record_id": record["id"], "file_id": file["id"], "filename": "note.txt"}
        if "/backups/jobs/" in operation:
            things["job_id"] = self._make("/backups", headers={"Prefer": "respond-async"})["id"]
        elif "/destinations/" in operation:
            things |= self._make_destination()
        elif "/backups/" in operation:
            things["filename"] = self._make("/backups")["filename"]
            if operation.endswith("/{file_path}"):
                things["file_path"] = self._path_in_backup(things["filename"], file["id"])
        return things

    def _make_destination(self) -> dict[str, str]:
        """A folder with one backup in it."""
        folder = self.server.folder / f"far_{secrets.token_hex(8)}"
        folder.mkdir()
        added = self._make("/backups/destinations", json={"address": f"file://{folder}"})
        backup = self._make("/backups")["filename"]
        shutil.copy(self.server.folder / "data" / "backups" / backup, folder)
        return {"destination_id": added["id"], "object_name": backup}

    def _path_in_backup(self, filename: str, file_id: str) -> str:
        answer = self.admin.get(
            f"{self.server.url}/api/v1/backups/{filename}/files", params={"search": file_id}, timeout=60
        )
        path: str = answer.json()["items"][0]["path"]
        return path

    def _make(self, path: str, **content: Any) -> dict[str, str]:
        while True:
            answer = self.admin.post(f"{self.server.url}/api/v1{path}", timeout=60, **content)
            if answer.ok or answer.json()["code"] != "backup_busy":
                break
            time.sleep(0.2)  # a job that another operation has begun
        assert answer.ok, answer.text
        made: dict[str, str] = answer.json()
        return made


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    server = Server(tmp_path_factory.mktemp("api"))
    server.start()
    yield LiveApi(server, server.create_token())
    server.stop()
    assert "Unexpected error" not in server.terminal
    assert "Traceback" not in server.terminal


@API.parametrize()
@bounded
def test_whatever_an_admin_sends_is_answered_as_the_schema_says(case: AnyCase, live: LiveApi) -> None:
    case.call_and_validate(base_url=live.server.url, session=live.admin, checks=CHECKS)
    if case.path_parameters:
        things = live.things_of(case.operation.label)
        case.path_parameters = {name: things[name] for name in case.path_parameters}
        if case.operation.path.endswith("/verify"):
            case.query = {"level": "light"}  # another one starts a site: each takes a while
        case.call_and_validate(base_url=live.server.url, session=live.admin, checks=CHECKS)


@API.parametrize()
@settings(bounded, phases=[Phase.generate])
def test_a_stranger_is_refused_everything_but_login_and_the_urls_of_files(
    case: AnyCase, live: LiveApi
) -> None:
    if case.path_parameters:
        things = live.things_of(case.operation.label)
        case.path_parameters = {name: things[name] for name in case.path_parameters}
    answer = case.call_and_validate(base_url=live.server.url, session=live.stranger, checks=CHECKS)
    if case.operation.label not in WITHOUT_TOKEN:
        # Input may be judged first; nothing is ever given or done.
        assert answer.status_code in (400, 401, 404, 405, 422), answer.status_code
        assert "items" not in answer.json()
