"""Run the real Supabase CLI to deploy to a local listener instead of api.supabase.com, and run the uploaded functions on their own."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from waiting import LIMIT

REF = "abcdefghijklmnopqrst"  # format of a project reference
TOKEN = f"sbp_{'0123456789abcdef' * 2}01234567"  # format of a personal access token


@dataclass
class Upload:
    """One uploaded function: its files by the names given by the CLI, and its metadata."""

    files: dict[str, bytes]
    metadata: dict[str, Any]

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            assert path.resolve().is_relative_to(folder.resolve()), name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@dataclass
class Management:
    """The Management API routes that a deployment uses (https://api.supabase.com/api/v1)."""

    url: str = ""
    uploads: dict[str, Upload] = field(default_factory=dict)

    def profile(self, folder: Path) -> Path:
        """Write a file for `supabase --profile` that points to another API than Supabase's own."""
        path = folder / "profile.yaml"
        lines = {"name": "loopback", "api_url": self.url, "dashboard_url": self.url, "project_host": "supabase.test"}
        path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        return path


@contextmanager
def management() -> Iterator[Management]:
    found = Management()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            assert self.headers["authorization"] == f"Bearer {TOKEN}"
            name = parse_qs(url.query).get("slug", [""])[0]
            answer: Any = []
            if self.command == "POST" and url.path == f"/v1/projects/{REF}/functions/deploy":
                found.uploads[name] = _unpacked(self.headers["content-type"], body)
                answer = {"id": name, "slug": name, "name": name, "status": "ACTIVE", "version": 1, "created_at": 1, "updated_at": 1}
            elif self.command == "PUT":
                answer = {"functions": []}
            said = json.dumps(answer).encode()
            self.send_response(201 if self.command == "POST" else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_PATCH = _answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT)


def _unpacked(content_type: str, body: bytes) -> Upload:
    whole = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
    found = Upload({}, {})
    for part in whole.iter_parts():  # type: ignore[attr-defined]
        content = part.get_payload(decode=True)
        if part.get_param("name", header="content-disposition") == "metadata":
            found.metadata = json.loads(content)
        else:
            found.files[str(part.get_filename())] = content
    return found
