"""Supabase Storage for tests: a server with its real HTTP API, and a line to it that injects faults."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx
import pytest
from support import Server
from waiting import LIMIT

from ourvidz.dev import parts, services
from ourvidz.dev.keys import Keys
from ourvidz.dev.process import Process, answering, on_free_port
from ourvidz.dev.tokens import Secret
from ourvidz.storage.api import Patience
from ourvidz.storage.base import BucketLimit
from ourvidz.storage.supabase import SupabaseStorage

QUICK = Patience(tries=4, first=0.01, longest=0.05)


@dataclass(frozen=True)
class Face:
    """A project's Storage at `url`."""

    url: str
    root: Path
    secret: Secret = field(repr=False)
    database_url: str = ""

    def clear(self, buckets: Mapping[str, BucketLimit]) -> None:
        """Delete all objects, and create or update these buckets with their limits."""
        with self.client() as client:
            known = {found["id"] for found in client.get("/bucket").json()}
            for bucket in known:
                while rows := client.post(f"/object/list-v2/{bucket}", json={"prefix": ""}).json()["objects"]:
                    client.request("DELETE", f"/object/{bucket}", json={"prefixes": [row["name"] for row in rows]}).raise_for_status()
            for name, limit in buckets.items():
                body = {"public": limit.public, "file_size_limit": limit.max_bytes, "allowed_mime_types": sorted(limit.media_types)}
                asked = client.put(f"/bucket/{name}", json=body) if name in known else client.post("/bucket", json={"name": name, **body})
                asked.raise_for_status()

    def client(self, token: str | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/storage/v1", headers={"authorization": f"Bearer {token or self.secret.service}"}, timeout=LIMIT
        )

    def store(self, buckets: Mapping[str, BucketLimit], url: str = "", patience: Patience = QUICK) -> SupabaseStorage:
        return SupabaseStorage(url or self.url, self.secret.service, buckets, patience)


@pytest.fixture(scope="session")
def standing_face(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One server per session: call `clear` first."""
    with _a_face(server, template, tmp_path_factory.mktemp("storage")) as face:
        yield face


@pytest.fixture
def new_face(server: Server, template: str, tmp_path: Path) -> Iterator[Callable[..., Face]]:
    """Create servers for one test, without buckets: `new_face(limit=50 * MB)`, the project's size limit for an object."""
    with contextlib.ExitStack() as opened:
        yield lambda limit=None: opened.enter_context(_a_face(server, template, tmp_path / "storage", limit))


@contextmanager
def _a_face(server: Server, template: str, root: Path, limit: int | None = None) -> Iterator[Face]:
    secret, name = Secret(), server.create(template)
    process, url = start_storage(root, secret, server.url(name, superuser=True), limit)
    try:
        yield Face(url, root, secret, server.url(name))
    finally:
        process.stop()
        server.drop(name)


def start_storage(root: Path, secret: Secret, superuser_url: str, limit: int | None = None, port: int = 0) -> tuple[Process, str]:
    """Storage alone, without a gateway: its process, and the URL to use as SUPABASE_URL."""
    found = parts.bring()
    root.mkdir(parents=True, exist_ok=True)
    Keys(secret).write(root / "keys.json")
    services.prepare(superuser_url)
    argv, env = services.storage(found, superuser_url, root / "keys.json", root)
    more = {"FILE_SIZE_LIMIT": str(limit)} if limit else {}

    def start(port: int) -> Process:
        process = Process("storage", argv, root / "log", {**env, **more, "PORT": str(port)})
        return process.until(answering(f"http://127.0.0.1:{port}/status"))

    process, port = on_free_port(start, port)
    return process, f"http://127.0.0.1:{port}"


@dataclass
class Trouble:
    """A fault for the next `times` requests whose first line matches. `at`: cut the line after so many bytes of the body; `lost`: drop the
    answer; `answer`: reply with this instead of asking the server; `before`, `then`: called before passing on and after the reply.
    """

    pattern: str
    times: int = 1
    at: int | None = None
    lost: bool = False
    answer: bytes | None = None
    before: Callable[[], object] | None = None
    then: Callable[[], object] | None = None


def said(status: str, body: bytes = b"{}", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *lines, "", ""]).encode() + body


class Line:
    """Pass HTTP/1.1 on, one request per connection, and record each first line."""

    def __init__(self, url: str) -> None:
        self._to = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.trouble: list[Trouble] = []
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.sent = 0  # body bytes sent to the server
        self._lock = threading.Lock()

    def __enter__(self) -> Line:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def count(self, pattern: str) -> int:
        return sum(1 for line in self.asked if re.search(pattern, line))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := client.recv(65536)):
                    return
                head += data
            head, _, body = head.partition(b"\r\n\r\n")
            first = head.partition(b"\r\n")[0].decode()
            trouble = self._next(first, head.decode().lower())
            if trouble and trouble.before:
                trouble.before()
            if trouble and trouble.answer is not None:
                client.sendall(trouble.answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):  # read to its end, so that the client gets the reply
                    pass
            else:
                self._pass(client, head, body, trouble)
        if trouble and trouble.then:
            trouble.then()

    def _pass(self, client: socket.socket, head: bytes, body: bytes, trouble: Trouble | None) -> None:
        length = int((re.search(rb"(?i)\r\ncontent-length: *(\d+)", head) or [0, 0])[1])
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head) + b"\r\nconnection: close\r\n\r\n"
        limit = length if trouble is None or trouble.at is None else min(trouble.at, length)
        with socket.create_connection(self._to) as server:
            server.sendall(head)
            passed = 0
            while True:
                part = body[: limit - passed]
                server.sendall(part)
                passed += len(part)
                if passed >= limit:
                    break
                if not (body := client.recv(65536)):
                    return
            with self._lock:
                self.sent += passed
            if trouble and trouble.at is not None:
                return
            while data := server.recv(65536):
                if not (trouble and trouble.lost):
                    client.sendall(data)

    def _next(self, first: str, head: str) -> Trouble | None:
        with self._lock:
            self.asked.append(first)
            self.heads.append(head)
            for trouble in self.trouble:
                if trouble.times > 0 and re.search(trouble.pattern, first):
                    trouble.times -= 1
                    return trouble
        return None
