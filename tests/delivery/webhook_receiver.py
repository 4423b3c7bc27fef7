"""A local HTTP webhook receiver whose behaviour, good or bad, depends on the request path."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from waiting import LIMIT

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS = {"ONE_SECRET": SECRET} | {f"{name}_SECRET": f"the-secret-of-{name}-alone-32" for name in ("TWO", "HANGS", "GONE", "SHUT")}
"""Secrets by the environment variable of each receiver."""


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.opened = threading.Event()  # /hang and /drip block until then
        self.failures = 0  # number of requests to /flaky to answer with 500 first

    def url(self, path: str = "/ok") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_: Any) -> None: ...  # a killed deliverer drops its connection

    def to(self, path: str) -> list[Got]:
        return [got for got in self.got if got.path == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, raw))
        getattr(self, "path_" + self.path.strip("/").replace("/", "_"))()

    def log_message(self, *_: Any) -> None: ...

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def path_ok(self) -> None:
        self._answer(200, b"{}")

    def path_functions_v1_job_callback(self) -> None:
        self._answer(200)

    path_other = path_created = path_ok

    def path_flaky(self) -> None:
        self.server.failures -= 1
        self._answer(500 if self.server.failures >= 0 else 204, b"" if self.server.failures < 0 else b"secrets of mine")

    def path_500(self) -> None:
        self._answer(500, b"secrets of mine")

    def path_410(self) -> None:
        self._answer(410)

    def path_later(self) -> None:
        self._answer(429, Retry_After="900")

    def path_forever(self) -> None:
        self._answer(503, Retry_After="99999999")

    def path_redirect(self) -> None:
        self._answer(307, Location=self.server.url("/other"))

    def path_drop(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def path_hang(self) -> None:
        self.server.opened.wait(LIMIT)
        self._answer(200)

    def path_drip(self) -> None:
        """Endless header bytes at intervals: no single read times out."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not self.server.opened.wait(0.05):
            self.wfile.write(b"x")

    def path_lies(self) -> None:
        """Announces a gigabyte and closes the connection."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{")
        self.connection.shutdown(socket.SHUT_RDWR)

    def path_nonsense(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\x00\xff" * 5)
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.opened.set()
        receiver.shutdown()
        receiver.server_close()
        thread.join(LIMIT)
