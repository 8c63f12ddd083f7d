"""Everything that a visitor of a site can see, and how two such views differ."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

_PER_PAGE = 200


class SiteClient:
    """The API of one site, as an admin."""

    def __init__(self, url: str, timeout_seconds: float = 60) -> None:
        self.url = url
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()

    def use_token(self, token: str) -> None:
        self._session.headers["Authorization"] = f"Bearer {token}"

    def log_in(self, email: str, password: str) -> None:
        answer = self.call("POST", "/auth/login", json={"email": email, "password": password})
        self.use_token(answer["access_token"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the answer's JSON; an answer that is an error raises."""
        answer = self._session.request(
            method, f"{self.url}/api/v1{path}", timeout=self._timeout_seconds, **options
        )
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def list_all(self, path: str) -> Iterator[dict[str, Any]]:
        page = 1
        while items := self.call("GET", path, params={"page": page, "per_page": _PER_PAGE})["items"]:
            yield from items
            page += 1

    def hash_served(self, url: str) -> str:
        """The SHA-256 of the bytes that a URL serves, or what it answers instead."""
        answer = self._session.get(f"{self.url}{url}", timeout=self._timeout_seconds)
        return hashlib.sha256(answer.content).hexdigest() if answer.ok else f"status {answer.status_code}"


@dataclass(frozen=True)
class SiteState:
    """Each collection, record and file by name: what the API tells, and the hash of the bytes."""

    collections: dict[str, Any]
    records: dict[str, Any]
    files: dict[str, Any]


def read_state(client: SiteClient) -> SiteState:
    collections = {item["name"]: item for item in client.list_all("/collections")}
    return SiteState(
        collections=collections,
        records={
            f"{name}/{record['id']}": record
            for name in collections
            for record in client.list_all(f"/collections/{name}/records")
        },
        files={
            f"{file['filename']} ({file['id']})": file | {"served_sha256": client.hash_served(file["url"])}
            for file in client.list_all("/files")
        },
    )


def find_differences(before: SiteState, after: SiteState) -> list[str]:
    """Say of each collection, record and file that is not as before, what is wrong with it."""
    found = []
    for kind in ("collections", "records", "files"):
        old, new = getattr(before, kind), getattr(after, kind)
        found += [f"{kind}: {name} is missing" for name in sorted(old.keys() - new.keys())]
        found += [f"{kind}: {name} was not there before" for name in sorted(new.keys() - old.keys())]
        found += [
            f"{kind}: {name} differs" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
        ]
    return found
