"""Uploads by Google Cloud Storage's XML API, in front of fake-gcs-server, which has the rest of that API.

A single upload is passed on in the one form that fake-gcs-server takes. The parts of a larger one are kept
here until they are completed. Source: https://cloud.google.com/storage/docs/multipart-uploads
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

_LEFT_OUT = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Front"

    def do_GET(self) -> None:
        self._pass_on(self.path, self._body())

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def do_PUT(self) -> None:
        query, body = self._query(), self._body()
        if "uploadId" not in query:
            self._store(body)
            return
        self.server.uploads[query["uploadId"]][int(query["partNumber"])] = body
        self._answer(200, {"ETag": f'"part-{query["partNumber"]}"'})

    def do_POST(self) -> None:
        query, body = self._query(), self._body()
        if "uploads" in query:
            upload_id = f"upload-{len(self.server.uploads)}"
            self.server.uploads[upload_id] = {}
            self._answer_xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")
        elif "uploadId" in query:
            parts = self.server.uploads[query["uploadId"]]
            self._store(b"".join(parts[number] for number in sorted(parts)))
        else:
            self._pass_on(self.path, body)

    def do_DELETE(self) -> None:
        if upload_id := self._query().get("uploadId"):
            self.server.uploads[upload_id].clear()
            self._answer(204, {})
        else:
            self._pass_on(self.path, self._body())

    def log_message(self, *_: Any) -> None:
        """Nothing: what is tested must be silent."""

    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _store(self, content: bytes) -> None:
        path = urlsplit(self.path).path
        answer = requests.put(f"{self.server.behind}{path}?X-Goog-Algorithm=any", data=content)
        if not answer.ok:
            self._answer(answer.status_code, {}, answer.content)
            return
        e_tag = f'"{answer.json()["etag"]}"'
        self._answer_xml("CompleteMultipartUploadResult", f"<ETag>{e_tag}</ETag>", {"ETag": e_tag})

    def _pass_on(self, path: str, body: bytes) -> None:
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _LEFT_OUT}
        answer = requests.request(self.command, self.server.behind + path, headers=headers, data=body)
        kept = {name: text for name, text in answer.headers.items() if name.lower() not in _LEFT_OUT}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.headers["Content-Length"]
        self._answer(answer.status_code, kept, answer.content)

    def _answer_xml(self, element: str, content: str, headers: dict[str, str] | None = None) -> None:
        self._answer(200, headers or {}, f"<{element}>{content}</{element}>".encode())

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, text in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Front(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind
        self.uploads: dict[str, dict[int, bytes]] = {}

    def handle_error(self, *_: Any) -> None:
        """Nothing: who cancels an upload hangs up."""


@contextmanager
def taking_uploads(behind: str) -> Iterator[str]:
    """Serve all of the XML API for the server at `behind`, and yield the endpoint to use instead of it."""
    with _Front(behind) as front:
        thread = threading.Thread(target=front.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{front.server_port}"
        finally:
            front.shutdown()
            thread.join()
