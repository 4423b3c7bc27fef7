"""A model hub on 127.0.0.1 with the huggingface.co endpoints that `pull` uses, and faults to inject.

`/api/models/{repo}/revision/{revision}?blobs=true` lists a commit's files with size, git blob hash and, for large ones, sha256;
`/{repo}/resolve/{commit}/{path}` redirects to a second server (the CDN, another origin) for large files, and answers HEAD, GET and Range.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from waiting import LIMIT

LARGE = 50_000  # bytes from which a file is in git-lfs here; the hub's own limit is 10 MB


@dataclass
class Seen:
    server: str  # hub or cdn
    method: str
    path: str
    range: str
    token: str


@dataclass
class Hub:
    """`repos[repo][branch]` is a commit; `commits[commit]` holds its files."""

    repos: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    # Faults
    cut: dict[str, int] = field(default_factory=dict)  # path: bytes after which the connection is closed, once
    hold: dict[str, int] = field(default_factory=dict)  # path: bytes after which it pauses until `held` is set
    tamper: set[str] = field(default_factory=set)  # paths whose bytes differ from the listed hash
    refuse: dict[str, int] = field(default_factory=dict)  # repo or path: status
    later: dict[str, int] = field(default_factory=dict)  # repo or path, refused once with 429: its Retry-After in seconds
    answers: dict[str, str] = field(default_factory=dict)  # requested revision: the commit named instead
    ranges: bool = True
    held: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def publish(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        told = json.dumps({path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())})
        commit = hashlib.sha1(f"{repo} {told}".encode()).hexdigest()
        self.repos.setdefault(repo, {})[branch] = commit
        self.commits[commit] = dict(files)
        return commit

    def fetched(self, path: str) -> list[Seen]:
        """Requests that downloaded bytes of the file."""
        return [s for s in self.seen if s.method == "GET" and s.path.endswith("/" + path) and (s.server == "cdn" or "resolve" in s.path)]

    def __enter__(self) -> Hub:
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, name)) for name in ("hub", "cdn")]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.held.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: Hub, name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            token = self.headers.get("Authorization", "")
            hub.seen.append(Seen(name, self.command, path, self.headers.get("Range", ""), token))
            for what in [what for what in hub.later if what in path]:
                return self._empty(429, **{"Retry-After": str(hub.later.pop(what))})
            for what, status in hub.refuse.items():
                if what in path:
                    return self._empty(status)
            if path.startswith("api/models/"):
                return self._list(*path.removeprefix("api/models/").split("/revision/"))
            if name == "cdn":
                commit, _, file = path.partition("/")
                return self._send(commit, file)
            rest = path.partition("/resolve/")[2]
            commit, _, file = rest.partition("/")
            data = hub.commits.get(commit, {}).get(file)
            if data is None:
                return self._empty(404, **{"X-Error-Code": "EntryNotFound"})
            if len(data) < LARGE:
                return self._send(commit, file)
            self._empty(
                302,
                Location=f"{hub.cdn}/{commit}/{file}?signature=very-secret",
                **{"X-Repo-Commit": commit, "X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'},
            )

        def _list(self, repo: str, revision: str = "main") -> None:
            revision = hub.answers.get(revision, revision)
            commit = revision if revision in hub.commits else hub.repos.get(repo, {}).get(revision)
            if commit is None:
                return self._empty(404, **{"X-Error-Code": "RevisionNotFound" if repo in hub.repos else "RepoNotFound"})
            files = []
            for path, data in hub.commits[commit].items():
                entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob(data)}
                if len(data) >= LARGE:
                    entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 130}
                files.append(entry)
            body = json.dumps({"id": repo, "sha": commit, "siblings": files, "tags": [], "private": False}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _send(self, commit: str, file: str) -> None:
            data = hub.commits.get(commit, {}).get(file)
            if data is None:
                return self._empty(404)
            etag = hashlib.sha256(data).hexdigest() if len(data) >= LARGE else blob(data)
            if file in hub.tamper:
                data = data[:-1] + bytes([data[-1] ^ 1])
            start, wanted = 0, self.headers.get("Range", "")
            if wanted and hub.ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
                if start >= len(data):
                    return self._empty(416)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            else:
                stop = len(data)
                self.send_response(200)
            for key, value in {"Content-Length": str(stop - start), "ETag": f'"{etag}"', "X-Repo-Commit": commit}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            body = data[start:stop]
            if (after := hub.cut.pop(file, None)) is not None:
                self.wfile.write(body[:after])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
                return
            if (after := hub.hold.pop(file, None)) is not None:
                self.wfile.write(body[:after])
                self.wfile.flush()
                hub.reached.set()
                hub.held.wait(LIMIT)
                body = body[after:]
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _empty(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": "0", **headers}.items():
                self.send_header(key, value)
            self.end_headers()

    return Handler
