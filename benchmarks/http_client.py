"""The lightest HTTP client that measures honestly: it shares the processor with the server that it loads."""

import json
import socket
from dataclasses import dataclass
from typing import Any

_BOUNDARY = "benchmark-boundary"
_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Api:
    """Where a server takes records and files. FastCMS and PocketBase differ in paths and little else."""

    port: int
    authorization: str
    records_path: str
    record: dict[str, Any]
    files_path: str

    @property
    def new_record(self) -> bytes:
        return self._request("POST", self.records_path, json.dumps(self.record).encode(), "application/json")

    def new_file(self, name: str, content: bytes) -> bytes:
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return self._request("POST", self.files_path, body, f"multipart/form-data; boundary={_BOUNDARY}")

    def deletion_of_file(self, file_id: str) -> bytes:
        return self._request("DELETE", f"{self.files_path}/{file_id}")

    def reading_of(self, path: str, byte_range: str) -> bytes:
        return self._request("GET", path, byte_range=byte_range)

    def _request(
        self, method: str, path: str, body: bytes = b"", content_type: str = "", byte_range: str = ""
    ) -> bytes:
        headers = {"Host": "127.0.0.1", "Authorization": self.authorization}
        if byte_range:
            headers["Range"] = byte_range
        if body:
            headers |= {"Content-Type": content_type, "Content-Length": str(len(body))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "\r\n"]).encode() + body


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        """Raises: OSError when there is no server."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return the status and the body of the answer.

        Raises: OSError when the connection breaks, or the answer is not of a kind that is understood here.
        """
        status, length, body = self.send_for_head(request)
        while len(body) < length:
            body += self.receive()
        return status, body

    def send_for_head(self, request: bytes) -> tuple[int, int, bytes]:
        """Send a request; return the status, the length of the body, and what of it came with the headers."""
        self._socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.receive()
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        if "transfer-encoding" in headers:
            raise OSError("The answer is chunked.")
        return int(lines[0].split()[1]), int(headers.get("content-length", "0")), body

    def receive(self) -> bytes:
        received = self._socket.recv(_CHUNK_BYTES)
        if not received:
            raise ConnectionResetError("The server closed the connection.")
        return received

    def receive_into(self, buffer: memoryview) -> int:
        """Fill part of a buffer with what comes next, and return how much it was; 0 at the end."""
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        self._socket.close()
