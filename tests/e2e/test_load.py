"""More requests at once than the server has threads."""

import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.e2e.conftest import Server, clean_environment

WRITERS = 80  # twice the threads of a worker


def test_many_writes_at_once_all_succeed_and_the_server_stays_healthy(server: Server) -> None:
    created = subprocess.run(
        ["fastcms", "token", "create", "load"],
        cwd=server.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    headers = {"Authorization": f"Bearer {created.stdout.strip()}"}
    collections = f"{server.url}/api/v1/collections"
    schema = [{"name": "title", "type": "text"}]
    made = requests.post(collections, json={"name": "posts", "schema": schema}, headers=headers)
    assert made.status_code == 201, made.text

    def write(number: int) -> int:
        record = {"data": {"title": f"Post {number}"}}
        return requests.post(f"{collections}/posts/records", json=record, headers=headers).status_code

    with ThreadPoolExecutor(WRITERS) as pool:
        writes = [pool.submit(write, number) for number in range(WRITERS * 3)]
        health = [requests.get(f"{server.url}/health").status_code for _ in range(5)]
    assert Counter(done.result() for done in writes) == {201: WRITERS * 3}
    assert health == [200] * 5
    assert requests.get(f"{collections}/posts/records", headers=headers).json()["total"] == WRITERS * 3
